"""One writer thread with group commit: all that wait share one transaction and its fsync.

Knows no SQL and no database: a :class:`WriteConnection` does. An awaitable is done only after the
commit that holds its work has returned.
"""

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable, Collection, Sequence, Set
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, Protocol, TypeVar

from innkeeper.core.errors import Unavailable
from innkeeper.interfaces import LockKey, Tx

T = TypeVar("T")
Outcome = tuple["asyncio.Future[Any]", BaseException | None, Any]

log = logging.getLogger(__name__)

BATCH_MAX = 512
QUEUE_MAX = 8192
CAREFUL_BATCHES = 64
RUNS_MAX = 6  # of one batch: once, then with care, then where other servers were in the way
REFUSALS_MAX = 8  # of one job's locks


@dataclass(slots=True)
class Job:
    """A write that was asked for, and where its outcome goes; ``refusals`` counts the batches that could
    not have its locks.
    """

    fn: Callable[[Tx], Any]
    future: "asyncio.Future[Any]"
    locks: Collection[LockKey]
    refusals: int = 0


class RunAgain(BaseException):
    """A batch must be undone and run again; ``careful``: so that each job can be undone alone.

    No ``Exception``: a job that catches those must not swallow it.
    """

    def __init__(self, careful: bool) -> None:
        super().__init__()
        self.careful = careful


class Later(BaseException):
    """A job needs a lock that somebody else holds, and has written nothing: it must wait its turn, and
    nobody with it. No ``Exception``, for the same reason.
    """


class WriteConnection(Protocol):
    """One connection that only the writer thread uses, from its making to its closing.

    ``careful``: from the next ``begin`` on, keep what it takes to undo one job and not its batch.
    ``begin``, ``start_job``, ``undo_job`` and ``commit`` raise ``Unavailable`` where the database is
    away, with words that say what to do; the whole batch is then rolled back. They and the queries
    of its ``tx`` may raise :class:`RunAgain` until the commit is under way; the queries :class:`Later`.
    """

    careful: bool

    @property
    def tx(self) -> Tx:
        """What jobs write through."""
        ...

    def begin(self, locks: Sequence[LockKey]) -> Set[LockKey]:
        """Open the transaction of a batch, with these locks (in order) until its end.

        Returns those that somebody else holds: no job that needs them may run in this batch.
        """
        ...

    def start_job(self) -> None:
        """From here on, the changes are another job's."""
        ...

    def undo_job(self) -> bool:
        """Undo what was written since ``start_job``, and nothing else. False: it cannot be; always
        true where the batch was begun carefully, or nothing was written.
        """
        ...

    def commit(self) -> None:
        """Make the batch durable: returns after the fsync."""
        ...

    def rollback(self) -> None:
        """Undo the whole batch; makes the connection good for the next one, and never raises."""
        ...

    def close(self) -> None:
        """Let go of the database."""
        ...


class Writer:
    """Hands jobs from one event loop to one thread, and their outcomes back."""

    def __init__(
        self,
        connect: Callable[[], WriteConnection],
        batch_max: int = BATCH_MAX,
        queue_max: int = QUEUE_MAX,
        pass_on: "Callable[[list[Job]], None] | None" = None,
    ) -> None:
        """Call inside the running event loop. ``connect`` is called in the writer thread.

        ``pass_on`` is given (in the event loop) the jobs whose locks somebody else holds; without it
        they are tried again, some times.
        """
        self.commits = 0
        self.after_commits: Callable[[], None] | None = None
        self._pass_on = pass_on
        self._loop = asyncio.get_running_loop()
        self._connect = connect
        self._batch_max = batch_max
        self._queue_max = queue_max
        self._pending = 0  # accepted and not answered; touched by the loop only
        self._waiting: list[Job] = []  # accepted in this turn of the loop
        self._inbox: SimpleQueue[list[Job] | None] = SimpleQueue()
        self._closed: asyncio.Future[None] | None = None
        self._opened: asyncio.Future[None] = self._loop.create_future()
        self._careful_batches = 0  # how many more to begin carefully; touched by the thread only
        self._failing = False  # whether the last batch failed; touched by the thread only
        self._thread = threading.Thread(target=self._main, name="store-writer", daemon=True)

    async def open(self) -> None:
        """Start the thread; raises what ``connect`` raised."""
        self._thread.start()
        await self._opened

    def submit(self, fn: Callable[[Tx], T], locks: Collection[LockKey] = ()) -> "asyncio.Future[T]":
        """Run ``fn`` in the next batch. A caller that stops waiting stops only what has not begun.

        The future raises ``Unavailable`` when too much waits, when closing, and when the commit
        failed.
        """
        future: asyncio.Future[T] = self._loop.create_future()
        if self._closed is not None:
            future.set_exception(Unavailable("shutting down: the store takes no more writes"))
        elif self._pending >= self._queue_max:
            future.set_exception(
                Unavailable(f"overloaded: {self._pending} writes wait for the disk; try again")
            )
        else:
            self.accept([Job(fn, future, locks)])
        return future

    def accept(self, jobs: list[Job]) -> None:
        """Run these in the next batch: jobs that another writer has passed on."""
        self._pending += len(jobs)
        if not self._waiting:
            # The thread is woken once for all that comes in this turn of the loop.
            self._loop.call_soon(self._hand_over)
        self._waiting += jobs

    async def close(self) -> None:
        """Finish what was accepted, then end the thread, if it was opened."""
        if self._closed is None and not self._thread.is_alive():
            self._set_closed()
        if self._closed is None:
            self._closed = self._loop.create_future()
            self._hand_over()
            self._inbox.put(None)
        await asyncio.shield(self._closed)

    def _hand_over(self) -> None:
        if self._waiting:
            jobs, self._waiting = self._waiting, []
            self._inbox.put(jobs)

    def _complete(self, outcomes: list[Outcome], refused: list[Job]) -> None:
        self._pending -= len(outcomes) + len(refused)
        if refused and self._pass_on is not None:
            self._pass_on(refused)
        for future, error, value in outcomes:
            if future.done():  # nobody waits for it any more
                continue
            if error is None:
                future.set_result(value)
            else:
                future.set_exception(error)
        if self.after_commits is not None:
            self.after_commits()

    # ------------------------------------------------------------ in the writer thread

    def _main(self) -> None:
        try:
            connection = self._connect()
        except BaseException as error:  # noqa: BLE001 (raised by open)
            self._tell(self._opened.set_exception, error)
            self._tell(self._set_closed)
            return
        self._tell(self._opened.set_result, None)
        try:
            self._serve(connection)
        finally:
            connection.close()
            self._tell(self._set_closed)

    def _serve(self, connection: WriteConnection) -> None:
        backlog: deque[Job] = deque()
        ending = False
        while backlog or not ending:
            if not backlog:
                ending = self._take(backlog, self._inbox.get())
            while not ending and len(backlog) < self._batch_max:
                try:
                    ending = self._take(backlog, self._inbox.get_nowait())
                except Empty:
                    break
            jobs = [backlog.popleft() for _ in range(min(len(backlog), self._batch_max))]
            if jobs:
                outcomes, refused = self._run_batch(connection, jobs)
                self.commits += 1
                if refused and self._pass_on is None:
                    outcomes += self._again(backlog, refused)
                    refused = []
                self._tell(self._complete, outcomes, refused)

    def _run_batch(
        self, connection: WriteConnection, jobs: list[Job]
    ) -> tuple[list[Outcome], list[Job]]:
        """Run all in one transaction: their outcomes, and those whose locks somebody else holds.

        Even a job's own error is told only after the commit: it may rest on what another job wrote.
        """
        try:
            outcomes, refused = self._run_jobs(connection, jobs)
        except Exception as error:
            connection.rollback()
            if isinstance(error, Unavailable):
                message = error.message
            else:
                message = "the store failed in a way it does not know; its log has the details"
            if not self._failing:  # a full disk would otherwise get thousands of these a second
                log.exception("writes are refused from now on: %s", message)
            self._failing = True
            return [(job.future, Unavailable(message), None) for job in jobs], []
        if self._failing:
            log.warning("writes are accepted again")
            self._failing = False
        return outcomes, refused

    def _run_jobs(
        self, connection: WriteConnection, jobs: list[Job]
    ) -> tuple[list[Outcome], list[Job]]:
        """Run them without a way to undo one alone, for that costs each of them a tenth of its time; where
        one turns out to be needed, undo all, run them again with care, and take care for a while.
        """
        connection.careful = self._careful_batches > 0
        self._careful_batches -= connection.careful
        for _ in range(RUNS_MAX):
            try:
                done = _run_each(connection, jobs)
                connection.commit()
                return done
            except RunAgain as again:
                connection.rollback()
                if again.careful:
                    connection.careful = True
                    self._careful_batches = CAREFUL_BATCHES
        raise Unavailable("other servers were in the way of this each time; try again")

    @staticmethod
    def _again(backlog: deque[Job], refused: list[Job]) -> list[Outcome]:
        """Put them back, the first ones first; the outcomes of those that were refused too often."""
        outcomes: list[Outcome] = []
        for job in reversed(refused):
            job.refusals += 1
            if job.refusals < REFUSALS_MAX:
                backlog.appendleft(job)
                continue
            error = Unavailable("another server has held this app's allocations for too long")
            outcomes.append((job.future, error, None))
        return outcomes

    @staticmethod
    def _take(backlog: deque[Job], jobs: list[Job] | None) -> bool:
        if jobs is None:
            return True
        backlog.extend(jobs)
        return False

    def _set_closed(self) -> None:
        if self._closed is None:
            self._closed = self._loop.create_future()
        self._closed.set_result(None)

    def _tell(self, callback: Callable[..., object], *args: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(callback, *args)
        except RuntimeError:
            # What was committed is safe, and nobody is left to tell.
            log.warning("the event loop closed before the store did")


def _run_each(connection: WriteConnection, jobs: list[Job]) -> tuple[list[Outcome], list[Job]]:
    """Their outcomes, and those that must wait for their locks. Raises :class:`RunAgain` where a job
    failed that had written, and it cannot be undone alone.
    """
    outcomes: list[Outcome] = []
    waiting: list[Job] = []
    tx = connection.tx
    held_by_others = connection.begin(_locks_of(jobs))
    for job in jobs:
        if job.future.cancelled():
            outcomes.append((job.future, None, None))
            continue
        if held_by_others and not held_by_others.isdisjoint(job.locks):
            waiting.append(job)
            continue
        connection.start_job()
        try:
            value = job.fn(tx)
        except RunAgain:
            raise
        except Later:
            waiting.append(job)
        except BaseException as error:
            if not connection.undo_job():
                raise RunAgain(careful=True) from error
            if isinstance(error, StopIteration):  # a future refuses to carry one
                error = RuntimeError(f"a write raised {error!r}")
            outcomes.append((job.future, error, None))
        else:
            outcomes.append((job.future, None, value))
    return outcomes, waiting


def _locks_of(jobs: list[Job]) -> list[LockKey]:
    return sorted({lock for job in jobs for lock in job.locks})
