"""Opens the store that a database URL names, migrated and ready."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from innkeeper.core.errors import Invalid
from innkeeper.store.migrate import migrate
from innkeeper.store.sqlite import SqliteStore


def database_path(database_url: str) -> Path:
    """The file that ``sqlite:///relative/path`` or ``sqlite:////absolute/path`` names.

    Raises ``Invalid`` for everything else.
    """
    parts = urlsplit(database_url)
    if parts.scheme != "sqlite":
        kind = parts.scheme or database_url
        raise Invalid("database", f'must be sqlite:///PATH; "{kind}" is not supported (yet)')
    if parts.netloc or parts.query or parts.fragment or len(parts.path) < 2:
        raise Invalid("database", "must be sqlite:///PATH, or sqlite:////PATH for an absolute path")
    return Path(unquote(parts.path[1:]))


async def open_store(database: str | Path) -> SqliteStore:
    """The store at a path, or at a ``sqlite:///`` URL: made, or migrated, then opened.

    Raises ``Invalid`` for another URL, ``StateConflict`` for a database of a later version (left
    untouched), ``Unavailable`` where the disk is full or the file cannot be used.
    """
    path = database if isinstance(database, Path) else database_path(database)
    path.parent.mkdir(parents=True, exist_ok=True)
    migrate(path)
    store = SqliteStore(path)
    await store.open()
    return store
