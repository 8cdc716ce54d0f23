"""PostgreSQL goes away, comes back, refuses, fills up: callers are told; nothing is done twice or lost."""

import asyncio
import signal
import subprocess
import threading
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from innkeeper.core.errors import Unavailable
from innkeeper.interfaces import Tx
from innkeeper.store import postgres_writes
from innkeeper.store.postgres import PostgresStore
from innkeeper.store.postgres_link import Link, Statement
from innkeeper.store.postgres_migrate import migrate_postgres
from innkeeper.store.postgres_reads import READERS_MAX
from innkeeper.store.postgres_writes import PostgresWriteConnection
from innkeeper.testing.postgres_server import PostgresServer, running_postgres
from innkeeper.testing.store_suite import add, ports

EVERYBODY = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
)


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """A server that these tests may end."""
    with running_postgres() as server:
        yield server


@pytest.fixture
def database(server: PostgresServer) -> Iterator[str]:
    """A new, migrated database."""
    server.ensure_started()
    name = server.new_database()
    migrate_postgres(server.url(name))
    yield name
    server.ensure_started()
    server.drop(name)


@pytest.fixture
async def store(
    server: PostgresServer, database: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[PostgresStore]:
    """A store that tries again without a pause."""
    monkeypatch.setattr(postgres_writes, "RETRY_FIRST_S", 0.0)
    monkeypatch.setattr(postgres_writes, "RETRY_LAST_S", 0.0)
    store = PostgresStore(server.url(database))
    await store.open()
    yield store
    await store.close()


def end_everybody(server: PostgresServer, database: str) -> None:
    """Disconnect everybody else, as an operator or a fail-over does."""
    with server.connect(database) as connection:
        connection.execute(EVERYBODY)


# ---------------------------------------------------------------- connections that end


async def test_a_connection_that_ends_between_batches_is_made_anew(
    server: PostgresServer, database: str, store: PostgresStore
) -> None:
    assert await store.write(add(1)) == 1
    assert await store.read(ports) == [1]
    end_everybody(server, database)
    assert await store.write(add(2)) == 2
    assert await store.read(ports) == [1, 2]


async def test_one_that_ends_in_the_middle_of_a_batch_loses_nothing_and_does_nothing_twice(
    server: PostgresServer, database: str, store: PostgresStore
) -> None:
    runs = []

    def interrupted(tx: Tx) -> int:
        runs.append(add(2)(tx))
        if len(runs) == 1:
            end_everybody(server, database)
        return add(3)(tx)

    jobs: list[Callable[[Tx], int]] = [add(1), interrupted, add(4)]
    assert await asyncio.gather(*map(store.write, jobs)) == [1, 3, 4]
    assert runs == [2, 2]
    assert await store.read(ports) == [1, 2, 3, 4]


async def test_a_job_cannot_hide_that_its_connection_ended(
    server: PostgresServer, database: str, store: PostgresStore
) -> None:
    runs = []

    def stubborn(tx: Tx) -> str:
        runs.append(1)
        add(1)(tx)
        end_everybody(server, database)
        for _ in range(2):
            try:
                add(2)(tx)
            except Exception:
                continue
        return "done"

    with pytest.raises(Unavailable, match=r"PostgreSQL (is shutting down|does not answer)"):
        await store.write(stubborn)
    assert len(runs) == 2, "once more on a new connection, and no more"
    assert await store.read(ports) == []


async def test_readers_find_their_way_back_all_at_once(
    server: PostgresServer, database: str, store: PostgresStore
) -> None:
    together = threading.Barrier(READERS_MAX)

    def read(tx: Tx) -> list[int]:
        together.wait(10)  # so that each has a connection of its own
        return ports(tx)

    for _ in range(2):
        found = await asyncio.gather(*(store.read(read) for _ in range(READERS_MAX)))
        assert found == [[]] * READERS_MAX
        end_everybody(server, database)
    assert await store.read(ports) == []


async def test_a_read_whose_connection_ends_is_repeated(
    server: PostgresServer, database: str, store: PostgresStore
) -> None:
    runs = []

    def interrupted(tx: Tx) -> list[int]:
        runs.append(ports(tx))
        if len(runs) == 1:
            end_everybody(server, database)
        return ports(tx)

    await store.write(add(1))
    assert await store.read(interrupted) == [1]
    assert len(runs) == 2


async def test_a_commit_whose_outcome_nobody_knows_is_no_success(
    server: PostgresServer, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Cut(PostgresWriteConnection):
        cut = False

        def commit(self) -> None:
            if Cut.cut:
                Cut.cut = False
                end_everybody(server, database)
            super().commit()

    store = PostgresStore(server.url(database), Cut)
    await store.open()
    await store.write(add(1))
    Cut.cut = True
    outcomes = await asyncio.gather(*map(store.write, (add(2), add(3))), return_exceptions=True)
    for outcome in outcomes:
        assert isinstance(outcome, Unavailable)
        assert "whether it was kept is not known" in outcome.message
        assert outcome.retry_after_s > 0
    assert await store.write(add(4)) == 2
    await store.close()


# ---------------------------------------------------------------- a server that ends


async def test_while_postgresql_is_away_callers_are_told_and_then_all_goes_on(
    server: PostgresServer, database: str, store: PostgresStore, caplog: pytest.LogCaptureFixture
) -> None:
    await store.write(add(1))
    await store.read(ports)
    server.stop()
    for _ in range(2):
        with pytest.raises(Unavailable, match="PostgreSQL"):
            await store.write(add(2))
        with pytest.raises(Unavailable, match="PostgreSQL"):
            await store.read(ports)
    server.start()
    assert await store.write(add(3)) == 2
    assert await store.read(ports) == [1, 3]
    told = [record.message.split(":")[0] for record in caplog.records]
    assert told == ["writes are refused from now on", "writes are accepted again"]
    for secret in (str(server.directory), database):
        assert secret not in caplog.records[0].message


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT])
async def test_a_restart_under_load_loses_no_accepted_write(
    server: PostgresServer, database: str, store: PostgresStore, how: signal.Signals
) -> None:
    accepted: list[int] = []
    refused: list[Unavailable] = []
    enough, over = asyncio.Event(), asyncio.Event()

    async def caller(port: int) -> None:
        while not over.is_set():
            try:
                await store.write(add(port))
                accepted.append(port)
            except Unavailable as error:
                refused.append(error)
            port += 16
            if len(accepted) > 200:
                enough.set()

    callers = [asyncio.ensure_future(caller(first)) for first in range(16)]
    await enough.wait()
    await asyncio.to_thread(server.stop, how)
    await asyncio.to_thread(server.start)
    before = len(accepted)
    while len(accepted) < before + 100:
        await asyncio.wait(
            [asyncio.ensure_future(asyncio.sleep(0)), *callers], return_when="FIRST_COMPLETED"
        )
    over.set()
    await asyncio.gather(*callers)
    assert set(accepted) <= set(await store.read(ports))
    assert all(error.retry_after_s > 0 for error in refused)


async def test_a_store_that_cannot_open_says_so(server: PostgresServer, database: str) -> None:
    for url, words in (
        (server.url("nothing"), "the database does not exist"),
        (server.url(database).replace("innkeeper@", "stranger@"), "refuses our user or password"),
        ("postgresql://innkeeper:secret@127.0.0.1:1/x", "PostgreSQL does not answer"),
    ):
        store = PostgresStore(url)
        with pytest.raises(Unavailable, match=words) as told:
            await store.open()
        assert "secret" not in told.value.message
        await store.close()


def test_after_a_failed_try_the_next_one_waits_a_while() -> None:
    connecting = postgres_writes.Connecting("postgresql://127.0.0.1:1/x")
    with pytest.raises(Unavailable) as first:
        connecting.link()
    assert connecting.pause_s > postgres_writes.RETRY_FIRST_S
    with pytest.raises(Unavailable) as second:
        connecting.link()
    assert second.value.__cause__ is None, "nobody was asked"
    assert second.value.message == first.value.message


# ---------------------------------------------------------------- refusals


async def test_a_statement_that_takes_too_long_is_ended(
    server: PostgresServer, database: str, store: PostgresStore
) -> None:
    with server.connect(database) as other:
        other.execute(f"ALTER DATABASE {database} SET statement_timeout = 0")
    link = Link(server.url(database))
    link.command(b"SET statement_timeout = 20")
    link.queue(Statement(b"slow", b"SELECT pg_sleep(10)", ()), (), wanted=True)
    with pytest.raises(Exception, match="statement timeout") as refused:
        link.sync()
    told = refused.value.told("a query")  # type: ignore[attr-defined]
    assert isinstance(told, Unavailable)
    assert "took too long" in told.message
    link.close()


async def test_a_read_only_database_is_not_written_to(
    server: PostgresServer, database: str
) -> None:
    with server.connect("postgres") as other:
        other.execute(f"ALTER DATABASE {database} SET default_transaction_read_only = on")
    store = PostgresStore(server.url(database))
    with pytest.raises(Unavailable, match="read-only here: name the primary"):
        await store.open()
    await store.close()


async def test_one_that_becomes_read_only_is_left_for_one_that_is_not(
    server: PostgresServer, database: str, store: PostgresStore
) -> None:
    await store.write(add(1))

    def demoted(tx: Tx) -> int:
        tx.link.command(b"SET TRANSACTION READ ONLY")  # type: ignore[attr-defined]
        return add(2)(tx)

    with pytest.raises(Unavailable, match="read-only"):
        await store.write(demoted)
    assert await store.write(add(3)) == 2


async def test_a_server_that_stands_still_in_a_batch_loses_it(
    server: PostgresServer, database: str, store: PostgresStore
) -> None:
    def stand_still(tx: Tx) -> int:
        add(1)(tx)
        link = tx.link  # type: ignore[attr-defined]
        link.command(b"SET idle_in_transaction_session_timeout = 20")
        link.sync()
        with server.connect(database) as other, other.transaction():
            # Locks of ours are free again: PostgreSQL has ended the transaction.
            other.execute("SET lock_timeout = '10s'")
            other.execute("LOCK TABLE host_ports IN ACCESS EXCLUSIVE MODE")
        return add(2)(tx)

    with pytest.raises(Unavailable, match="stood still"):
        await store.write(stand_still)
    assert await store.write(add(3)) == 1


@pytest.mark.system
async def test_a_full_disk_refuses_and_recovers(server: PostgresServer) -> None:
    disk = server.directory / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=24m,mode=0777", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("only root can mount a small disk")
    try:
        place = disk / "space"
        subprocess.run([*server.as_user, "mkdir", str(place)], check=True)
        ballast = disk / "ballast"
        ballast.write_bytes(b"x" * 2**22)
        with server.connect("postgres") as other:
            other.execute(f"CREATE TABLESPACE small LOCATION '{place}'")
            other.execute("CREATE DATABASE full_one TABLESPACE small")
        migrate_postgres(server.url("full_one"))
        store = PostgresStore(server.url("full_one"))
        await store.open()
        await store.write(add(1))
        refusal = await _fill(store)
        assert refusal.message.startswith("disk full: free some space")
        assert await store.read(ports) == [1]
        ballast.unlink()
        assert await store.write(add(2)) == 2
        await store.close()
    finally:
        with server.connect("postgres") as other:
            other.execute("DROP DATABASE IF EXISTS full_one WITH (FORCE)")
            other.execute("DROP TABLESPACE IF EXISTS small")
        subprocess.run(["umount", str(disk)], check=True)


async def _fill(store: PostgresStore) -> Unavailable:
    # Not to be compressed away.
    chunk = "".join(chr(0x4E00 + n * 7919 % 20000) for n in range(200_000))

    def big_row(number: int) -> Callable[[Tx], int]:
        name = chunk[number:] + chunk[:number]
        org = {"name": name, "max_requested_memory_mb": 1, "created_at": 0}
        return lambda tx: tx.run("orgs.insert", org_id=f"org-{number}", **org)

    for number in range(1000):
        try:
            await store.write(big_row(number))
        except Unavailable as refusal:
            return refusal
    raise AssertionError("it never filled")
