"""The scaled-out store: PostgreSQL, for any number of servers; one writer each, reads beside it.

Must not know what is stored: statements come by name from ``store/sql``, the schema from the
migrations.
"""

import asyncio
from collections.abc import Callable, Collection
from typing import TypeVar

from innkeeper.interfaces import LockKey, Tx
from innkeeper.store.postgres_reads import PostgresReads
from innkeeper.store.postgres_writes import PostgresWriteConnection
from innkeeper.store.writer import BATCH_MAX, QUEUE_MAX, Writer

T = TypeVar("T")
WriteConnections = Callable[[str, bool], PostgresWriteConnection]


class PostgresStore:
    """See :class:`~innkeeper.interfaces.Store`. Belongs to the event loop it was opened in.

    A batch takes only locks that nobody else holds. Those that must wait for theirs go to a second writer,
    which waits: so no app waits for another one.
    """

    def __init__(
        self,
        conninfo: str,
        write_connection: WriteConnections = PostgresWriteConnection,
        batch_max: int = BATCH_MAX,
        queue_max: int = QUEUE_MAX,
    ) -> None:
        """A database that is already migrated, by its URL; ``open`` before use."""
        self._reads = PostgresReads(conninfo)
        self._waiting = Writer(lambda: write_connection(conninfo, True), batch_max, queue_max)
        self._writer = Writer(
            lambda: write_connection(conninfo, False), batch_max, queue_max, self._waiting.accept
        )

    @property
    def commits(self) -> int:
        """How many transactions the writers have ended; many writes share one."""
        return self._writer.commits + self._waiting.commits

    async def open(self) -> None:
        """Open the writers' connections. Raises ``Unavailable`` where PostgreSQL is away."""
        await self._writer.open()
        try:
            await self._waiting.open()
        except BaseException:
            await self._writer.close()
            raise

    def write(self, fn: Callable[[Tx], T], locks: Collection[LockKey] = ()) -> asyncio.Future[T]:
        """Run ``fn`` in the writer thread; done after the commit that holds it, which many share.

        Raises what ``fn`` raised; ``ConstraintBroken``; ``Unavailable`` when PostgreSQL is away or its
        disk full, when too much waits, and after ``close``.
        """
        return self._writer.submit(fn, locks)

    def after_commits(self, call: Callable[[], None]) -> None:
        """See :class:`~innkeeper.interfaces.Store`."""
        self._writer.after_commits = self._waiting.after_commits = call

    async def read(self, fn: Callable[[Tx], T]) -> T:
        """Run ``fn`` on one snapshot of what is committed, in a thread.

        Raises what ``fn`` raised, and ``Unavailable`` where PostgreSQL is away or too much waits.
        """
        return await self._reads.read(fn)

    async def close(self) -> None:
        """Finish the writes under way and close; safe to repeat."""
        await self._writer.close()
        await self._waiting.close()
        await self._reads.close()
