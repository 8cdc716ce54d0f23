"""The real store's statements, run where they are asked for: no thread, so that a history replays exactly."""

from collections.abc import Callable, Collection
from pathlib import Path
from typing import TypeVar

from innkeeper.interfaces import LockKey, Tx
from innkeeper.store.migrate import migrate
from innkeeper.store.queries import Query
from innkeeper.store.sqlite import SqliteTx, connect

T = TypeVar("T")


class _AnyTx(SqliteTx):
    __slots__ = ()

    def _before(self, query: Query) -> None:
        return


class InlineStore:
    """:class:`~innkeeper.interfaces.Store` on one connection. ``strike(place)`` may raise before or
    after a commit, as a crash would come.
    """

    def __init__(self, path: Path, strike: Callable[[str], None]) -> None:
        migrate(path)
        self._connection = connect(path)
        # The simulated machine does not lose power; its disk's patience is tested elsewhere.
        self._connection.execute("PRAGMA synchronous = OFF")
        self._tx = _AnyTx(self._connection, path)
        self._strike = strike
        self._after_commit: Callable[[], None] = lambda: None

    def after_commits(self, call: Callable[[], None]) -> None:
        """See :class:`~innkeeper.interfaces.Store`."""
        self._after_commit = call

    async def write(self, fn: Callable[[Tx], T], locks: Collection[LockKey] = ()) -> T:
        """One transaction, one commit."""
        self._strike("before a commit")
        self._tx.control("BEGIN IMMEDIATE")
        try:
            result = fn(self._tx)
        except BaseException:
            self._tx.control("ROLLBACK")
            raise
        self._tx.control("COMMIT")
        self._after_commit()
        self._strike("after a commit")
        return result

    async def read(self, fn: Callable[[Tx], T]) -> T:
        """What is committed."""
        return fn(self._tx)

    async def close(self) -> None:
        """Let go of the file."""
        self._connection.close()
