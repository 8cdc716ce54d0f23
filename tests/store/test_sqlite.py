"""The SQLite store: the shipped suite, and what is SQLite's own: durability, full disks, the log's size."""

import asyncio
import os
import resource
import signal
import sqlite3
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from innkeeper.core.errors import Unavailable
from innkeeper.interfaces import LockKey, Tx
from innkeeper.store import sqlite
from innkeeper.store.migrate import migrate
from innkeeper.store.opening import open_store
from innkeeper.store.sqlite import SqliteStore, SqliteWriteConnection
from innkeeper.testing.store_suite import StoreRig, StoreSuite, add, ports

PortsOf = Callable[[Path], list[int]]


class TestSqliteStore(StoreSuite):
    """The shipped suite."""

    @pytest.fixture
    async def rig(self, sqlite_rig: StoreRig) -> StoreRig:
        return sqlite_rig


def big_row(number: int) -> Callable[[Tx], object]:
    """A write of some 100 kB."""
    org = {"name": "n" * 100_000, "max_requested_memory_mb": 1, "created_at": 0}
    return lambda tx: tx.run("orgs.insert", org_id=f"org-{number}", **org)


async def fill(store: SqliteStore, most: int = 1000) -> tuple[int, Unavailable]:
    """Write big rows until one is refused: how many fitted, and the refusal."""
    for number in range(most):
        try:
            await store.write(big_row(number))
        except Unavailable as refusal:
            return number, refusal
    raise AssertionError("it never filled")


# ---------------------------------------------------------------- durability


async def test_every_commit_is_synced_to_the_write_ahead_log(tmp_path: Path) -> None:
    seen: dict[str, object] = {}

    class Asked(SqliteWriteConnection):
        def __init__(self, path: Path) -> None:
            super().__init__(path)
            for pragma in ("synchronous", "journal_mode", "foreign_keys"):
                seen[pragma] = self._connection.execute(f"PRAGMA {pragma}").fetchone()[0]

    migrate(tmp_path / "innkeeper.db")
    store = SqliteStore(tmp_path / "innkeeper.db", Asked)
    await store.open()
    await store.close()
    assert seen == {"synchronous": 2, "journal_mode": "wal", "foreign_keys": 1}  # 2 is FULL


CHILD = """
import asyncio, os, sys
from pathlib import Path
from innkeeper.store.opening import open_store
from innkeeper.testing.store_suite import add

async def main():
    store = await open_store(Path(sys.argv[1]))

    async def caller(port):
        while True:
            await store.write(add(port))
            os.write(1, b"%d\\n" % port)
            port += 8

    await asyncio.gather(*(caller(first) for first in range(8)))

asyncio.run(main())
"""


@pytest.mark.parametrize("acknowledged", [1, 57, 400])
def test_what_was_acknowledged_survives_kill_9(
    tmp_path: Path, acknowledged: int, ports_of: PortsOf
) -> None:
    path = tmp_path / "innkeeper.db"
    command = [sys.executable, "-c", CHILD, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        lines = [child.stdout.readline() for _ in range(acknowledged)]
        os.kill(child.pid, signal.SIGKILL)
        lines += child.stdout.readlines()
    answered = {int(line) for line in lines if line.endswith(b"\n")}
    assert len(answered) >= acknowledged
    migrate(path)
    assert answered <= set(ports_of(path))
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


# ---------------------------------------------------------------- the disk


async def test_a_full_database_refuses_and_recovers(tmp_path: Path, ports_of: PortsOf) -> None:
    room = "PRAGMA max_page_count = 200"

    class Small(SqliteWriteConnection):
        def begin(self, locks: Sequence[LockKey]) -> Set[LockKey]:
            self._connection.execute(room)
            return super().begin(locks)

    migrate(tmp_path / "innkeeper.db")
    store = SqliteStore(tmp_path / "innkeeper.db", Small)
    await store.open()
    fitted, refusal = await fill(store)
    assert "disk full: free some space where innkeeper.db is" in refusal.message
    assert str(tmp_path) not in refusal.message
    assert await store.write(add(1)) == 1, "what fits is still written"
    # All of a batch fail with the one that did not fit: what they saw may be gone.
    jobs = [add(2), big_row(5000), add(3)]
    outcomes = await asyncio.gather(*map(store.write, jobs), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [Unavailable] * 3
    room = "PRAGMA max_page_count = 100000"
    await store.write(big_row(fitted))
    assert await store.write(add(4)) == 2
    await store.close()
    assert ports_of(tmp_path / "innkeeper.db") == [1, 4]


async def test_a_write_that_hides_the_full_disk_cannot_go_on(tmp_path: Path) -> None:
    class Small(SqliteWriteConnection):
        def begin(self, locks: Sequence[LockKey]) -> Set[LockKey]:
            self._connection.execute("PRAGMA max_page_count = 100")
            return super().begin(locks)

    def stubborn(tx: Tx) -> int:
        with pytest.raises(Unavailable):
            deque((big_row(number)(tx) for number in range(100)), maxlen=0)
        with pytest.raises(Unavailable):
            add(1)(tx)
        return 1

    migrate(tmp_path / "innkeeper.db")
    store = SqliteStore(tmp_path / "innkeeper.db", Small)
    await store.open()
    with pytest.raises(Unavailable, match="disk full"):
        await store.write(stubborn)
    assert await store.read(ports) == []
    await store.close()


@contextmanager
def files_no_larger_than(size: int) -> Iterator[None]:
    """The kernel refuses to let this process's files grow beyond ``size`` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_a_failing_disk_refuses_and_recovers(
    store: SqliteStore, ports_of: PortsOf, caplog: pytest.LogCaptureFixture
) -> None:
    await store.write(add(1))
    with files_no_larger_than(2**20):
        fitted, refusal = await fill(store)
        assert "disk" in refusal.message
        with pytest.raises(Unavailable):
            await store.write(big_row(fitted))
        assert await store.read(ports) == [1], "reads go on"
    await store.write(big_row(fitted))
    assert await store.write(add(2)) == 2
    assert ports_of(store.path) == [1, 2]
    told = [record.message.split(":")[0] for record in caplog.records]
    assert told == ["writes are refused from now on", "writes are accepted again"]


@pytest.mark.system
async def test_a_full_disk_refuses_and_recovers(tmp_path: Path, ports_of: PortsOf) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("only root can mount a small disk")
    try:
        ballast = disk / "ballast"
        ballast.write_bytes(b"x" * 2**20)
        store = await open_store(disk / "innkeeper.db")
        await store.write(add(1))
        fitted, refusal = await fill(store)
        assert refusal.message.startswith("disk full: free some space")
        assert await store.read(ports) == [1]
        ballast.unlink()
        await store.write(big_row(fitted))
        assert await store.write(add(2)) == 2
        assert ports_of(disk / "innkeeper.db") == [1, 2]
        await store.close()
    finally:
        subprocess.run(["umount", str(disk)], check=True)


async def test_another_program_that_holds_the_database_is_named(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "BUSY_TIMEOUT_MS", 1)
    impatient = SqliteStore(store.path)
    await impatient.open()
    with closing(sqlite3.connect(store.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Unavailable, match="locked by another program"):
            await impatient.write(add(1))
        assert await impatient.read(ports) == []
        other.execute("COMMIT")
    assert await impatient.write(add(2)) == 1
    await impatient.close()


async def test_the_log_does_not_grow_without_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "CHECKPOINT_PAGES", 64)
    store = await open_store(tmp_path / "innkeeper.db")
    for number in range(60):  # 1,500 pages in all
        await store.write(big_row(number))
        await store.read(ports)
    log = tmp_path / "innkeeper.db-wal"
    assert log.stat().st_size < 2 * 64 * 4096
    await store.close()
    assert not log.exists(), "the last one out moves the log into the database"


# ---------------------------------------------------------------- reads, threads


async def test_a_read_looks_at_one_snapshot(store: SqliteStore) -> None:
    def read(tx: Tx) -> tuple[list[int], list[int]]:
        before = ports(tx)
        with closing(sqlite3.connect(store.path)) as other, other:
            other.execute("INSERT INTO host_ports (port) VALUES (7)")
        return before, ports(tx)

    assert await store.read(read) == ([], [])
    assert await store.read(ports) == [7]


async def test_a_read_that_leaves_rows_behind_does_not_hold_the_log(store: SqliteStore) -> None:
    await store.write(lambda tx: tx.run("host_ports.insert_range", first_port=1, last_port=999))
    whole = {"first_port": 0, "last_port": 65535}
    first = await store.read(lambda tx: tx.one("host_ports.of_range", **whole))
    assert first is not None
    assert first["port"] == 1
    with closing(sqlite3.connect(store.path)) as other:
        busy, _, _ = other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    assert not busy


async def test_a_transaction_is_of_no_use_outside_its_thread(store: SqliteStore) -> None:
    kept: list[Tx] = []
    await store.write(kept.append)
    with pytest.raises(sqlite3.ProgrammingError, match="thread"):
        ports(kept[0])


async def test_a_write_may_raise_anything_and_the_writer_lives_on(store: SqliteStore) -> None:
    def raising(error: BaseException) -> Callable[[Tx], Any]:
        def write(tx: Tx) -> None:
            add(1)(tx)
            raise error

        return write

    with pytest.raises(RuntimeError, match="StopIteration"):
        await store.write(raising(StopIteration()))
    with pytest.raises(GeneratorExit):
        await store.write(raising(GeneratorExit()))
    assert await store.write(add(2)) == 1


async def test_a_store_that_cannot_open_says_so(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "missing" / "innkeeper.db")
    with pytest.raises(Unavailable, match="cannot be opened"):
        await store.open()


async def test_one_that_could_not_open_can_be_closed(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "missing" / "innkeeper.db")
    with pytest.raises(Unavailable):
        await store.open()
    await store.close()
    with pytest.raises(Unavailable, match="shutting down"):
        await store.write(add(1))
