"""The journal on PostgreSQL: with several writers, no reader is told anything twice or never."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from innkeeper.core.events import Event
from innkeeper.store.postgres import PostgresStore
from innkeeper.testing.postgres_server import PostgresServer
from innkeeper.usecases import journal
from innkeeper.usecases.tail import Tail, TailPace

WAIT_S = 20.0
INSERT = (
    "INSERT INTO events (at, org_id, app_id, kind, cause) VALUES (1, 'o', 'a', 'room.created', %s)"
)


@pytest.fixture
async def store(postgres: PostgresServer, postgres_database: str) -> AsyncIterator[PostgresStore]:
    store = PostgresStore(postgres.url(postgres_database))
    await store.open()
    yield store
    await store.close()


async def told(store: PostgresStore, place: journal.Place = (0, 0)) -> list[Event]:
    return await store.read(lambda tx: journal.after(tx, place))


async def test_what_was_begun_first_is_told_first_even_if_it_is_committed_last(
    store: PostgresStore, postgres: PostgresServer, postgres_database: str
) -> None:
    slow, quick = (postgres.connect(postgres_database) for _ in range(2))
    tail = Tail(store, TailPace(look_s=0.01, gap_s=0))
    following = tail.follow("o", (0, 0), lambda event: True, WAIT_S)
    seen: list[str | None] = []

    async def follow() -> None:
        async for _, events in following:
            seen.extend(event.cause for event in events)
            if len(seen) >= 4:
                return

    with slow, quick:
        quick.execute(INSERT, ("before",))
        reading = asyncio.create_task(follow())
        slow.execute("BEGIN")
        slow.execute(INSERT, ("slow",))
        quick.execute(INSERT, ("quick",))
        assert [event.cause for event in await told(store)] == ["before"]
        place = await store.read(journal.newest)
        assert await store.read(lambda tx: journal.kept(tx, place))
        slow.execute(INSERT, ("slow, too",))
        slow.execute("COMMIT")
        after = await told(store, place)
        assert [event.cause for event in after] == ["slow", "slow, too", "quick"]
        assert after[0].order == after[1].order < after[2].order
        async with asyncio.timeout(WAIT_S):
            await reading
    await following.aclose()
    assert seen == ["before", "slow", "slow, too", "quick"]
    for at, event in enumerate(after):
        assert await told(store, journal.place_of(event)) == after[at + 1 :]


async def test_places_that_miss_something_are_known(
    store: PostgresStore, postgres: PostgresServer, postgres_database: str
) -> None:
    assert await store.read(journal.newest) == journal.BEGINNING
    with postgres.connect(postgres_database) as connection:
        for cause in "abcd":
            connection.execute(INSERT, (cause,))
        events = await told(store)
        connection.execute("DELETE FROM events WHERE cause IN ('a', 'b')")

    async def kept(place: Any) -> bool:
        return await store.read(lambda tx: journal.kept(tx, place))

    first, second, third, fourth = map(journal.place_of, events)
    assert not await kept(first)
    assert not await kept(second)
    assert await kept(third)
    assert await kept(fourth)
    assert not await kept((fourth[0] + 1, 0))
    # As a restored database has it: the same transaction for all, and a place just before the first event.
    assert await kept((third[0], third[1] - 1))
    assert await kept(journal.BEGINNING)
