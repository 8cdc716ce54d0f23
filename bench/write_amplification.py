"""How many bytes the store writes for a created room, beside the bytes of the room's own rows.

SQLite: what this process hands to the kernel for the log and the database, with every checkpoint. PostgreSQL:
its log alone; the pages that its checkpoints write come later.
"""

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import psycopg
import uvloop

from bench.results import Measurement
from bench.run import Run
from bench.servers import postgres_of
from bench.store_writer import measure as measure_store
from bench.store_writer import seed
from innkeeper.store.opening import open_store
from innkeeper.testing.postgres_server import PostgresServer

CALLERS = (1, 32, 256)
PROCESSES = 2_000
TABLES = ("rooms", "events")  # what a room that finds a slot adds; its process's row is changed


@dataclass(frozen=True, slots=True)
class Written:
    """By how many rooms, and their shares: bytes written, bytes of their rows, index entries."""

    rooms: int
    bytes_each: float
    row_bytes: float
    index_entries: float
    shared: float


def measure(run: Run) -> Iterator[Measurement]:
    """One line for each number of callers and each store."""
    with postgres_of(run) as server:
        for callers in CALLERS:
            run.say(f"bytes written for a room with {callers} callers")
            seconds = run.seconds(3)
            sqlite = uvloop.run(_sqlite(run.place(f"written-{callers}") / "a.db", callers, seconds))
            yield _line(f"SQLite, {callers} callers", sqlite)
            yield _line(
                f"PostgreSQL, {callers} callers",
                uvloop.run(_postgres(server, callers, seconds, sqlite)),
            )


def _line(name: str, written: Written) -> Measurement:
    detail = (
        f"the baseline is what its rows hold: {len(TABLES)} new ones with {written.index_entries:.1f} "
        f"index entries, and one changed; {written.shared:.1f} rooms a commit, {written.rooms:,} rooms"
    )
    return Measurement(
        f"bytes written for a room: {name}",
        "B",
        written.bytes_each,
        written.row_bytes,
        detail=detail,
    )


async def _sqlite(database: Path, callers: int, seconds: float) -> Written:
    store = await open_store(database)
    await store.write(lambda tx: seed(tx, PROCESSES))
    await store.close()  # the log is empty from here on
    store = await open_store(database)
    before, rooms_before = _handed_to_the_kernel(), _rows(database, "rooms")
    figures = await measure_store(store, callers, seconds)
    await store.close()  # moves what is left in the log, too
    written = _handed_to_the_kernel() - before
    rooms = _rows(database, "rooms") - rooms_before
    row_bytes, entries = _sizes(database)
    return Written(rooms, written / rooms, row_bytes, entries, figures.shared)


async def _postgres(
    server: PostgresServer, callers: int, seconds: float, beside: Written
) -> Written:
    database = server.new_database()
    store = await open_store(server.url(database))
    await store.write(lambda tx: seed(tx, PROCESSES))
    with server.connect(database) as link:
        link.autocommit = True
        link.execute("VACUUM ANALYZE")
        link.execute("CHECKPOINT")
        before = _log_bytes(link)
        figures = await measure_store(store, callers, seconds)
        written = _log_bytes(link) - before
        found = link.execute("SELECT COUNT(*) FROM rooms").fetchone()
    await store.close()
    assert found is not None
    rooms = int(str(found[0]))
    await asyncio.to_thread(server.drop, database)
    return Written(rooms, written / rooms, beside.row_bytes, beside.index_entries, figures.shared)


def _log_bytes(link: psycopg.Connection[tuple[object, ...]]) -> int:
    row = link.execute("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn").fetchone()
    assert row is not None
    return int(str(row[0]))


def _handed_to_the_kernel() -> int:
    """Bytes of this process's write calls so far."""
    fields = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(fields["wchar"])


def _rows(database: Path, table: str) -> int:
    with closing(sqlite3.connect(database)) as store:
        return int(store.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0])


def _sizes(database: Path) -> tuple[float, float]:
    """Bytes of the values in a room's new rows (a number has 8), and their entries in indexes."""
    total, entries = 0.0, 0.0
    with closing(sqlite3.connect(database)) as store:
        for table in TABLES:
            columns = [row[1] for row in store.execute(f"PRAGMA table_info({table})")]
            size = " + ".join(
                f"CASE typeof({name}) WHEN 'null' THEN 0 WHEN 'text' THEN length({name}) ELSE 8 END"
                for name in columns
            )
            total += store.execute(f"SELECT AVG({size}) FROM {table}").fetchone()[0]
            count = store.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0]
            for (sql,) in store.execute(
                "SELECT sql FROM sqlite_master WHERE type = 'index' AND tbl_name = ?", (table,)
            ).fetchall():
                where = "1" if sql is None else (sql.partition(" WHERE ")[2] or "1")
                held = store.execute(f"SELECT COUNT(*) FROM {table} WHERE {where}").fetchone()[0]
                entries += held / count
    return total, entries
