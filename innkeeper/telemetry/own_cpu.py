"""How much CPU the control plane itself takes from the machine."""

import resource
import time
from collections.abc import Callable


def _used_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


class OwnCpu:
    """Measures from one call to the next."""

    def __init__(
        self,
        used_s: Callable[[], float] = _used_s,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._used_s = used_s
        self._monotonic = monotonic
        self._last = (monotonic(), used_s())

    def millis(self) -> int:
        """Thousandths of a vCPU, averaged since the last call."""
        (before, used_before), (at, used) = self._last, (self._monotonic(), self._used_s())
        if at <= before:
            return 0
        self._last = (at, used)
        return round(1000 * (used - used_before) / (at - before))
