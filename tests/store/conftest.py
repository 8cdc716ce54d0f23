"""A store for each test, and the stores' rigs for the shipped suite."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest

from innkeeper.core.errors import Unavailable
from innkeeper.store.migrate import migrate
from innkeeper.store.opening import open_store
from innkeeper.store.postgres import PostgresStore
from innkeeper.store.postgres_link import Link
from innkeeper.store.postgres_writes import PostgresWriteConnection
from innkeeper.store.sqlite import SqliteStore, SqliteWriteConnection
from innkeeper.testing.postgres_server import PostgresServer
from innkeeper.testing.store_suite import BATCH_MAX, QUEUE_MAX, StoreRig, add

WAIT_S = 10


class _Gated:
    """A writer's connection whose commits can be held back, and made to fail."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.gate = threading.Event()
        self.gate.set()
        self.at_gate = threading.Event()
        self.fail_next = False

    def commit(self) -> None:
        """Fail, or wait for the gate; then commit."""
        if self.fail_next:
            self.fail_next = False
            raise Unavailable("disk full: as the test asked")
        self.at_gate.set()
        assert self.gate.wait(WAIT_S), "the test never opened the gate"
        super().commit()  # type: ignore[misc]


class HeldConnection(_Gated, SqliteWriteConnection):
    """SQLite's."""


class HeldPostgres(_Gated, PostgresWriteConnection):
    """PostgreSQL's."""


@pytest.fixture
def ports_of() -> Callable[[Path], list[int]]:
    """What a connection of its own sees of ``host_ports``."""

    def look(path: Path) -> list[int]:
        with closing(sqlite3.connect(path)) as connection:
            rows = connection.execute("SELECT port FROM host_ports ORDER BY port").fetchall()
        return [port for (port,) in rows]

    return look


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    """A store on a new database."""
    store = await open_store(tmp_path / "innkeeper.db")
    yield store
    await store.close()


def _rig(
    store: SqliteStore | PostgresStore,
    connection: _Gated,
    ports: Callable[[], list[int]],
) -> StoreRig:
    """What the suite asks of a store whose writer has ``connection``."""

    @asynccontextmanager
    async def held() -> AsyncIterator[asyncio.Future[int]]:
        connection.at_gate.clear()
        connection.gate.clear()
        own = store.write(add(65535))
        assert await asyncio.to_thread(connection.at_gate.wait, WAIT_S)
        try:
            yield own
        finally:
            connection.gate.set()
        await own

    def fail_next_commit() -> None:
        connection.fail_next = True

    return StoreRig(store, ports, lambda: store.commits, held, fail_next_commit)


@pytest.fixture
async def sqlite_rig(
    tmp_path: Path, ports_of: Callable[[Path], list[int]]
) -> AsyncIterator[StoreRig]:
    """A rig on a new database."""
    path = tmp_path / "innkeeper.db"
    migrate(path)
    made: list[HeldConnection] = []

    def connect(path: Path) -> HeldConnection:
        made.append(HeldConnection(path))
        return made[0]

    store = SqliteStore(path, connect, BATCH_MAX, QUEUE_MAX)
    await store.open()
    connection = made[0]

    yield _rig(store, connection, lambda: ports_of(path))
    connection.gate.set()
    await store.close()


@pytest.fixture
async def postgres_store(
    postgres: PostgresServer, postgres_database: str
) -> AsyncIterator[PostgresStore]:
    """A store on a new database."""
    store = PostgresStore(postgres.url(postgres_database))
    await store.open()
    yield store
    await store.close()


def ports_in(server: PostgresServer, database: str) -> list[int]:
    """What a connection of its own sees of ``host_ports``."""
    with server.connect(database) as connection:
        rows = connection.execute("SELECT port FROM host_ports ORDER BY port").fetchall()
    return [int(str(row[0])) for row in rows]


@pytest.fixture
async def postgres_rig(postgres: PostgresServer, postgres_database: str) -> AsyncIterator[StoreRig]:
    """A rig on a new database."""
    made: list[HeldPostgres] = []

    def connect(conninfo: str, patient: bool) -> HeldPostgres:
        made.append(HeldPostgres(conninfo, patient))
        return made[-1]

    store = PostgresStore(postgres.url(postgres_database), connect, BATCH_MAX, QUEUE_MAX)
    await store.open()
    connection = made[0]

    yield _rig(store, connection, lambda: ports_in(postgres, postgres_database))
    connection.gate.set()
    await store.close()


@pytest.fixture(scope="session")
def schema_link(postgres: PostgresServer, postgres_template: str) -> Iterator[Link]:
    """A link to a migrated database, for looking only."""
    name = postgres.new_database(postgres_template)
    link = Link(postgres.url(name))
    yield link
    link.close()
