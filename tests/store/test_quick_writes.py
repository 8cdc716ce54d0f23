"""What makes writes quick must not show: rows kept between them, and batches that are run again."""

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing

import pytest

from innkeeper.interfaces import Tx
from innkeeper.store.queries import QUERIES, BadQuery, load
from innkeeper.store.sqlite import SqliteStore
from innkeeper.store.writer import CAREFUL_BATCHES
from innkeeper.testing.store_suite import add

ORG = {"org_id": "org-1", "max_requested_memory_mb": 8192, "created_at": 1}


def name_of(tx: Tx) -> str | None:
    row = tx.one("orgs.by_id", org_id="org-1")
    return None if row is None else row["name"]


def make(tx: Tx) -> str | None:
    assert name_of(tx) is None
    tx.run("orgs.insert", name="first", **ORG)
    return name_of(tx)


async def test_a_row_is_kept_until_something_is_written_to_its_table(store: SqliteStore) -> None:
    assert await store.write(make) == "first"
    first, again = await asyncio.gather(
        store.write(lambda tx: tx.one("orgs.by_id", org_id="org-1")),
        store.write(lambda tx: tx.one("orgs.by_id", org_id="org-1")),
    )
    assert first is again


async def test_what_another_program_writes_is_seen_by_the_next_batch(store: SqliteStore) -> None:
    await store.write(make)
    with closing(sqlite3.connect(store.path)) as other, other:
        other.execute("UPDATE orgs SET name = 'other'")
    assert await store.write(name_of) == "other"


async def test_a_row_that_was_undone_is_not_kept(store: SqliteStore) -> None:
    def fail(tx: Tx) -> None:
        assert make(tx) == "first"
        raise LookupError

    for _ in range(2):  # the second time the batch is begun with care
        with pytest.raises(LookupError):
            await store.write(fail)
        assert await store.write(name_of) is None


@pytest.mark.parametrize("batches", [1, 2, CAREFUL_BATCHES + 3])
async def test_a_batch_that_is_run_again_keeps_only_what_succeeded(
    store: SqliteStore, ports_of: Callable[..., list[int]], batches: int
) -> None:
    runs = []

    def fail(tx: Tx) -> None:
        runs.append(1)
        add(999)(tx)
        raise LookupError

    for number in range(batches):
        jobs = [add(2 * number), fail, add(2 * number + 1)]
        outcomes = await asyncio.gather(*map(store.write, jobs), return_exceptions=True)
        assert isinstance(outcomes[1], LookupError)
    assert ports_of(store.path) == list(range(2 * batches))
    assert len(runs) == batches + 1 + (batches > CAREFUL_BATCHES + 1)


async def test_a_job_that_fails_without_a_change_costs_no_second_run(store: SqliteStore) -> None:
    runs = []

    def fail(tx: Tx) -> None:
        runs.append(tx.run("processes.free_slot", process_id="nobody", now=0))
        raise LookupError

    with pytest.raises(LookupError):
        await store.write(fail)
    assert runs == [0]


def test_a_query_cannot_hide_a_table_it_reads(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("sql")
    (folder / "x.sql").write_text("-- name: y\n-- Why.\nSELECT 1 FROM apps a, rooms r")
    with pytest.raises(BadQuery, match="JOIN"):
        load(folder)


def test_the_tables_of_a_query_are_known() -> None:
    assert QUERIES["rooms.target"].tables == {"apps", "deployments"}
    assert QUERIES["rooms.keep_allocation"].tables == {"past_allocations", "rooms"}
    assert QUERIES["processes.take_slot"].tables == {"processes", "waiting_rooms"}
    assert all(query.tables for query in QUERIES.values())
