"""The database of a live server, from outside: what tests look at and change behind its back."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Protocol

import psycopg


class Statements(Protocol):
    """Runs statements on one connection; ``?`` stands for a value."""

    def __call__(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """The rows, where there are any."""
        ...


@contextmanager
def opened(data_dir: Path, database_url: str | None = None) -> Iterator[Statements]:
    """One transaction in the database at ``database_url``, or in the embedded one of a data directory."""
    if database_url is not None and not database_url.startswith("sqlite:"):
        with psycopg.connect(database_url) as connection:

            def ask(statement: str, *values: Any) -> list[tuple[Any, ...]]:
                cursor = connection.execute(statement.replace("?", "%s").encode(), values)
                return cursor.fetchall() if cursor.description else []

            yield ask
        return
    with closing(sqlite3.connect(data_dir / "innkeeper.db", timeout=30)) as embedded, embedded:
        yield lambda statement, *values: embedded.execute(statement, values).fetchall()
