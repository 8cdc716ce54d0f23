"""Servers on one PostgreSQL: they hear each other, see who is gone, and no takeover comes in between."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from innkeeper.core.errors import LeaseLost
from innkeeper.interfaces import Tx
from innkeeper.store.opening import open_store
from innkeeper.store.postgres_neighbours import PostgresNeighbours
from innkeeper.testing.postgres_server import PostgresServer
from innkeeper.usecases import leases

NAME = "reconciler"
WAIT_S = 10


class Ear:
    """A server that keeps what it hears."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.heard: list[tuple[str, str]] = []
        self.freed = 0
        self.neighbours = PostgresNeighbours(url)
        self.neighbours.listen(self.heard.append, self._free)
        self.neighbours.open()

    def _free(self) -> None:
        self.freed += 1


@pytest.fixture
async def two(postgres: PostgresServer, postgres_database: str) -> AsyncIterator[tuple[Ear, Ear]]:
    url = postgres.url(postgres_database)
    ears = Ear(url), Ear(url)
    yield ears
    for ear in ears:
        await ear.neighbours.close()


async def until(fact: Callable[[], Any], again: Callable[[], object] = lambda: None) -> None:
    async with asyncio.timeout(WAIT_S):
        while not fact():
            again()
            await asyncio.sleep(0.01)


async def listening(one: Ear, two: Ear) -> None:
    """Until the second hears the first."""
    await until(lambda: two.heard, lambda: one.neighbours.wake(("app-0", "Tokyo")))
    await asyncio.sleep(0.05)
    two.heard.clear()


async def test_keys_are_heard_by_all_and_sent_together(two: tuple[Ear, Ear]) -> None:
    one, other = two
    await listening(one, other)
    for _ in range(100):  # of one turn of the loop
        one.neighbours.wake(("app-1", "Washington_DC"))
    one.neighbours.wake(("app-2", "Tokyo"))
    one.neighbours.tell_freed()
    await until(lambda: other.freed)
    assert other.heard == [("app-1", "Washington_DC"), ("app-2", "Tokyo")]


async def test_a_holder_is_seen_until_it_is_gone(
    two: tuple[Ear, Ear], postgres: PostgresServer, postgres_database: str
) -> None:
    holder, other = (ear.neighbours for ear in two)
    assert await other.gone(7), "nobody has it"
    assert await holder.show(7)
    assert await holder.show(7), "it shows itself with each renewal"
    assert not await other.gone(7)
    assert not await other.show(7), "there is one"
    assert await other.gone(8)
    await holder.hide(7)
    assert await other.gone(7)
    assert await holder.show(7)
    with postgres.connect("postgres") as admin:  # its session ends, as when it is killed
        admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_locks JOIN pg_stat_activity USING (pid)"
            " WHERE locktype = 'advisory' AND datname = %s",
            (postgres_database,),
        )
    async with asyncio.timeout(WAIT_S):
        while not await other.gone(7):
            await asyncio.sleep(0.01)
    # It lives after all: it finds out when it shows itself, and is seen again.
    await holder.show(7)
    assert await holder.show(7)
    assert not await other.gone(7)


async def test_they_hear_each_other_again_after_a_cut(
    two: tuple[Ear, Ear], postgres: PostgresServer, postgres_database: str
) -> None:
    one, other = two
    await listening(one, other)
    with postgres.connect("postgres") as admin:
        admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
            (postgres_database,),
        )
    await listening(one, other)


async def test_a_takeover_waits_for_a_write_that_has_shown_its_fence(two: tuple[Ear, Ear]) -> None:
    old, new = await open_store(two[0].url), await open_store(two[0].url)
    shown, let_go = threading.Event(), threading.Event()

    def slow(tx: Tx) -> None:
        leases.require(tx, fence)
        shown.set()
        assert let_go.wait(WAIT_S)
        tx.run("installation.insert", installation_id="x", url_secret="x", created_at=1)

    try:
        taken = await old.write(lambda tx: leases.take(tx, NAME, "old", "here", None))
        assert taken is not None
        fence = taken
        # The store's own writer is at work meanwhile: renewing must not wait for the check.
        writing = asyncio.ensure_future(old.write(slow))
        await asyncio.to_thread(shown.wait, WAIT_S)
        assert await new.write(lambda tx: leases.renew(tx, fence))
        seen = await new.read(lambda tx: leases.look(tx, NAME))
        taking = asyncio.ensure_future(
            new.write(lambda tx: leases.take(tx, NAME, "new", "here", seen))
        )
        await asyncio.sleep(0.3)
        assert not taking.done(), "it came between the check and the commit"
        let_go.set()
        await writing
        after = await taking
        assert after is not None
        assert after.number == fence.number + 1
        with pytest.raises(LeaseLost):
            await old.write(lambda tx: leases.require(tx, fence))
        assert not await old.write(lambda tx: leases.renew(tx, fence))
    finally:
        let_go.set()
        await old.close()
        await new.close()
