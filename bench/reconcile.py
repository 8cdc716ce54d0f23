"""How long the loop takes to look at everything: 10,000 processes that run as they should, beside 100.

The real loop, use cases and store over a runtime that runs nothing: a pass loads, looks and decides nothing.
"""

import asyncio
import random
import statistics
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import uvloop

from bench.results import Measurement
from bench.run import Run, median_ratio
from bench.store_writer import NOW, PORTS, REGION, seed_apps, settle_collector
from innkeeper.core.ids import Ids
from innkeeper.core.moments import to_ms
from innkeeper.core.snapshot import Limits
from innkeeper.interfaces import Policy, ProcessSpec, Tx
from innkeeper.reconciler.loop import Reconciler
from innkeeper.reconciler.perform import Surroundings
from innkeeper.runtime.fake import FakeHost, FakeProcess, FakeRuntime
from innkeeper.store.opening import open_store
from innkeeper.testing.house import KeptLogs

MANY, FEW, APPS = 10_000, 100, 100
ROUNDS = 15


def measure(run: Run) -> Iterator[Measurement]:
    """A pass of one app, then a look at everything with all its passes."""
    yield from uvloop.run(_measured(run))


async def _measured(run: Run) -> list[Measurement]:
    run.say(f"{MANY:,} processes in one app, in {APPS} apps, and {FEW} processes, in turn")
    places = run.place("reconcile")
    one = await _house(places / "one.db", 1, MANY)
    spread = await _house(places / "spread.db", APPS, MANY // APPS)
    few = await _house(places / "few.db", 1, FEW)
    settle_collector()
    ms: dict[str, list[float]] = {"one": [], "spread": [], "few": [], "looks": []}
    for _ in range(run.rounds(ROUNDS)):
        ms["one"].append(await _took_ms(one, passes_only=True))
        ms["spread"].append(await _took_ms(spread, passes_only=False))
        ms["few"].append(await _took_ms(few, passes_only=True))
        ms["looks"].append(await _took_ms(few, passes_only=False))
    for each in (one, spread, few):
        await each._around.store.close()
    middle = {name: statistics.median(each) for name, each in ms.items()}
    detail = "; ".join(
        f"{middle[name] * 1000 / count:.1f} us a process with {count:,}"
        for name, count in (("one", MANY), ("few", FEW))
    )
    return [
        Measurement(
            f"reconcile: a pass of one app with {MANY:,} processes", "ms", middle["one"],
            middle["few"], ratio=median_ratio(ms["one"], ms["few"]),
            detail=f"the baseline is one with {FEW}: {detail}",
        ),
        Measurement(
            f"reconcile: a look at {MANY:,} processes in {APPS} apps, with every pass", "ms",
            middle["spread"], middle["looks"], ratio=median_ratio(ms["spread"], ms["looks"]),
            detail=f"the baseline is one app with {FEW}; a look is one listing and a pass of each app",
        ),
    ]  # fmt: skip


async def _took_ms(loop: Reconciler, passes_only: bool) -> float:
    if passes_only:
        await loop.observe_once()
    began = time.perf_counter()
    if not passes_only:
        await loop.observe_once()
    for key in loop.take_dirty():
        decided = await loop.one_pass(key)
        assert not decided, f"nothing was to be done, and it decided {decided[:3]}"
    return (time.perf_counter() - began) * 1000


async def _house(database: Path, apps: int, processes: int) -> Reconciler:
    """A loop over ``apps`` apps with ``processes`` running processes each, one room on every one."""
    store = await open_store(database)
    await store.write(lambda tx: _seed(tx, apps, processes))
    host = FakeHost()
    for app in range(apps):
        for number in range(processes):
            spec = ProcessSpec(
                f"p-{app}-{number}", f"app-{app}", f"dep-{app}", "image", 500, 512, (), {}, None
            )
            host.processes[spec.process_id] = FakeProcess(spec, NOW)
    around = Surroundings(
        store,
        FakeRuntime(_now, host),
        KeptLogs(),
        _now,
        Ids(random.SystemRandom().getrandbits),
        Policy((REGION,), "127.0.0.1", Limits()),
        "127.0.0.1",
        lambda key: None,
    )
    loop = Reconciler(around, None, [])
    await loop.observe_once()
    await asyncio.sleep(0)
    return loop


def _now() -> datetime:
    return datetime(2030, 1, 2, tzinfo=UTC)


def _seed(tx: Tx, apps: int, processes: int) -> None:
    now = to_ms(NOW)
    seed_apps(tx, apps, 4)
    for app in range(apps):
        for number in range(processes):
            process_id = f"p-{app}-{number}"
            tx.run(
                "processes.insert", process_id=process_id, app_id=f"app-{app}", org_id="org-1",
                deployment_id=f"dep-{app}", deployment_number=1, region=REGION,
                rooms_per_process=4, rooms_allocated=1, cpu_millis=500, memory_mb=512,
                created_at=now + number, exposed_ports=_exposed(number), sandbox_id=None,
                initial_room_id=None, fleet_id=None, hosting="shared", made_for="room",
            )  # fmt: skip
            for step in ("mark_attempted", "mark_booted", "mark_started"):
                when = "now" if step == "mark_attempted" else "at"
                tx.run(f"processes.{step}", process_id=process_id, **{when: now + number})


def _exposed(number: int) -> str:
    """No two have the same address, as no two processes do."""
    return PORTS.replace("20000", str(20_000 + number))
