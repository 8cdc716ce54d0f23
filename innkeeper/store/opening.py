"""Opens the store that a database URL names, migrated and ready."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, overload
from urllib.parse import unquote, urlsplit

from innkeeper.core.errors import Invalid
from innkeeper.store.migrate import migrate
from innkeeper.store.sqlite import SqliteStore

if TYPE_CHECKING:
    from innkeeper.store.postgres import PostgresStore

_POSTGRES = ("postgresql", "postgres")


def is_postgres(database_url: str) -> bool:
    """Whether the URL names a PostgreSQL database, and not a file."""
    return urlsplit(database_url).scheme in _POSTGRES


def database_path(database_url: str) -> Path:
    """The file that ``sqlite:///relative/path`` or ``sqlite:////absolute/path`` names.

    Raises ``Invalid`` for everything else.
    """
    parts = urlsplit(database_url)
    if parts.scheme != "sqlite":
        kind = parts.scheme or "a path"
        raise Invalid(
            "database",
            f"must be sqlite:///PATH or postgresql://USER:PASSWORD@HOST:PORT/DATABASE, not {kind}",
        )
    if parts.netloc or parts.query or parts.fragment or len(parts.path) < 2:
        raise Invalid("database", "must be sqlite:///PATH, or sqlite:////PATH for an absolute path")
    return Path(unquote(parts.path[1:]))


@overload
async def open_store(database: Path, backups: Path | None = None) -> SqliteStore: ...
@overload
async def open_store(
    database: str, backups: Path | None = None
) -> "SqliteStore | PostgresStore": ...
async def open_store(
    database: str | Path, backups: Path | None = None
) -> "SqliteStore | PostgresStore":
    """The store at a path, or at a ``sqlite:///`` or ``postgresql://`` URL: made, or migrated, then opened.

    A backup is kept before a schema is moved on: of a file beside it, of PostgreSQL in the directory
    ``backups``. Raises ``Invalid`` for another URL, ``StateConflict`` for a database of a later
    version (left untouched), ``Unavailable`` where the disk is full or the database cannot be used.
    """
    if isinstance(database, str) and is_postgres(database):
        return await _open_postgres(database, backups)
    path = database if isinstance(database, Path) else database_path(database)
    path.parent.mkdir(parents=True, exist_ok=True)
    migrate(path)
    store = SqliteStore(path)
    await store.open()
    return store


async def _open_postgres(database_url: str, backups: Path | None) -> "PostgresStore":
    # Not needed where a file is served from, and not quick to import.
    from innkeeper.store.postgres import PostgresStore
    from innkeeper.store.postgres_migrate import check_url, migrate_postgres

    check_url(database_url)
    await asyncio.to_thread(migrate_postgres, database_url, backups)
    store = PostgresStore(database_url)
    await store.open()
    return store
