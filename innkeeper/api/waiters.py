"""Calls that wait: how many may at a time, and their end when the server wants to stop."""

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

WAITERS_MAX = 1000


class Waiters:
    """The calls that wait for a room on this server. Belongs to the event loop in which it is used."""

    def __init__(self, most: int = WAITERS_MAX) -> None:
        self._most = most
        self._waiting = 0
        self._end = asyncio.Event()

    @property
    def ending(self) -> bool:
        """Whether the server wants to stop."""
        return self._end.is_set()

    @property
    def may_wait(self) -> bool:
        """Whether one more may wait. Where not, a call is answered as if it had not asked to."""
        return self._waiting < self._most and not self.ending

    @contextmanager
    def waiter(self) -> Iterator[None]:
        """One waits."""
        self._waiting += 1
        try:
            yield
        finally:
            self._waiting -= 1

    def now(self) -> float:
        """Seconds of a clock that nobody sets."""
        return asyncio.get_running_loop().time()

    async def either(self, work: Coroutine[Any, Any, object]) -> None:
        """Until ``work`` is done, or the server wants to stop."""
        tasks = [asyncio.ensure_future(work), asyncio.ensure_future(self._end.wait())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def end(self) -> None:
        """The server wants to stop: nobody waits any longer."""
        self._end.set()
