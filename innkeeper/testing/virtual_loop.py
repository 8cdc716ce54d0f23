"""An event loop in simulated time: nothing waits for real, and one order of events follows from one program.

When nothing is ready, time jumps to the next timer. Nothing outside can wake it: no sockets, no threads.
"""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

T = TypeVar("T")

# So many turns without any time passing: something turns in circles.
TURNS_MAX = 50_000


class VirtualLoop(asyncio.BaseEventLoop):
    """``time()`` is 0 at first, in seconds. Ready callbacks run first in, first out, as in the real loops.

    Raises ``AssertionError`` where everything waits for something that will never come, and where work goes
    on for ever without any time passing.
    """

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        self._turns = 0
        self._clock_resolution = 1e-9
        self._selector = self  # the base class asks it how long to wait

    def time(self) -> float:
        """Simulated seconds since the loop was made."""
        return self._now

    def select(self, timeout: float | None) -> Sequence[object]:
        """Let the time pass until the next timer is due."""
        if timeout is None:
            raise AssertionError("everything waits, and nothing will ever happen again")
        if timeout > 0:
            # The timer's own moment: a sum of floats could fall just short of it.
            self._now = self._scheduled[0].when()
            self._turns = 0
        else:
            self._turns += 1
            if self._turns > TURNS_MAX:
                raise AssertionError(f"{TURNS_MAX} turns of work, and no time has passed")
        return ()

    def _process_events(self, event_list: Sequence[object]) -> None:
        assert not event_list, "nothing outside can happen"

    def _write_to_self(self) -> None:
        """Nobody else could wake it."""

    _scheduled: list[asyncio.TimerHandle]


def run_virtual(main: Coroutine[Any, Any, T]) -> T:
    """As ``asyncio.run``, in simulated time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)
