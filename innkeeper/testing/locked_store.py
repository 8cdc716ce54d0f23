"""A store that fails a write which changes a room or process without holding the lock of its app and region.

With one server nothing would go wrong; with several, a slot would be given twice. So all tests look for it.
"""

from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any, TypeVar

from innkeeper.interfaces import LockKey, Row, Store, Tx
from innkeeper.store.queries import QUERIES

T = TypeVar("T")
# They change one row in one statement, whatever else happens to it meanwhile.
_ALONE = frozenset(("rooms.set_config",))


class LockedStore:
    """See :class:`~innkeeper.interfaces.Store`."""

    def __init__(self, inner: Store) -> None:
        self._inner = inner

    def write(self, fn: Callable[[Tx], T], locks: Collection[LockKey] = ()) -> Awaitable[T]:
        """Raises ``AssertionError`` where a lock is missing."""
        return self._inner.write(lambda tx: fn(_LockedTx(tx, locks)), locks)

    def after_commits(self, call: Callable[[], None]) -> None:
        """The inner one's."""
        self._inner.after_commits(call)

    def read(self, fn: Callable[[Tx], T]) -> Awaitable[T]:
        """Reads need no locks."""
        return self._inner.read(fn)

    async def close(self) -> None:
        """Close the inner one."""
        await self._inner.close()


class _LockedTx:
    def __init__(self, inner: Tx, locks: Collection[LockKey]) -> None:
        self._inner = inner
        self._locks = locks

    def one(self, query: str, **params: Any) -> Row | None:
        self._check(query, params)
        return self._inner.one(query, **params)

    def all(self, query: str, **params: Any) -> Sequence[Row]:
        self._check(query, params)
        return self._inner.all(query, **params)

    def run(self, query: str, **params: Any) -> int:
        self._check(query, params)
        return self._inner.run(query, **params)

    def put(self, query: str, **params: Any) -> None:
        self._check(query, params)
        self._inner.put(query, **params)

    def _check(self, name: str, params: dict[str, Any]) -> None:
        query = QUERIES[name]
        if not query.writes or name in _ALONE or query.tables.isdisjoint(("rooms", "processes")):
            return
        if name.split(".")[0] not in ("rooms", "processes"):
            return  # It only looks at them.
        held = ", ".join(f"{app_id} in {region}" for app_id, region in self._locks) or "none"
        assert self._locks, f"{name} without a lock"
        key = self._key(params)
        assert key is None or key in self._locks, f"{name} in {key}, with locks: {held}"

    def _key(self, params: dict[str, Any]) -> LockKey | None:
        """Which lock it needs; ``None`` where its parameters do not say."""
        if "app_id" in params and "region" in params:
            return params["app_id"], params["region"]
        row = None
        if params.get("process_id") is not None:
            row = self._inner.one("locks.of_process", process_id=params["process_id"])
        elif "room_id" in params:
            row = self._inner.one("locks.of_room", room_id=params["room_id"])
        return None if row is None else (row["app_id"], row["region"])
