"""The truth: transactions, and what may be asked of whoever keeps it."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, Protocol, TypeVar

T = TypeVar("T")
Row = Mapping[str, Any]
LockKey = tuple[str, str]  # app id, region


class Tx(Protocol):
    """One transaction. Queries are named: ``"rooms.by_id"`` is the query ``by_id`` of
    ``store/sql/rooms.sql``.
    """

    def one(self, query: str, **params: Any) -> Row | None:
        """The first row, or ``None``."""
        ...

    def all(self, query: str, **params: Any) -> Sequence[Row]:
        """Every row; the query itself carries a LIMIT where it could grow."""
        ...

    def run(self, query: str, **params: Any) -> int:
        """How many rows the statement changed."""
        ...

    def put(self, query: str, **params: Any) -> None:
        """A write whose count nobody asks for: it may travel together with what follows it, and what
        is wrong with it may be told as late as the end of the batch.
        """
        ...


class Store(Protocol):
    """The truth. A write is durable when its awaitable is done; many callers share one commit."""

    def write(self, fn: Callable[[Tx], T], locks: Collection[LockKey] = ()) -> Awaitable[T]:
        """Run ``fn`` in the writer; done after the commit. An exception undoes what ``fn`` wrote,
        and is raised. ``fn`` may be run again from its beginning, so that it must change nothing but
        what it makes itself and what it reaches through its ``Tx``; wake-ups may repeat.

        ``locks`` are the apps and regions whose allocations nobody else may change meanwhile: held
        from before ``fn`` until its commit. A store with one writer has them always.
        """
        ...

    def after_commits(self, call: Callable[[], None]) -> None:
        """From now on, ``call()`` in the event loop after each commit of this server: a hint to look again.

        Quick, and never failing; one for a store.
        """
        ...

    def read(self, fn: Callable[[Tx], T]) -> Awaitable[T]:
        """Run ``fn`` on what is committed; it cannot write."""
        ...

    async def close(self) -> None:
        """Finish the writes under way and close."""
        ...
