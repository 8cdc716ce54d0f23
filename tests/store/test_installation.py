"""What every start makes sure of, on a real store: the installation, the machine, the ports, the admin."""

import random
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar

import pytest

from innkeeper.core.capacity import SANDBOX_MEMORY_MB, Machine
from innkeeper.core.errors import Invalid, Unauthenticated
from innkeeper.core.ids import Ids
from innkeeper.core.snapshot import Limits
from innkeeper.interfaces import Context, Policy, Row, Tx
from innkeeper.store.sqlite import SqliteStore
from innkeeper.usecases.installation import Installation, ensure_admin, probe, seed_installation
from innkeeper.usecases.tokens import authenticate

T = TypeVar("T")
MACHINE = Machine(cpu_millis=16_000, memory_mb=7_000)
NOW = datetime(2030, 1, 1, tzinfo=UTC)


@pytest.fixture
def context() -> Context:
    return Context(NOW, Ids(random.Random(3).getrandbits), Policy(("Chicago",), "host", Limits()))


def seed(
    context: Context, machine: Machine = MACHINE, first: int = 100, last: int = 109
) -> Callable[[Tx], Installation]:
    """A write that seeds."""
    return lambda tx: seed_installation(tx, context, machine, first, last)


def machine_row(tx: Tx) -> Row:
    """The machine as it is recorded."""
    row = tx.one("capacity.machine")
    assert row is not None
    return row


def ports(tx: Tx) -> list[tuple[int, str | None, int]]:
    """Every port with its owner and when its rest ends."""
    rows = tx.all("host_ports.of_range", first_port=0, last_port=65535)
    return [(row["port"], row["owner"], row["free_at"]) for row in rows]


def add_processes(tx: Tx) -> None:
    """A deployment with one live process, one that ended, and one sandbox."""
    tx.run("orgs.insert", org_id="o", name="o", max_requested_memory_mb=9, created_at=0)
    tx.run(
        "apps.insert", app_id="a", org_id="o", app_name="a", app_secret="s", created_at=0,
        auth_configuration="{}", service_config=None, created_by="t",
    )  # fmt: skip
    tx.run(
        "builds.insert", build_key="b", build_id="b", org_id="o", build_tag=None, kind="upload",
        upload_size=1, created_at=0, created_by="t",
    )  # fmt: skip
    tx.run(
        "deployments.insert", deployment_id="d", app_id="a", number=1, build_key="b", build_id="b",
        build_tag=None, deployment_tag=None, created_at=0, created_by="t", cpu_millis=500,
        memory_mb=512, gpu=0, rooms_per_process=1, ports="[]", env="[]", idle_timeout_enabled=1,
        fleet_id=None,
    )  # fmt: skip
    for process_id in ("live", "ended"):
        tx.run(
            "processes.insert", process_id=process_id, app_id="a", org_id="o", deployment_id="d",
            deployment_number=1, region="Chicago", rooms_per_process=1, rooms_allocated=0, cpu_millis=500,
            memory_mb=512, created_at=0, exposed_ports="[]", sandbox_id=None, initial_room_id=None,
            fleet_id=None, hosting="shared", made_for="room",
        )  # fmt: skip
    tx.run("processes.mark_terminated", process_id="ended", at=1, failed=0, reason="x")
    tx.run("sandboxes.insert", sandbox_id="s", deployment_id="d", host_ports="[]", created_at=0)


async def test_the_installation_is_made_once(store: SqliteStore, context: Context) -> None:
    first = await store.write(seed(context))
    assert len(first.url_secret) == 43
    assert first.node_id.startswith("node-")
    assert await store.write(seed(context)) == first


async def test_the_machine_follows_what_it_has_now(store: SqliteStore, context: Context) -> None:
    await store.write(seed(context))
    await store.write(seed(context, Machine(cpu_millis=4_000, memory_mb=1_000)))
    row = await store.read(machine_row)
    assert (row["cpu_millis"], row["memory_mb"]) == (4_000, 1_000)


async def test_what_is_promised_is_counted_anew(store: SqliteStore, context: Context) -> None:
    await store.write(seed(context))
    await store.write(add_processes)
    await store.write(lambda tx: tx.run("capacity.take", cpu_millis=1_234, memory_mb=987))
    await store.write(seed(context))
    row = await store.read(machine_row)
    promised = (row["cpu_millis_promised"], row["memory_mb_promised"])
    assert promised == (500, 512 + SANDBOX_MEMORY_MB)


async def test_the_ports_follow_the_range(store: SqliteStore, context: Context) -> None:
    await store.write(seed(context, first=100, last=103))
    assert await store.read(ports) == [(port, None, 0) for port in range(100, 104)]

    def use(tx: Tx) -> None:
        assert tx.one("capacity.take_port", owner="p", now=0) == {"port": 100}
        assert tx.one("capacity.take_port", owner="q", now=0) == {"port": 101}
        tx.run("capacity.give_back_ports", owner="q", free_at=60_000)

    await store.write(use)
    await store.write(seed(context, first=101, last=105))
    used = [(100, "p", 0), (101, None, 60_000)]
    assert await store.read(ports) == [*used, *((port, None, 0) for port in range(102, 106))]
    await store.write(lambda tx: tx.run("capacity.give_back_ports", owner="p", free_at=60_000))
    await store.write(seed(context, first=104, last=104))
    assert await store.read(ports) == [(104, None, 0)]


async def test_a_new_preset_replaces_the_admin_token(store: SqliteStore, context: Context) -> None:
    org_id = await store.write(lambda tx: ensure_admin(tx, context, "first preset 1234"))
    caller = await store.read(lambda tx: authenticate(tx, "first preset 1234"))
    assert caller.org_id == org_id
    assert await store.write(lambda tx: ensure_admin(tx, context, "other preset 1234")) == org_id
    again = await store.read(lambda tx: authenticate(tx, "other preset 1234"))
    assert again.org_token_id == caller.org_token_id
    with pytest.raises(Unauthenticated):
        await store.read(lambda tx: authenticate(tx, "first preset 1234"))
    with pytest.raises(Invalid, match="16 or more"):
        await store.write(lambda tx: ensure_admin(tx, context, "short"))


async def test_the_probe_truly_writes(store: SqliteStore, context: Context) -> None:
    before = await store.write(seed(context))
    log = store.path.with_name(store.path.name + "-wal")
    size = log.stat().st_size
    await store.write(probe)
    assert log.stat().st_size > size
    assert await store.write(seed(context)) == before
