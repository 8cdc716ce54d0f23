"""What was measured of a process, and how it is shown as series of points (behaviour.md 8.4)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from typing import Literal

MetricName = Literal[
    "cpu",  # per cent of the requested CPU, averaged over the step
    "memory",  # bytes: the most within the step
    "rate_egress",  # bytes a second, averaged over the step
    "total_egress",  # bytes since the process booted
    "active_connections",  # the most within the step
]
DEFAULT_METRICS: tuple[MetricName, ...] = ("cpu", "memory", "rate_egress")
POINTS_MAX = 11_000


@dataclass(frozen=True, slots=True)
class Tier:
    """Samples of one resolution, and how long they are kept."""

    step_s: int
    kept: timedelta


# A process has at most 360, 1440 and 1008 samples of these.
TIERS = (
    Tier(10, timedelta(hours=1)),
    Tier(60, timedelta(hours=24)),
    Tier(600, timedelta(days=7)),
)


@dataclass(frozen=True, slots=True)
class UsageSeen:
    """What a process has used; ``None`` where that cannot be measured, and never a guess.

    CPU in milliseconds of one core since it booted, the memory it holds now in bytes, and the bytes it
    has sent since it booted.
    """

    cpu_ms: int | None
    memory_bytes: int | None
    egress_bytes: int | None


@dataclass(frozen=True, slots=True)
class Sample:
    """One measurement, milliseconds since the epoch; CPU and egress count from the boot.

    ``None`` is what could not be measured.
    """

    at: int
    cpu_ms: int | None
    memory_bytes: int | None
    egress_bytes: int | None
    connections: int | None


@dataclass(frozen=True, slots=True)
class Window:
    """Milliseconds. A point at ``start``, and one each ``step`` after it up to ``end``; each tells of the
    step before it.
    """

    start: int
    end: int
    step: int

    def point_of(self, at: int) -> int | None:
        """The number of the point that tells of the moment ``at``; ``None`` where none does."""
        number = -((self.start - at) // self.step)
        return number if number >= 0 and self.start + number * self.step <= self.end else None


Points = list[tuple[int, float]]


def series(
    samples: Sequence[Sample],
    name: MetricName,
    window: Window,
    cpu_millis: int,
    booted_at: int | None,
) -> Points:
    """(moment in ms, value) of one metric, in order; steps without a measurement have no point.

    ``samples`` are in order and may begin before the window. ``booted_at`` is when the counters stood at
    nothing; ``None`` where samples before the first of these are left out.
    """
    match name:
        case "cpu":
            per_ms = 100 * 1000 / cpu_millis
            return _rates(samples, lambda s: s.cpu_ms, window, booted_at, per_ms)
        case "rate_egress":
            return _rates(samples, lambda s: s.egress_bytes, window, booted_at, 1000.0)
        case "memory":
            return _peaks(samples, lambda s: s.memory_bytes, window)
        case "total_egress":
            return _peaks(samples, lambda s: s.egress_bytes, window)
        case "active_connections":
            return _peaks(samples, lambda s: s.connections, window)


Read = Callable[[Sample], int | None]


def _peaks(samples: Sequence[Sample], read: Read, window: Window) -> Points:
    found: dict[int, int] = {}
    for sample in samples:
        point, value = window.point_of(sample.at), read(sample)
        if point is not None and value is not None:
            found[point] = max(value, found.get(point, 0))
    return [(window.start + point * window.step, value) for point, value in found.items()]


def _rates(
    samples: Sequence[Sample], read: Read, window: Window, booted_at: int | None, factor: float
) -> Points:
    """How fast a counter grew over each step: since the last sample before that step."""
    # (point, moment, value) of the last sample for each point; -1 is all that is before the window.
    lasts = [] if booted_at is None else [(-1, booted_at, 0)]
    for sample in samples:
        value = read(sample)
        if value is None or sample.at > window.end:
            continue
        number = window.point_of(sample.at)
        if number is None:
            if sample.at > window.start:
                break  # after the last point
            number = -1
        if lasts and lasts[-1][0] == number:
            lasts.pop()
        lasts.append((number, sample.at, value))
    return [
        (window.start + number * window.step, factor * max(value - value_before, 0) / (at - before))
        for (_, before, value_before), (number, at, value) in pairwise(lasts)
        if at > before
    ]
