"""What the watch makes of a runtime: when a process counts as bound."""

import asyncio
import contextlib
import errno
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from innkeeper.core.actions import MarkStarted
from innkeeper.core.decide import decide
from innkeeper.core.snapshot import DeploymentFacts, Limits, ProcessSeen, Snapshot
from innkeeper.interfaces import Listing, PortSpec
from innkeeper.reconciler.watch import Watch
from innkeeper.testing.records import NOON, new_process

DEFAULT = PortSpec("default", 7777, 20001, "udp")
VOICE = PortSpec("voice", 9000, 20002, "udp")


class OneGame:
    """A runtime that carries one running process with some of its ports bound."""

    def __init__(self, *bound: PortSpec) -> None:
        self.ports = bound

    async def observe(self) -> Listing:
        return Listing({"p": ProcessSeen("p", "running", NOON)}, {})

    def bound(self, process_id: str, ports: Sequence[PortSpec]) -> bool:
        return set(ports) <= set(self.ports)


def watch_of(runtime: Any, now: datetime) -> tuple[Watch, list[tuple[str, str]]]:
    woken: list[tuple[str, str]] = []
    return Watch(runtime, lambda: now, lambda: 0.0, woken.append), woken


async def look_once(watch: Watch) -> None:
    """Let the watch poll the socket tables, without a clock of its own."""
    task = asyncio.create_task(watch.run(lambda _: asyncio.sleep(0)))
    for _ in range(5):
        await asyncio.sleep(0)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def test_the_default_port_makes_a_process_run() -> None:
    """An additional port may be bound later, or on demand (behaviour.md 4.1: default port bound)."""
    watch, woken = watch_of(OneGame(DEFAULT), NOON)
    watch.expect_bind(("app", "Tokyo"), "p", (DEFAULT, VOICE))
    await look_once(watch)
    assert woken == [("app", "Tokyo")]


async def test_an_additional_port_does_not() -> None:
    watch, woken = watch_of(OneGame(VOICE), NOON)
    watch.expect_bind(("app", "Tokyo"), "p", (DEFAULT, VOICE))
    await look_once(watch)
    assert woken == []


async def test_a_port_bound_while_nobody_looked_is_seen_by_the_first_pass() -> None:
    """Killed between the boot and the bind, and started again long after the time to bind was over."""
    now = NOON + timedelta(hours=1)
    watch, _ = watch_of(OneGame(DEFAULT), now)
    await watch.refresh()
    process = new_process(NOON, attempted_at=NOON, booted_at=NOON)
    observation = watch.observation((process,), {"p": (DEFAULT, VOICE)})
    facts = {"dep": DeploymentFacts("dep", 7777, True)}
    snapshot = Snapshot(False, (process,), facts, observation, Limits())
    assert decide(snapshot, now) == [MarkStarted("p", now)]


class Troubled(OneGame):
    """The kernel refuses the first look."""

    def bound(self, process_id: str, ports: Sequence[PortSpec]) -> bool:
        if self.ports == (DEFAULT,):
            self.ports = (DEFAULT, VOICE)
            raise OSError(errno.EMFILE, "Too many open files")
        return super().bound(process_id, ports)


async def test_a_look_that_fails_is_repeated() -> None:
    watch, woken = watch_of(Troubled(DEFAULT), NOON)
    watch.expect_bind(("app", "Tokyo"), "p", (DEFAULT,))
    await look_once(watch)
    assert woken == [("app", "Tokyo")]


async def test_a_process_is_young_to_every_listing_that_had_begun_when_it_started() -> None:
    """Whatever the clock says: it may be set back between a listing and a start."""
    watch, _ = watch_of(OneGame(), NOON)
    await watch.refresh()
    watch.note_started("q")
    first = watch.observation((), {})
    assert first is not None
    assert set(first.young) == {"q"}
    await watch.refresh()
    second = watch.observation((), {})
    assert second is not None
    assert not second.young


async def test_what_was_seen_bound_is_forgotten_once_the_store_shows_it_started() -> None:
    """The record may have been made although its answer was lost: then nobody else forgets it."""
    runtime = OneGame(DEFAULT)
    watch, _ = watch_of(runtime, NOON)
    await watch.bound_soon("q", (DEFAULT,), 0.0)
    await watch.refresh()
    known = {"attempted_at": NOON, "booted_at": NOON, "process_id": "q"}
    for started_at, shown in [(None, {"q"}), (NOON, set())]:
        record = new_process(NOON, **known, started_at=started_at)
        observation = watch.observation((record,), {"q": (DEFAULT,)})
        assert observation is not None
        assert set(observation.seen) == shown


async def test_what_vanishes_while_it_is_stopped_is_not_seen_bound_for_ever() -> None:
    """Stopped between its bind and the record of it, and gone without a trace: a listing shows that."""
    watch, _ = watch_of(OneGame(DEFAULT), NOON)
    await watch.bound_soon("q", (DEFAULT,), 0.0)
    await watch.refresh()
    stopping = new_process(
        NOON, process_id="q", attempted_at=NOON, booted_at=NOON, stopping_at=NOON
    )
    observation = watch.observation((stopping,), {"q": (DEFAULT,)})
    assert observation is not None
    assert set(observation.seen) == set()
