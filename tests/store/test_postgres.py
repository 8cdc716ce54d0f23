"""PostgreSQL: the shipped suite, durability, and what one server's batches promise beyond it."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable

import pytest

from innkeeper.core.errors import ConstraintBroken, Invalid, NotFound
from innkeeper.interfaces import Tx
from innkeeper.store.postgres import PostgresStore
from innkeeper.store.postgres_link import Link, Statement
from innkeeper.store.postgres_tx import STATEMENTS
from innkeeper.store.queries import POSTGRES_QUERIES
from innkeeper.testing.postgres_server import PostgresServer, running_postgres
from innkeeper.testing.store_suite import StoreRig, StoreSuite, add, ports

ORG = {"org_id": "org-1", "name": "first", "max_requested_memory_mb": 8192, "created_at": 1}
Seen = Callable[[], list[int]]


class TestPostgresStore(StoreSuite):
    """The shipped suite."""

    @pytest.fixture
    async def rig(self, postgres_rig: StoreRig) -> StoreRig:
        return postgres_rig


def put(port: int) -> Callable[[Tx], None]:
    """A write whose count nobody asks for; it breaks a constraint the second time."""

    def write(tx: Tx) -> None:
        tx.put("host_ports.insert_range", first_port=port, last_port=port)
        tx.put("installation.insert_machine", node_id=f"node-{port}")

    return write


# ---------------------------------------------------------------- durability


def test_every_commit_is_synced(postgres: PostgresServer, postgres_database: str) -> None:
    with postgres.connect(postgres_database) as connection:
        connection.execute(f"ALTER DATABASE {postgres_database} SET synchronous_commit = off")
    link = Link(postgres.url(postgres_database))
    for name, value in (("synchronous_commit", "on"), ("fsync", "on")):
        link.command(b"SELECT current_setting($1) AS value", (name,), wanted=True)
        assert link.sync()[0].rows() == [{"value": value}]
    link.close()


CHILD = """
import asyncio, os, sys
from innkeeper.store.opening import open_store
from innkeeper.testing.store_suite import add

async def main():
    store = await open_store(sys.argv[1])

    async def caller(port):
        while True:
            await store.write(add(port))
            os.write(1, b"%d\\n" % port)
            port += 8

    await asyncio.gather(*(caller(first) for first in range(8)))

asyncio.run(main())
"""


@pytest.mark.parametrize("crash", ["ours", "PostgreSQL's"])
def test_what_was_acknowledged_survives_kill_9(crash: str) -> None:
    with running_postgres() as server:
        name = server.new_database()
        command = [sys.executable, "-c", CHILD, server.url(name)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
            assert child.stdout is not None
            lines = [child.stdout.readline() for _ in range(100)]
            if crash == "ours":
                os.kill(child.pid, signal.SIGKILL)
            else:
                server.stop(signal.SIGQUIT)  # no checkpoint: only the log has it
            lines += child.stdout.readlines()
        if crash != "ours":
            server.start()
        answered = {int(line) for line in lines if line.endswith(b"\n")}
        assert len(answered) >= 100
        with server.connect(name) as connection:
            kept = connection.execute("SELECT port FROM host_ports").fetchall()
        assert answered <= {row[0] for row in kept}


# ---------------------------------------------------------------- batches


async def test_what_goes_wrong_late_fails_its_own_write_only(postgres_rig: StoreRig) -> None:
    store = postgres_rig.store
    async with postgres_rig.held():
        jobs = [
            put(1),
            put(1),
            put(2),
            add(3),
        ]  # the second is only known to be wrong with the last
        writes = [asyncio.ensure_future(store.write(job)) for job in jobs]
        await asyncio.sleep(0)
    outcomes = await asyncio.gather(*writes, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [
        type(None),
        ConstraintBroken,
        type(None),
        int,
    ]
    assert "installation.insert_machine" in str(outcomes[1])
    assert postgres_rig.seen() == [1, 2, 3, 65535]


async def test_and_so_it_does_where_only_the_commit_finds_it(postgres_rig: StoreRig) -> None:
    store = postgres_rig.store
    async with postgres_rig.held():
        writes = [asyncio.ensure_future(store.write(put(port))) for port in (1, 2, 2)]
        await asyncio.sleep(0)
    outcomes = await asyncio.gather(*writes, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [type(None), type(None), ConstraintBroken]
    assert postgres_rig.seen() == [1, 2, 65535]


async def test_a_batch_in_haste_runs_once(postgres_store: PostgresStore) -> None:
    runs = []

    def work(tx: Tx) -> None:
        runs.append(tx.run("capacity.give_back_ports", owner="nobody", free_at=1))
        put(1)(tx)

    await postgres_store.write(work)
    with pytest.raises(NotFound):
        await postgres_store.write(_fail)
    assert runs == [0]


def _fail(tx: Tx) -> None:
    raise NotFound("Port", "1")


async def test_a_transaction_is_of_no_use_once_it_has_ended(postgres_store: PostgresStore) -> None:
    kept: list[Tx] = []
    await postgres_store.write(kept.append)
    await postgres_store.read(kept.append)
    for tx in kept:
        with pytest.raises(RuntimeError, match="has ended"):
            ports(tx)


async def test_a_write_may_raise_anything_and_the_writer_lives_on(
    postgres_store: PostgresStore,
) -> None:
    def raising(tx: Tx) -> None:
        add(1)(tx)
        raise GeneratorExit

    with pytest.raises(GeneratorExit):
        await postgres_store.write(raising)
    assert await postgres_store.write(add(2)) == 1


# ---------------------------------------------------------------- rows that are kept


async def test_a_kept_row_is_read_anew_once_another_server_changed_it(
    postgres: PostgresServer, postgres_database: str, postgres_store: PostgresStore
) -> None:
    other = PostgresStore(postgres.url(postgres_database))
    await other.open()

    def name(tx: Tx) -> str:
        row = tx.one("orgs.by_id", org_id="org-1")
        assert row is not None
        return str(row["name"])

    await postgres_store.write(lambda tx: tx.run("orgs.insert", **ORG))
    assert [await store.write(name) for store in (postgres_store, other)] == ["first", "first"]
    with postgres.connect(postgres_database) as connection:
        connection.execute("UPDATE orgs SET name = 'second'")
    assert [await store.write(name) for store in (postgres_store, other)] == ["second", "second"]
    await other.write(
        lambda tx: tx.run("orgs.set_memory_max", org_id="org-1", max_requested_memory_mb=1)
    )
    row = await postgres_store.write(lambda tx: tx.one("orgs.by_id", org_id="org-1"))
    assert row is not None
    assert row["max_requested_memory_mb"] == 1
    again = await postgres_store.write(lambda tx: tx.one("orgs.by_id", org_id="org-1"))
    assert again is row, "it is kept"
    await other.close()


async def test_a_row_that_was_undone_is_not_kept(postgres_store: PostgresStore) -> None:
    def fail(tx: Tx) -> None:
        tx.run("orgs.insert", **ORG)
        assert tx.one("orgs.by_id", org_id="org-1") is not None
        raise LookupError

    for _ in range(2):  # the second time the batch is begun with care
        with pytest.raises(LookupError):
            await postgres_store.write(fail)
        assert await postgres_store.write(lambda tx: tx.one("orgs.by_id", org_id="org-1")) is None


# ---------------------------------------------------------------- statements and values


@pytest.mark.parametrize("name", POSTGRES_QUERIES)
def test_every_query_fits_the_schema(schema_link: Link, name: str) -> None:
    statement = STATEMENTS[name]
    schema_link.command(b"BEGIN READ ONLY")
    schema_link.command(b"PREPARE x AS " + statement.text)
    schema_link.command(b"DEALLOCATE x")
    schema_link.command(b"COMMIT")
    schema_link.sync()


def test_answers_come_once_and_in_order_while_statements_are_prepared(
    postgres: PostgresServer, postgres_database: str
) -> None:
    link = Link(postgres.url(postgres_database))
    for number in range(4):
        statement = Statement(b"s%d" % number, b"SELECT CAST($1 AS BIGINT) AS n", ("n",))
        link.queue(statement, (number,), wanted=True)
    assert [answer.rows() for answer in link.sync()] == [[{"n": number}] for number in range(4)]
    link.close()


async def test_values_are_what_sqlite_gives(
    postgres: PostgresServer, postgres_database: str
) -> None:
    link = Link(postgres.url(postgres_database))
    text = (
        b"SELECT SUM(x) AS sum, 7 / 2 AS half, 1 = 1 AS truth, NULL AS nothing,"
        b" CAST($1 AS DOUBLE PRECISION) AS real, CAST($2 AS BIGINT) AS yes, CAST($3 AS TEXT) AS text"
        b" FROM (VALUES (CAST(1 AS BIGINT)), (CAST(9007199254740993 AS BIGINT))) AS v (x)"
    )
    link.queue(Statement(b"values", text, ("a", "b", "c")), (0.1, True, "é\n'\\"), wanted=True)
    assert link.sync()[0].rows() == [
        {
            "sum": 9007199254740994,
            "half": 3,
            "truth": 1,
            "nothing": None,
            "real": 0.1,
            "yes": 1,
            "text": "é\n'\\",
        }
    ]
    link.close()


async def test_texts_are_sorted_bytewise_whatever_the_locale(
    postgres: PostgresServer, postgres_database: str
) -> None:
    with postgres.connect(postgres_database) as connection:
        found = connection.execute(
            "SELECT DISTINCT collation_name FROM information_schema.columns"
            " WHERE table_schema = 'public' AND data_type = 'text'"
        ).fetchall()
    assert found == [("C",)]


async def test_a_text_with_a_nul_is_the_callers_mistake(postgres_store: PostgresStore) -> None:
    with pytest.raises(Invalid, match=r"U\+0000"):
        await postgres_store.write(lambda tx: tx.run("orgs.insert", **(ORG | {"name": "a\0b"})))
    with pytest.raises(Invalid, match=r"U\+0000"):
        await postgres_store.read(lambda tx: tx.one("orgs.by_id", org_id="\0"))
    assert await postgres_store.read(lambda tx: tx.one("orgs.by_id", org_id="org-1")) is None


async def test_a_read_looks_at_one_snapshot(
    postgres: PostgresServer, postgres_database: str, postgres_store: PostgresStore
) -> None:
    def read(tx: Tx) -> tuple[list[int], list[int]]:
        before = ports(tx)
        with postgres.connect(postgres_database) as other:
            other.execute("INSERT INTO host_ports (port) VALUES (7)")
        return before, ports(tx)

    assert await postgres_store.read(read) == ([], [])
    assert await postgres_store.read(ports) == [7]


async def test_reads_do_not_hold_up_the_event_loop_or_each_other(
    postgres_store: PostgresStore,
) -> None:
    loop = asyncio.get_running_loop()
    entered, leave = asyncio.Event(), asyncio.Event()

    def slow(tx: Tx) -> list[int]:
        loop.call_soon_threadsafe(entered.set)
        asyncio.run_coroutine_threadsafe(leave.wait(), loop).result(10)
        return ports(tx)

    reading = asyncio.ensure_future(postgres_store.read(slow))
    await entered.wait()
    assert await postgres_store.read(ports) == []
    leave.set()
    assert await reading == []
