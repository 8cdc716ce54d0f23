"""What a fleet had and what its processes requested, as series of points in vCPUs (behaviour.md 8.9)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from innkeeper.core.usage import Points, Window

FleetMetric = Literal[
    "provisioned_total",
    "provisioned_bare_metal",
    "provisioned_cloud",  # none: this machine is the studio's own
    "utilized",  # as requested by what runs; CPU may be promised several times over, so it may pass the total
    "system_overhead",  # what the control plane itself used
]
# Samples come each minute, more or less: a step without one shows the last, if it is not older.
_HELD_MS = 120_000


@dataclass(frozen=True, slots=True)
class FleetSample:
    """A minute of a fleet, in a region or in all; thousandths of a vCPU."""

    at: int
    provisioned_millis: int
    overhead_millis: int
    utilized_millis: int


def _millis(sample: FleetSample, metric: FleetMetric) -> int:
    match metric:
        case "utilized":
            return sample.utilized_millis
        case "system_overhead":
            return sample.overhead_millis
        case "provisioned_cloud":
            return 0
        case "provisioned_total" | "provisioned_bare_metal":
            return sample.provisioned_millis


def series(samples: Sequence[FleetSample], metric: FleetMetric, window: Window) -> Points:
    """(moment in ms, mean over the step in vCPUs), in order; no point where nothing was sampled.

    ``samples`` are in order, and begin :func:`samples_from` the window.
    """
    points: Points = []
    at = 0
    last: FleetSample | None = None
    for moment in range(window.start, window.end + 1, window.step):
        within = []
        while at < len(samples) and samples[at].at <= moment:
            last = samples[at]
            if last.at > moment - window.step:
                within.append(_millis(last, metric))
            at += 1
        if within:
            points.append((moment, sum(within) / len(within) / 1000))
        elif last is not None and moment - last.at <= _HELD_MS:
            points.append((moment, _millis(last, metric) / 1000))
    return points


def samples_from(window: Window) -> int:
    """The moment after which samples tell of the window."""
    return window.start - max(window.step, _HELD_MS)
