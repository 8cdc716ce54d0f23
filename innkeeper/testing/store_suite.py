"""What every store must do: subclass :class:`StoreSuite` and give it a rig.

A rig is a store on a new, migrated database, with the few handles that the promises need to be seen:
what another connection sees, how many commits there were, and a hand on the next commit.
"""

import asyncio
import math
import random
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

import pytest

from innkeeper.core.errors import ConstraintBroken, NotFound, Unavailable
from innkeeper.interfaces import Store, Tx

QUEUE_MAX = 64  # a rig's store accepts as many writes and no more
BATCH_MAX = 16  # and as many share one commit
_WHOLE_RANGE = (0, 65535)


@dataclass(frozen=True, slots=True)
class StoreRig:
    """A store under test. Tests write rows of ``host_ports``, which stands alone.

    ``seen`` is every port there as a second connection sees it now. ``held`` makes a write of its own
    (port 65535) and holds back its commit until it is left; it is entered once the writer stands there,
    and gives that write. ``fail_next_commit``: the next commit that begins fails as on a full disk.
    """

    store: Store
    seen: Callable[[], list[int]]
    commits: Callable[[], int]
    held: Callable[[], AbstractAsyncContextManager[asyncio.Future[int]]]
    fail_next_commit: Callable[[], None]


def add(port: int) -> Callable[[Tx], int]:
    """A write of one row that answers how many there are then."""

    def write(tx: Tx) -> int:
        tx.run("host_ports.insert_range", first_port=port, last_port=port)
        return len(ports(tx))

    return write


def add_and_fail(port: int) -> Callable[[Tx], int]:
    """A write that fails after it has written."""

    def write(tx: Tx) -> int:
        add(port)(tx)
        raise NotFound("Port", str(port))

    return write


def ports(tx: Tx) -> list[int]:
    """Every port that has a row."""
    first, last = _WHOLE_RANGE
    return [row["port"] for row in tx.all("host_ports.of_range", first_port=first, last_port=last)]


class StoreSuite:
    """The promises of :class:`~innkeeper.interfaces.Store`. A subclass overrides the fixture ``rig``."""

    @pytest.fixture
    async def rig(self) -> StoreRig:
        """A rig on a new database; the subclass closes its store afterwards."""
        raise NotImplementedError

    # -------------------------------------------------------- writes

    async def test_a_write_that_is_done_is_seen_by_others(self, rig: StoreRig) -> None:
        assert await rig.store.write(add(1)) == 1
        assert rig.seen() == [1]

    async def test_no_write_is_done_before_its_own_commit(self, rig: StoreRig) -> None:
        async with rig.held() as own:
            later = asyncio.ensure_future(rig.store.write(add(1)))
            for _ in range(10):  # turns of the loop, in which a premature outcome would arrive
                assert rig.seen() == []
                await asyncio.sleep(0)
            assert not own.done()
            assert not later.done()
        assert (await own, await later) == (1, 2)
        assert rig.seen() == [1, 65535]

    async def test_each_commit_is_told_once_it_can_be_read(self, rig: StoreRig) -> None:
        told: list[int] = []
        rig.store.after_commits(lambda: told.append(len(rig.seen())))
        for port in (1, 2, 3):
            await rig.store.write(add(port))
        assert told == [1, 2, 3]

    async def test_a_failing_write_undoes_itself_and_nothing_else(self, rig: StoreRig) -> None:
        async with rig.held():
            jobs = (add(1), add_and_fail(2), add(3), add_and_fail(4), add(5))
            writes = [asyncio.ensure_future(rig.store.write(job)) for job in jobs]
        first, second, third, fourth, fifth = await asyncio.gather(*writes, return_exceptions=True)
        assert (first, third, fifth) == (2, 3, 4)
        assert isinstance(second, NotFound)
        assert isinstance(fourth, NotFound)
        assert rig.seen() == [1, 3, 5, 65535]

    async def test_writes_run_in_the_order_they_came(self, rig: StoreRig) -> None:
        counts = await asyncio.gather(*(rig.store.write(add(port)) for port in range(QUEUE_MAX)))
        assert counts == list(range(1, QUEUE_MAX + 1))

    async def test_many_writes_share_a_commit(self, rig: StoreRig) -> None:
        async with rig.held():
            before = rig.commits()
            writes = [asyncio.ensure_future(rig.store.write(add(port))) for port in range(50)]
            await asyncio.sleep(0)  # they are handed over in the next turn of the loop
        await asyncio.gather(*writes)
        assert rig.commits() - before == 1 + math.ceil(50 / BATCH_MAX), "the held one, and theirs"

    async def test_what_succeeded_stays_and_what_failed_is_gone(self, rig: StoreRig) -> None:
        chance = random.Random(11)
        kept: list[int] = []

        async def caller(first: int) -> None:
            for port in range(first, first + 20):
                if chance.random() < 0.5:
                    await rig.store.write(add(port))
                    kept.append(port)
                else:
                    with pytest.raises(NotFound):
                        await rig.store.write(add_and_fail(port))

        await asyncio.gather(*(caller(first) for first in range(0, 400, 20)))
        assert rig.seen() == sorted(kept)

    async def test_a_caller_that_stops_waiting_disturbs_nobody(self, rig: StoreRig) -> None:
        async with rig.held():
            writes = [asyncio.ensure_future(rig.store.write(add(port))) for port in (1, 2, 3)]
            await asyncio.sleep(0)
            writes[1].cancel()
        await asyncio.wait(writes)
        assert [write.cancelled() for write in writes] == [False, True, False]
        assert {1, 3} <= set(rig.seen())
        await rig.store.write(add(4))

    async def test_nor_does_one_that_stops_waiting_for_its_commit(self, rig: StoreRig) -> None:
        writes = [asyncio.ensure_future(rig.store.write(add(port))) for port in (1, 2)]
        async with rig.held():  # with the two, where they are not done yet
            writes[0].cancel()
        assert await writes[1] == 2
        assert rig.seen() == [1, 2, 65535], "it came too late to undo anything"

    # -------------------------------------------------------- reads

    async def test_a_read_sees_what_is_committed(self, rig: StoreRig) -> None:
        await rig.store.write(add(1))
        assert await rig.store.read(ports) == [1]

    async def test_a_read_does_not_see_what_is_not(self, rig: StoreRig) -> None:
        async with rig.held():
            assert await rig.store.read(ports) == []
        assert await rig.store.read(ports) == [65535]

    async def test_a_read_cannot_write(self, rig: StoreRig) -> None:
        with pytest.raises(TypeError, match=r"host_ports\.insert_range"):
            await rig.store.read(add(1))
        assert rig.seen() == []

    async def test_a_read_raises_what_it_raised(self, rig: StoreRig) -> None:
        def read(tx: Tx) -> None:
            raise NotFound("Port", "1")

        with pytest.raises(NotFound):
            await rig.store.read(read)
        assert await rig.store.read(ports) == []

    # -------------------------------------------------------- statements

    async def test_rows_are_mappings_and_changes_are_counted(self, rig: StoreRig) -> None:
        def work(tx: Tx) -> None:
            assert tx.run("host_ports.insert_range", first_port=1, last_port=3) == 3
            assert tx.run("host_ports.insert_range", first_port=1, last_port=4) == 1
            assert tx.run("host_ports.delete_outside", first_port=2, last_port=3) == 2
            assert tx.run("host_ports.delete_outside", first_port=2, last_port=3) == 0
            row = tx.one("capacity.take_port", owner="somebody", now=0)
            assert row is not None
            assert dict(row) == {"port": 2}
            assert tx.one("capacity.ports_of", owner="nobody") is None
            assert tx.all("capacity.ports_of", owner="nobody") == []
            rows = tx.all("host_ports.of_range", first_port=0, last_port=9)
            assert [(row["port"], row["owner"]) for row in rows] == [(2, "somebody"), (3, None)]
            assert rows[0].get("color") is None

        await rig.store.write(work)

    async def test_a_broken_constraint_is_named_and_can_be_survived(self, rig: StoreRig) -> None:
        org = {"org_id": "org-1", "name": "o", "max_requested_memory_mb": 1, "created_at": 0}

        def unique(tx: Tx) -> None:
            tx.run("orgs.insert", **org)
            with pytest.raises(ConstraintBroken, match=r"orgs\.insert.*org"):
                tx.run("orgs.insert", **org)
            add(1)(tx)

        def check(tx: Tx) -> None:
            add(2)(tx)
            tx.run("installation.insert_machine", node_id="node-1")
            tx.run("capacity.take", cpu_millis=-1, memory_mb=0)

        await rig.store.write(unique)
        with pytest.raises(ConstraintBroken, match="cpu_millis_promised"):
            await rig.store.write(check)
        assert rig.seen() == [1]

    async def test_a_reference_to_nothing_is_refused(self, rig: StoreRig) -> None:
        row = {
            "org_token_id": "t",
            "org_id": "org-none",
            "name": "n",
            "token_hash": "h",
            "last_four": "1234",
            "scopes": None,
            "created_by": "c",
            "created_at": 0,
        }
        with pytest.raises(ConstraintBroken, match=r"(?i)foreign key"):
            await rig.store.write(lambda tx: tx.run("tokens.insert", **row))

    async def test_a_misspelt_statement_is_refused_loudly(self, rig: StoreRig) -> None:
        def misspelt(tx: Tx) -> None:
            with pytest.raises(KeyError):
                tx.one("host_ports.nonsense")
            with pytest.raises(TypeError, match="first_port"):
                tx.all("host_ports.of_range", first_port=1)
            with pytest.raises(TypeError, match="first_port"):
                tx.all("host_ports.of_range", first_port=1, lastport=2)
            with pytest.raises(TypeError, match="first_port"):
                tx.all("host_ports.of_range", first_port=1, last_port=2, more=3)

        await rig.store.write(misspelt)
        await rig.store.read(misspelt)

    # -------------------------------------------------------- bounds and failures

    async def test_what_waits_is_bounded(self, rig: StoreRig) -> None:
        async with rig.held():  # one write waits already
            writes = [
                asyncio.ensure_future(rig.store.write(add(port))) for port in range(QUEUE_MAX - 1)
            ]
            with pytest.raises(Unavailable, match="overloaded"):
                await rig.store.write(add(1000))
        await asyncio.gather(*writes)
        await rig.store.write(add(1001))
        assert 1000 not in rig.seen()

    async def test_a_failed_commit_fails_all_its_writes_and_the_next_works(
        self, rig: StoreRig
    ) -> None:
        async with rig.held():
            rig.fail_next_commit()
            jobs = (add(1), add_and_fail(2), add(3))
            writes = [asyncio.ensure_future(rig.store.write(job)) for job in jobs]
            await asyncio.sleep(0)
        for outcome in await asyncio.gather(*writes, return_exceptions=True):
            assert isinstance(outcome, Unavailable)
            assert "disk full" in outcome.message
        assert rig.seen() == [65535]
        assert await rig.store.write(add(4)) == 2
        assert rig.seen() == [4, 65535]

    async def test_close_finishes_what_was_accepted(self, rig: StoreRig) -> None:
        writes = [asyncio.ensure_future(rig.store.write(add(port))) for port in range(40)]
        await rig.store.close()
        assert await asyncio.gather(*writes) == list(range(1, 41))
        assert rig.seen() == list(range(40))

    async def test_a_closed_store_takes_nothing(self, rig: StoreRig) -> None:
        await rig.store.close()
        await rig.store.close()
        with pytest.raises(Unavailable, match="shutting down"):
            await rig.store.write(add(1))
        with pytest.raises(Unavailable, match="shutting down"):
            await rig.store.read(ports)
