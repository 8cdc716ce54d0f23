"""One reconciler at a time: the lease changes hands, and who had it before writes no more."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from innkeeper.core.errors import LeaseLost, StateConflict, Unavailable
from innkeeper.interfaces import Store
from innkeeper.reconciler.lease import (
    RECONCILER,
    Lease,
    LeasePace,
    Tenure,
    refuse_other_place,
)
from innkeeper.reconciler.perform import Surroundings
from innkeeper.runtime.fake import FakeHost, FakeRuntime
from innkeeper.store.alone import Alone
from innkeeper.store.opening import open_store
from innkeeper.testing.studio import Studio
from innkeeper.testing.world import KeptLogs
from innkeeper.usecases import leases, lifecycle
from innkeeper.usecases.leases import LeaseSeen
from innkeeper.usecases.rooms import NewRoom, create_room

PACE = LeasePace(renew_s=1.0, patience_s=5.0, look_s=0.0)


class Town(Alone):
    """Neighbours that see each other: the fences of those that live."""

    def __init__(self) -> None:
        self.shown: set[int] = set()
        self.blind = True  # they cannot tell whether anybody is gone

    async def show(self, fence: int) -> bool:
        self.shown.add(fence)
        return True

    async def hide(self, fence: int) -> None:
        self.shown.discard(fence)

    async def gone(self, fence: int) -> bool:
        return not self.blind and fence not in self.shown


@dataclass
class Server:
    """One server's side, with a clock of its own that the test moves."""

    store: Store
    town: Town
    name: str
    place: str = "here"
    alone: bool = False
    now: float = 0.0

    def __post_init__(self) -> None:
        self.tick = asyncio.Event()
        self.tenures: list[Tenure] = []
        self.lease = Lease(
            self.store,
            self.town,
            self.name,
            self.place,
            alone=self.alone,
            pace=PACE,
            monotonic=lambda: self.now,
            sleep=self._sleep,
        )

    async def _sleep(self, _seconds: float) -> None:
        await self.tick.wait()
        self.tick.clear()

    async def work(self, tenure: Tenure) -> None:
        self.tenures.append(tenure)
        await asyncio.Event().wait()

    @asynccontextmanager
    async def running(self) -> AsyncIterator["asyncio.Task[None]"]:
        task = asyncio.create_task(self.lease.run(self.work))
        try:
            yield task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def holds(self) -> None:
        await until(lambda: bool(self.tenures) and not self.tenures[-1].over.is_set())

    async def seen(self) -> LeaseSeen:
        seen = await self.store.read(lambda tx: leases.look(tx, RECONCILER))
        assert seen is not None
        return seen


async def until(fact: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not fact():
            await asyncio.sleep(0.001)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    made = await open_store(tmp_path / "innkeeper.db")
    yield made
    await made.close()


@pytest.fixture
def servers(store: Store) -> tuple[Server, Server]:
    town = Town()
    return Server(store, town, "one"), Server(store, town, "two")


async def test_one_works_while_the_other_waits(servers: tuple[Server, Server]) -> None:
    one, two = servers
    async with one.running():
        await one.holds()
        async with two.running():
            for _ in range(3):
                two.now += 4.9  # almost too long, but each time it is renewed
                one.tick.set()
                await until(lambda: not one.tick.is_set())
                before = await one.seen()
                await asyncio.sleep(0.01)
                assert (await one.seen()).holder == before.holder == "one"
            assert two.tenures == []


async def test_a_holder_that_ends_need_not_be_waited_for(servers: tuple[Server, Server]) -> None:
    one, two = servers
    async with two.running():
        await two.holds()
    async with one.running():
        await one.holds()
        assert one.now == 0.0
        assert one.tenures[0].fence.number > two.tenures[0].fence.number


async def test_a_holder_that_renews_nothing_is_given_up(servers: tuple[Server, Server]) -> None:
    one, two = servers
    async with one.running(), two.running():
        await until(lambda: bool(one.tenures or two.tenures))
        old, new = (one, two) if one.tenures else (two, one)
        await until(lambda: new.lease._seen is not None)
        new.now += 5.0
        await new.holds()
        assert not old.tenures[0].over.is_set()
        old.tick.set()  # it comes back, and finds out when it renews
        await old.tenures[0].over.wait()
        await asyncio.sleep(0.01)
        assert (await new.seen()).holder == new.name


async def test_a_holder_that_is_seen_to_be_gone_is_not_waited_for(
    servers: tuple[Server, Server],
) -> None:
    one, two = servers
    one.town.blind = False
    fence = await one.lease.acquire()
    async with two.running():
        await until(lambda: two.lease._seen is not None)
        assert two.tenures == []
        one.town.shown.discard(fence.fence.number)  # killed: the store dropped its session
        await two.holds()
        assert two.now == 0.0


async def test_a_server_that_is_alone_waits_for_nobody(store: Store) -> None:
    """After kill -9 on one box nothing was given back; the next start owns the files, and goes on."""
    killed = Server(store, Town(), "killed", alone=True)
    await killed.lease.acquire()
    again = Server(store, Town(), "again", alone=True)
    async with again.running():
        await again.holds()


async def test_files_of_another_place_are_refused(servers: tuple[Server, Server]) -> None:
    one, two = servers
    elsewhere = Server(two.store, two.town, "two", place="there")
    async with one.running():
        await one.holds()
        async with elsewhere.running() as running:
            await until(lambda: elsewhere.lease._seen is not None)
            assert not running.done(), "a dead holder's place must keep nobody away"
            one.tick.set()
            with pytest.raises(StateConflict, match="same --data-dir"):
                await asyncio.wait_for(asyncio.shield(running), 10)


async def test_a_server_with_other_files_is_refused_before_it_changes_anything(
    servers: tuple[Server, Server],
) -> None:
    one, two = servers
    one.town.blind = False
    await refuse_other_place(two.store, two.town, "there")
    tenure = await one.lease.acquire()
    await refuse_other_place(two.store, two.town, "here")
    with pytest.raises(StateConflict, match="same --data-dir"):
        await refuse_other_place(two.store, two.town, "there")
    one.town.shown.discard(tenure.fence.number)
    await refuse_other_place(two.store, two.town, "there")


async def test_a_store_that_is_away_ends_no_tenure(servers: tuple[Server, Server]) -> None:
    one, _ = servers

    class Away:
        async def write(self, *_: object) -> None:
            raise Unavailable("away")

    async with one.running():
        await one.holds()
        there, one.lease._store = one.lease._store, Away()  # type: ignore[assignment]
        one.tick.set()
        await until(lambda: not one.tick.is_set())
        one.lease._store = there
        one.tick.set()
        await until(lambda: not one.tick.is_set())
        await asyncio.sleep(0.01)
        assert len(one.tenures) == 1
        assert not one.tenures[0].over.is_set()


async def test_work_that_fails_is_told(servers: tuple[Server, Server]) -> None:
    async def broken(_tenure: Tenure) -> None:
        raise ValueError("a mistake of ours")

    with pytest.raises(ValueError, match="a mistake of ours"):
        await servers[0].lease.run(broken)
    assert (await servers[0].seen()).holder is None


# ---------------------------------------------------------------- fences


def around(studio: Studio, tenure: Tenure) -> Surroundings:
    return Surroundings(
        studio.store,
        FakeRuntime(studio.clock, FakeHost()),
        KeptLogs(),
        studio.clock,
        studio.ids,
        studio.policy,
        "192.0.2.1",
        lambda key: None,
        tenure,
    )


async def test_writes_of_a_holder_that_was_paused_are_refused(store: Store) -> None:
    studio = await Studio(store).open()
    await studio.deploy()
    placed = await studio.ask(create_room, NewRoom(studio.app_id, "Tokyo"))
    town = Town()
    paused, other = Server(store, town, "paused"), Server(store, town, "other")
    old = around(studio, await paused.lease.acquire())
    assert await old.record(lambda tx, c: lifecycle.record_attempt(tx, placed.process_id, c.now))

    # It stands still for longer than others are patient.
    taking = asyncio.create_task(other.lease.acquire())
    await until(lambda: other.lease._seen is not None)
    other.now += PACE.patience_s
    new = around(studio, await taking)

    async def stored() -> Any:
        return await store.read(lambda tx: tx.one("processes.spec", process_id=placed.process_id))

    before = await stored()
    woken: list[object] = []
    late = replace(old, wake=woken.append)
    with pytest.raises(LeaseLost, match="another server"):
        await late.record(lambda tx, c: lifecycle.record_terminated(tx, placed.process_id, None, c))
    with pytest.raises(LeaseLost):
        await late.confirm()
    assert woken == []
    assert await stored() == before
    assert old.tenure is not None
    assert old.tenure.over.is_set(), "it steps down"
    await new.record(lambda tx, c: lifecycle.record_booted(tx, placed.process_id, studio.clock()))
