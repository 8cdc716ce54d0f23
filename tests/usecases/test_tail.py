"""The journal's end: who waits is told of all that happens, once and in order; nothing is read for nobody."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from typing import Any

import pytest

from innkeeper.core.errors import Unavailable
from innkeeper.core.events import Event
from innkeeper.interfaces import Tx
from innkeeper.testing.studio import Studio
from innkeeper.usecases import journal, lifecycle, rooms
from innkeeper.usecases.journal import Place
from innkeeper.usecases.rooms import NewRoom, PlacedRoom
from innkeeper.usecases.tail import Tail, TailPace

LONG_S = 30.0
BEGIN: Place = (0, 0)


def every(event: Event) -> bool:
    return True


class Deaf:
    """A store that tells of no commit: what another server's look like."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.reads = 0
        self.fault: Exception | None = None

    async def read(self, fn: Callable[[Tx], Any]) -> Any:
        self.reads += 1
        if self.fault is not None:
            raise self.fault
        return await self.inner.read(fn)

    def after_commits(self, call: Callable[[], None]) -> None:
        return


async def create(studio: Studio) -> PlacedRoom:
    placed: PlacedRoom = await studio.ask(rooms.create_room, NewRoom(studio.app_id, "Tokyo"))
    return placed


async def start(studio: Studio, process_id: str | None) -> None:
    assert process_id is not None
    now = studio.clock()
    await studio.store.write(lambda tx: lifecycle.record_attempt(tx, process_id, now))
    await studio.store.write(lambda tx: lifecycle.record_booted(tx, process_id, now))


async def rested(tail: Tail) -> None:
    async with asyncio.timeout(LONG_S):
        while not tail.resting:
            await asyncio.sleep(0)


@pytest.fixture
async def tail(studio: Studio) -> AsyncIterator[Tail]:
    await studio.deploy()
    # So slow by itself, that only being told of commits can be quick.
    tail = Tail(studio.store, TailPace(look_s=LONG_S, gap_s=0))
    yield tail
    await rested(tail)


async def test_a_watch_is_told_of_its_room_and_of_the_process_it_is_on(
    studio: Studio, tail: Tail
) -> None:
    first, second = await create(studio), await create(studio)
    with tail.watch(first.room_id, first.process_id) as watch:
        assert await watch.changed(LONG_S)  # whoever comes first looks once more
        await start(studio, second.process_id)
        assert not await watch.changed(0.01)
        await start(studio, first.process_id)
        assert await watch.changed(LONG_S)
        await studio.ask(rooms.destroy_room, (studio.app_id, first.room_id))
        assert await watch.changed(LONG_S)


async def test_a_watch_learns_where_its_room_comes_to_be(studio: Studio, tail: Tail) -> None:
    made = await create(studio)
    await studio.ask(rooms.suspend_room, (studio.app_id, made.room_id))
    with tail.watch(made.room_id) as watch:
        assert await watch.changed(LONG_S)
        placed = await studio.ask(rooms.resume_room, (studio.app_id, made.room_id))
        while placed.process_id not in watch.process_ids:
            assert await watch.changed(LONG_S)
        while await watch.changed(0.01):
            pass
        await start(studio, placed.process_id)
        assert await watch.changed(LONG_S)


async def of_another_server(studio: Studio) -> tuple[PlacedRoom, Any, Tail]:
    """A room, and the tail of a server that hears of no commit."""
    await studio.deploy()
    made = await create(studio)
    store: Any = Deaf(studio.store)
    return made, store, Tail(store, TailPace(look_s=0.01, gap_s=0))


async def test_what_other_servers_wrote_is_seen_too(studio: Studio) -> None:
    made, _, tail = await of_another_server(studio)
    with tail.watch(made.room_id, made.process_id) as watch:
        assert await watch.changed(LONG_S)
        await start(studio, made.process_id)
        assert await watch.changed(LONG_S)


@pytest.mark.parametrize("fault", [Unavailable("away"), RuntimeError("a mistake of ours")])
async def test_a_look_that_failed_is_told_once_and_goes_on_where_it_stood(
    studio: Studio, fault: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    made, store, tail = await of_another_server(studio)
    with tail.watch(made.room_id, made.process_id) as watch:
        assert await watch.changed(LONG_S)
        store.fault, asked = fault, store.reads
        await start(studio, made.process_id)
        while store.reads < asked + 3:
            assert not await watch.changed(0.01)
        store.fault = None
        assert await watch.changed(LONG_S)
    told = [line for line in caplog.messages if "journal" in line]
    assert len(told) == 1, told


async def test_nobody_waits_and_nothing_is_read(studio: Studio) -> None:
    await studio.deploy()
    store: Any = Deaf(studio.store)
    tail = Tail(store, TailPace(look_s=0.001, gap_s=0))
    with tail.watch("a-room") as watch:
        await watch.changed(LONG_S)
    assert tail.resting
    await asyncio.sleep(0.01)
    asked = store.reads
    await asyncio.sleep(0.05)
    assert store.reads == asked


# ---------------------------------------------------------------- following


Following = AsyncGenerator[tuple[Place, list[Event]]]


async def some(following: Following, count: int) -> list[Event]:
    """The next events, exactly so many."""
    found: list[Event] = []
    async with asyncio.timeout(LONG_S):
        while len(found) < count:
            found += (await anext(following))[1]
    assert len(found) == count
    return found


async def all_of(studio: Studio) -> list[Event]:
    return await studio.store.read(lambda tx: journal.after(tx, BEGIN, 100_000))


async def test_a_follower_gets_what_was_and_what_comes(studio: Studio, tail: Tail) -> None:
    await create(studio)
    following = tail.follow(studio.caller.org_id, BEGIN, every, LONG_S)
    async with aclosing(following):
        found = await some(following, 2)
        await create(studio)
        found += await some(following, 2)
        await create(studio)
        found += await some(following, 2)
    assert found == await all_of(studio)


async def test_a_follower_goes_on_after_its_place(studio: Studio, tail: Tail) -> None:
    for _ in range(3):
        await create(studio)
    told = await all_of(studio)
    for at, event in enumerate(told[:-1]):
        following = tail.follow(studio.caller.org_id, journal.place_of(event), every, LONG_S)
        async with aclosing(following):
            assert await some(following, len(told) - at - 1) == told[at + 1 :]


async def test_a_follower_gets_what_it_wants_of_its_own_org_only(
    studio: Studio, tail: Tail
) -> None:
    following = tail.follow(
        studio.caller.org_id, BEGIN, lambda event: event.kind == "room.created", LONG_S
    )
    strangers = tail.follow("org-other", BEGIN, every, 0.01)
    async with aclosing(following), aclosing(strangers):
        assert (await anext(strangers))[1] == []
        made = [await create(studio) for _ in range(3)]
        found = await some(following, 3)
        last = await studio.store.read(journal.newest)
        async with asyncio.timeout(LONG_S):
            while (step := await anext(strangers))[0] < last:
                assert step[1] == []
        assert step[1] == []
    assert [event.room_id for event in found] == [room.room_id for room in made]


async def test_a_slow_follower_misses_nothing_and_holds_little(studio: Studio) -> None:
    await studio.deploy(rooms_per_process=10_000)
    tail = Tail(studio.store, TailPace(look_s=LONG_S, gap_s=0, page=7, ahead_max=5))
    following = tail.follow(studio.caller.org_id, BEGIN, every, LONG_S)
    quick = tail.follow(studio.caller.org_id, BEGIN, every, LONG_S)
    async with aclosing(following), aclosing(quick):
        await create(studio)
        found, seen = await some(following, 2), await some(quick, 2)
        for _ in range(40):  # nobody takes any of the slow one's
            await create(studio)
            seen += await some(quick, 1)
            assert tail.held <= 5
        found += await some(following, 40)
        await create(studio)
        found += await some(following, 1)
    assert found == await all_of(studio) == [*seen, found[-1]]


class Holding:
    """A store that holds back one read, from when it is told to until its gate is opened."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.after_commits = inner.after_commits
        self.hold = False
        self.held = asyncio.Event()
        self.gate = asyncio.Event()

    async def read(self, fn: Callable[[Tx], Any]) -> Any:
        if self.hold:
            self.hold = False
            self.held.set()
            await self.gate.wait()
        return await self.inner.read(fn)


async def test_what_comes_while_a_follower_reads_what_was_is_told_once(studio: Studio) -> None:
    await studio.deploy(rooms_per_process=10_000)
    await create(studio)
    store: Any = Holding(studio.store)
    tail = Tail(store, TailPace(look_s=LONG_S, gap_s=0))
    quick = tail.follow(studio.caller.org_id, BEGIN, every, LONG_S)
    late = tail.follow(studio.caller.org_id, BEGIN, every, LONG_S)
    async with aclosing(quick), aclosing(late):
        await some(quick, 2)
        store.hold = True
        reading = asyncio.create_task(some(late, 4))
        await store.held.wait()
        await create(studio)
        await some(quick, 1)  # so it was offered to the other one as well
        store.gate.set()
        await create(studio)
        assert await reading == await all_of(studio)
