"""Reads beside the writer: a few threads with a connection each, one snapshot a read.

A read costs a round trip, which must not hold up the event loop.
"""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from innkeeper.core.errors import Unavailable
from innkeeper.interfaces import Tx
from innkeeper.store.postgres_errors import Refused
from innkeeper.store.postgres_link import Link
from innkeeper.store.postgres_tx import PostgresReadTx
from innkeeper.store.postgres_writes import Connecting

T = TypeVar("T")

READERS_MAX = 4
WAITING_MAX = 4096


class PostgresReads:
    """Belongs to the event loop it was made in."""

    def __init__(self, conninfo: str, readers_max: int = READERS_MAX) -> None:
        self._connecting = Connecting(conninfo)
        self._connecting_lock = threading.Lock()
        self._threads = ThreadPoolExecutor(readers_max, "store-reader")
        self._free: list[Link] = []  # the one that was used last is used first
        self._waiting = 0
        self._closed = False

    async def read(self, fn: Callable[[Tx], T]) -> T:
        """Run ``fn`` on one snapshot of what is committed, in a thread.

        Raises what ``fn`` raised, and ``Unavailable`` where PostgreSQL is away or too much waits.
        """
        if self._closed:
            raise Unavailable("shutting down: the store is closed")
        if self._waiting >= WAITING_MAX:
            raise Unavailable(f"overloaded: {self._waiting} reads wait for PostgreSQL; try again")
        self._waiting += 1
        done = asyncio.get_running_loop().run_in_executor(self._threads, self._run, fn)
        done.add_done_callback(self._answered)
        return await done

    async def close(self) -> None:
        """Finish the reads under way; safe to repeat."""
        self._closed = True
        await asyncio.to_thread(self._threads.shutdown)
        while self._free:
            self._free.pop().close()

    def _answered(self, _: object) -> None:
        self._waiting -= 1

    # ------------------------------------------------------------ in the threads

    def _run(self, fn: Callable[[Tx], T]) -> T:
        link = self._link()
        try:
            return self._snapshot(link, fn)
        except Unavailable:
            if link.timed_out or not link.broken:
                raise
        while self._free:  # what ended one has mostly ended all
            self._free.pop().close()
        return self._snapshot(self._link(), fn)  # the first was lost: a read may be repeated

    def _snapshot(self, link: Link, fn: Callable[[Tx], T]) -> T:
        tx = PostgresReadTx(link)
        try:
            link.command(b"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            value = fn(tx)
            link.command(b"COMMIT")
            link.send()  # nothing hangs on its answer; the next read waits for it
            return value
        except BaseException:
            if not link.broken:
                try:
                    link.end_transaction()
                except (Refused, Unavailable):
                    link.close()
            raise
        finally:
            tx.link = None
            if not link.broken:
                self._free.append(link)

    def _link(self) -> Link:
        try:
            return self._free.pop()
        except IndexError:
            with self._connecting_lock:
                return self._connecting.link()
