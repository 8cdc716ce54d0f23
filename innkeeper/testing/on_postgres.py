"""A pytest plugin that runs tests on PostgreSQL which know no store: ``-p innkeeper.testing.on_postgres``.

Whatever opens a store at a path gets one on a new database of a server of its own; the same path is
the same database. Tests marked ``sqlite`` look into the file, and are left out.
"""

from pathlib import Path
from typing import Any

import pytest

from innkeeper.store import opening
from innkeeper.store.postgres import PostgresStore
from innkeeper.store.postgres_migrate import migrate_postgres
from innkeeper.testing.postgres_server import PostgresServer


class _Databases:
    def __init__(self) -> None:
        self._server: PostgresServer | None = None
        self._template = ""
        self._names: dict[str, str] = {}

    async def open_store(self, database: str | Path, backups: Path | None = None) -> PostgresStore:
        """In place of ``opening.open_store``."""
        server = self._started()
        name = self._names.get(str(database))
        if name is None:
            name = self._names[str(database)] = server.new_database(self._template)
        store = PostgresStore(server.url(name))
        await store.open()
        return store

    def _started(self) -> PostgresServer:
        """The server, from the first test on that needs it."""
        if self._server is None:
            # Nothing here survives the tests: what is durable is seen elsewhere.
            self._server = PostgresServer({"fsync": "off", "max_connections": "200"})
            self._server.start()
            self._template = self._server.new_database()
            migrate_postgres(self._server.url(self._template))
        return self._server

    def remove(self) -> None:
        """End the server."""
        if self._server is not None:
            self._server.remove()


_databases = _Databases()


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests() -> None:
    """Before any module of the tests imports it by name."""
    replaced: Any = _databases.open_store
    opening.open_store = replaced


def pytest_unconfigure() -> None:
    """After the last test."""
    _databases.remove()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out what looks into the file of an embedded store."""
    for item in items:
        if item.get_closest_marker("sqlite"):
            item.add_marker(pytest.mark.skip(reason="of the embedded store only"))
