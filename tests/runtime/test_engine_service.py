"""Our own engine service: found again, restarted when it died, ended by its id; containers live on."""

import asyncio
import json
import os
import signal
import subprocess
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from innkeeper.core.errors import RuntimeAway
from innkeeper.runtime import engine_leftovers, engine_service
from innkeeper.runtime.container import ContainerRuntime
from innkeeper.runtime.container_spec import ContainerSettings
from innkeeper.runtime.engine import Engine
from innkeeper.runtime.engine_service import (
    EngineService,
    can_run_service,
    engine_exists,
    find_engine,
    stop_engine_service,
)
from innkeeper.runtime.mounts import mounted_below
from innkeeper.testing.container_harness import ContainerHarness, build_probe
from innkeeper.testing.runtime_harness import eventually, until_bound, until_exited

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(not can_run_service(), reason="needs root, podman and runc"),
]
SETTINGS = ContainerSettings(installation=str(uuid.uuid4()), api_port=9)


@pytest.fixture(autouse=True)
def only_our_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Engines that this machine may have are not looked at."""
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.setattr(engine_service, "SYSTEM_SOCKETS", ())


@pytest.fixture
def data_dir(tmp_path: Path) -> Iterator[Path]:
    """A data directory with a path that is longer than a socket's may be."""
    deep = tmp_path / ("d" * 120)
    deep.mkdir()
    yield deep
    stop_engine_service(deep)


def pid_of(data_dir: Path) -> int:
    return int(json.loads((data_dir / "engine/service.json").read_text())["pid"])


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


async def test_it_is_started_once_and_found_again(data_dir: Path) -> None:
    assert await engine_exists(data_dir)
    found = await find_engine(data_dir)
    assert found.service is not None
    first = pid_of(data_dir)
    again = await find_engine(data_dir)
    assert (again.socket_path, pid_of(data_dir)) == (found.socket_path, first)
    assert os.getsid(first) == first, "it lives in a session of its own"
    assert stop_engine_service(data_dir)
    assert not alive(first)
    assert not stop_engine_service(data_dir)
    assert mounted_below(data_dir) == []
    assert not found.socket_path.parent.exists()


async def test_it_is_not_given_our_secrets(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INNKEEPER_ADMIN_TOKEN", "not for anybody else")
    await find_engine(data_dir)
    assert b"not for anybody" not in Path(f"/proc/{pid_of(data_dir)}/environ").read_bytes()


async def test_a_dead_service_is_started_again(data_dir: Path) -> None:
    found = await find_engine(data_dir)
    assert found.service is not None
    first = pid_of(data_dir)
    os.kill(first, signal.SIGKILL)
    await found.service.ensure()
    assert pid_of(data_dir) != first
    assert await engine_service.answers(found.socket_path)


async def test_whoever_asks_at_once_gets_one_service(data_dir: Path) -> None:
    service = EngineService(data_dir)
    await asyncio.gather(*(service.ensure() for _ in range(4)))
    first = pid_of(data_dir)
    await service.ensure()
    assert pid_of(data_dir) == first
    assert stop_engine_service(data_dir)
    assert not await engine_service.answers(service.socket_path)


async def test_a_service_that_nobody_wrote_down_is_found(data_dir: Path) -> None:
    # The control plane was killed between the start and the record of it.
    await find_engine(data_dir)
    first = pid_of(data_dir)
    (data_dir / "engine/service.json").unlink()
    await find_engine(data_dir)
    assert pid_of(data_dir) == first
    (data_dir / "engine/service.json").unlink()
    assert stop_engine_service(data_dir)
    assert not alive(first)


async def test_another_programs_pid_is_left_alone(data_dir: Path) -> None:
    await find_engine(data_dir)
    identity_file = data_dir / "engine/service.json"
    recorded = json.loads(identity_file.read_text())
    stop_engine_service(data_dir)
    bystander = subprocess.Popen(["sleep", "60"])
    try:
        identity_file.write_text(json.dumps({**recorded, "pid": bystander.pid}))
        assert not stop_engine_service(data_dir)
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


async def test_a_given_socket_without_an_engine_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RuntimeAway, match="no container engine answers"):
        await find_engine(tmp_path, tmp_path / "none.sock")
    assert not await engine_exists(tmp_path, tmp_path / "none.sock")


@pytest.fixture
async def driver(data_dir: Path) -> AsyncIterator[ContainerRuntime]:
    """A driver on a service of its own."""
    found = await find_engine(data_dir)
    assert found.service is not None
    made = ContainerRuntime(Engine(found.socket_path), SETTINGS, found.service.ensure)
    await made.open()
    yield made
    await found.service.ensure()
    await made.remove_all()
    await made.close()


async def test_an_engine_that_died_is_away_until_the_listener_revives_it(
    driver: ContainerRuntime, data_dir: Path
) -> None:
    async def listen() -> None:
        async for _ in driver.changes():
            pass

    os.kill(pid_of(data_dir), signal.SIGKILL)
    with pytest.raises(RuntimeAway):
        await driver.observe()
    listener = asyncio.create_task(listen())

    async def here() -> bool:
        try:
            return not (await driver.observe()).processes
        except RuntimeAway:
            return False

    await eventually(here, "the service is revived")
    listener.cancel()
    await asyncio.wait({listener})


async def test_processes_live_through_the_death_of_the_service(
    driver: ContainerRuntime, data_dir: Path, probe: Path
) -> None:
    found = await find_engine(data_dir)
    engine = Engine(found.socket_path)
    await engine.open()
    await build_probe(engine, await asyncio.to_thread(probe.read_bytes))
    await engine.close()
    harness = ContainerHarness(found.socket_path)
    spec = harness.spec(driver, harness.ports("tcp"))
    await driver.start(spec)
    await until_bound(driver, spec)
    os.kill(pid_of(data_dir), signal.SIGKILL)
    # Whether its port is bound is known without the engine.
    assert driver.bound(spec.process_id, spec.ports)
    found = await find_engine(data_dir)
    assert found.service is not None
    after = ContainerRuntime(Engine(found.socket_path), SETTINGS)
    await after.open()
    now = (await after.observe()).processes[spec.process_id]
    assert now.phase == "running"
    assert after.bound(spec.process_id, spec.ports)
    await after.signal(spec.process_id, kill=False)
    ended = await until_exited(after, spec.process_id)
    assert ended.code == 0
    await after.close()


async def test_what_ran_when_the_machine_was_restarted_has_ended(
    driver: ContainerRuntime, data_dir: Path, probe: Path
) -> None:
    found = await find_engine(data_dir)
    assert found.service is not None
    engine = Engine(found.socket_path)
    await engine.open()
    await build_probe(engine, await asyncio.to_thread(probe.read_bytes))
    harness = ContainerHarness(found.socket_path)
    spec = harness.spec(driver, harness.ports("tcp"))
    await driver.start(spec)
    await until_bound(driver, spec)
    networks = engine_leftovers.networks_of(data_dir / "engine")
    end_as_a_machine_does(data_dir, found.socket_path.parent)
    await found.service.ensure()
    after = ContainerRuntime(Engine(found.socket_path), SETTINGS)
    await after.open()
    now = (await after.observe()).processes[spec.process_id]
    assert now.phase == "exited"
    assert now.exit is not None
    assert (now.exit.code, now.exit.signal) == (None, None)
    await after.start(spec)
    assert (await after.observe()).processes[spec.process_id].phase == "exited"
    await after.remove(spec.process_id)
    again = harness.spec(after, spec.ports)
    await after.start(again)
    await until_bound(after, again)
    await after.remove(again.process_id)
    await after.close()
    await engine.close()
    # Else a later test fails, or whatever comes to use a port of this machine that leads nowhere.
    rules = subprocess.check_output(["iptables-save", "-t", "nat"], text=True)
    assert engine_leftovers.stale_rules(rules, networks, {}) == []
    assert engine_leftovers.namespaces_of(networks) == []


def end_as_a_machine_does(data_dir: Path, run_dir: Path) -> None:
    """Kill the service and all that its containers run, leave their mounts behind, and call it a new boot.

    The kernel's packet rules and network namespaces do not outlive one.
    """
    os.kill(pid_of(data_dir), signal.SIGKILL)
    for monitor in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if b"conmon" not in (told := monitor.read_bytes()) or bytes(run_dir) not in told:
                continue
            pid = int(monitor.parent.name)
            children = (monitor.parent / "task" / str(pid) / "children").read_text().split()
        except (FileNotFoundError, ProcessLookupError):
            continue  # somebody else's, gone meanwhile
        for one in (pid, *map(int, children)):
            os.kill(one, signal.SIGKILL)
    engine_leftovers.clear_networks(data_dir / "engine")
    (run_dir / "boot_id").write_text("another boot")
