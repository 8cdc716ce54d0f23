"""Rows of tables that seldom change, kept by the writer between batches.

Every room asks for rows of these, and they change only when a person acts. A row that was read stays
true until this writer writes to its tables, or the database says that somebody has.
"""

from collections.abc import Callable
from typing import Any

from innkeeper.interfaces import Row
from innkeeper.store.queries import QUERIES, Query

SETTLED_TABLES = frozenset(("org_tokens", "orgs", "apps", "builds", "deployments"))
_KEPT_QUERIES = frozenset(
    query.name
    for query in QUERIES.values()
    if query.tables and query.tables <= SETTLED_TABLES and not query.writes
)
_KEPT_ROWS_MAX = 1024


class KeptRows:
    """For one connection. ``version`` is what the database says when the tables have changed."""

    __slots__ = ("_rows", "_version")

    def __init__(self) -> None:
        self._rows: dict[tuple[Any, ...], Row | None] = {}
        self._version: object = None

    def seen(self, version: object) -> None:
        """The version at the beginning of a batch: another one than before, and nothing is kept."""
        if version != self._version:
            self._version = version
            self._rows.clear()

    def written(self, query: Query) -> None:
        """This query is about to run, and it writes."""
        if not query.tables.isdisjoint(SETTLED_TABLES):
            self._rows.clear()

    def forget(self) -> None:
        """Something that was read is undone."""
        self._rows.clear()

    def one(
        self, query: str, params: dict[str, Any], read: Callable[..., Row | None]
    ) -> Row | None:
        """The row, from here where it is known; it may be shared, and is not changed."""
        if query not in _KEPT_QUERIES:
            return read(query, **params)
        key = (query, *params.items())
        if key in self._rows:
            return self._rows[key]
        row = read(query, **params)
        if len(self._rows) >= _KEPT_ROWS_MAX:
            self._rows.clear()
        self._rows[key] = row
        return row
