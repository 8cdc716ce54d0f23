"""One time limit for many tasks at once. It costs a dict entry for each, where a timer costs far more."""

import asyncio

_SWEEPS = 16  # a task is stopped late by at most a sixteenth of the limit


class Deadlines:
    """Cancels tasks that did not :meth:`end` in time."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._began: dict[asyncio.Task[object], float] = {}  # the oldest first
        self._free: set[asyncio.Task[object]] = set()
        self._timer: asyncio.TimerHandle | None = None

    def start(self, task: asyncio.Task[object]) -> None:
        """From now on, ``task`` has the limit's time."""
        loop = asyncio.get_running_loop()
        self._began[task] = loop.time()
        if self._timer is None:
            self._timer = loop.call_later(self._timeout_s / _SWEEPS, self._sweep, loop)

    def expired(self, task: asyncio.Task[object]) -> bool:
        """Whether a cancelled ``task`` was cancelled from here; if so, its cancellation is over."""
        if task in self._began or task in self._free:
            return False
        task.uncancel()
        return True

    def free(self, task: asyncio.Task[object]) -> None:
        """From now on it has all the time it takes."""
        if self._began.pop(task, None) is not None:
            self._free.add(task)

    def end(self, task: asyncio.Task[object]) -> None:
        """It needs no watching any more."""
        self._began.pop(task, None)
        self._free.discard(task)

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        """Cancel what is late. Without tasks, the timer rests."""
        latest = loop.time() - self._timeout_s
        for task in self._late(latest):
            del self._began[task]
            task.cancel()
        again = self._timeout_s / _SWEEPS
        self._timer = loop.call_later(again, self._sweep, loop) if self._began else None

    def _late(self, latest: float) -> list[asyncio.Task[object]]:
        late = []
        for task, began in self._began.items():
            if began > latest:
                break
            late.append(task)
        return late
