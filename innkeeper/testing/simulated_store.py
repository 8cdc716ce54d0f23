"""The real embedded store in simulated time: its writer takes turns of the loop in place of a thread.

Statements, batches, undoing and running again are the store's own. What may go wrong is drawn from the
weather: slow commits, a full disk, a commit whose answer is lost, a crash before or after each.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Collection
from pathlib import Path
from typing import Protocol, TypeVar

from innkeeper.core.errors import Unavailable
from innkeeper.interfaces import LockKey, Tx
from innkeeper.store.sqlite import SqliteStore, SqliteWriteConnection
from innkeeper.store.writer import BATCH_MAX, QUEUE_MAX, Job, RunAgain, Writer
from innkeeper.testing.weather import Weather

T = TypeVar("T")


class Host(Protocol):
    """Where a store's program runs: it may be killed, or stand still."""

    weather: Weather

    def strike(self, place: str) -> None:
        """Raises :class:`~innkeeper.testing.weather.Crashed` where the program is killed, or was."""
        ...

    async def gate(self, seconds: float) -> None:
        """Time passes in the program; longer where it stands still. Raises as :meth:`strike`."""
        ...


class FaultyConnection(SqliteWriteConnection):
    """Fails as disks do, and asks for a batch to be run again as other servers make it."""

    def __init__(self, path: Path, host: Host) -> None:
        super().__init__(path)
        # The simulated machine does not lose power.
        self._connection.execute("PRAGMA synchronous = OFF")
        self._host = host

    def commit(self) -> None:
        """See :class:`~innkeeper.store.writer.WriteConnection`."""
        host, weather, faults = self._host, self._host.weather, self._host.weather.faults
        host.strike("before a commit")
        if weather.draw(faults.run_again):
            weather.story.tell("a batch runs again")
            raise RunAgain(careful=False)
        if weather.draw(faults.disk_full):
            weather.story.tell("the disk is full")
            weather.trouble()
            raise Unavailable("disk full: free some space")
        super().commit()
        host.strike("after a commit")
        if weather.draw(faults.commit_in_doubt):
            weather.story.tell("the answer to a commit is lost")
            weather.trouble()
            raise Unavailable("the database went away")


class TurnWriter(Writer):
    """The writer without its thread: a task takes what waits, lets a commit's time pass, and runs it.

    A batch depends on nothing but the store, which nobody else changes meanwhile: that it runs at the end of
    its time and not at the beginning makes no difference to anybody.
    """

    def __init__(self, connect: Callable[[], FaultyConnection], host: Host, batch_max: int) -> None:
        super().__init__(connect, batch_max, QUEUE_MAX)
        self._make = connect
        self._host = host
        self._backlog: deque[Job] = deque()
        self._serving: asyncio.Task[None] | None = None
        self._link: FaultyConnection | None = None

    async def open(self) -> None:
        """Connect."""
        self._link = self._make()

    def _hand_over(self) -> None:
        self._backlog.extend(self._waiting)
        self._waiting = []
        if self._backlog and self._serving is None:
            self._serving = self._loop.create_task(self._take_turns(), name="store-writer")

    async def _take_turns(self) -> None:
        host, weather = self._host, self._host.weather
        try:
            while self._backlog and self._link is not None:
                size = min(len(self._backlog), self._batch_max)
                jobs = [self._backlog.popleft() for _ in range(size)]
                await host.gate(weather.commit_s())
                outcomes, refused = self._run_batch(self._link, jobs)
                self.commits += 1
                if len(jobs) > 1:
                    weather.story.tell(f"{len(jobs)} jobs shared a commit")
                outcomes += self._again(self._backlog, refused)
                await host.gate(weather.short_s())
                self._complete(outcomes, [])
        finally:
            self._serving = None

    async def close(self) -> None:
        """Finish what was accepted."""
        self._hand_over()
        while self._serving is not None and not self._serving.done():
            await asyncio.wait([self._serving])
        self.cut()

    def cut(self) -> None:
        """Let go of the file, as the end of a program does: what was not committed is undone."""
        if self._serving is not None:
            self._serving.cancel()
        if self._link is not None:
            self._link.close()
            self._link = None


class SimulatedStore(SqliteStore):
    """:class:`~innkeeper.interfaces.Store` of one simulated program."""

    def __init__(self, path: Path, host: Host, batch_max: int = BATCH_MAX) -> None:
        super().__init__(path)
        self._host = host
        self._turns = TurnWriter(lambda: FaultyConnection(path, host), host, batch_max)
        self._writer = self._turns

    def write(self, fn: Callable[[Tx], T], locks: Collection[LockKey] = ()) -> "asyncio.Future[T]":
        """See :class:`~innkeeper.interfaces.Store`."""
        self._host.strike("before a write is accepted")
        return super().write(fn, locks)

    async def read(self, fn: Callable[[Tx], T]) -> T:
        """See :class:`~innkeeper.interfaces.Store`; what was read may be old when the answer comes."""
        host = self._host
        host.strike("before a read")
        found = await super().read(fn)
        await host.gate(host.weather.short_s())
        return found

    def look(self, fn: Callable[[Tx], T]) -> Awaitable[T]:
        """Read at once and without faults: for the checks."""
        return super().read(fn)

    def cut(self) -> None:
        """The program was killed."""
        self._turns.cut()
        if self._reader is not None:
            self._reader.close()
            self._reader = None
