"""How many processes an autoscaled region gets: by its load, averaged over a minute (behaviour.md 8.7).

Up at once, down only after five minutes below; docs/decisions/0012 says what counts as load, and why.
"""

import math
from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise

from innkeeper.core.snapshot import Load, StaticAllocation

AVERAGED = timedelta(seconds=60)
PATIENCE = timedelta(minutes=5)
# A longer silence than this leaves the time unmeasured.
GAP_MAX = timedelta(seconds=90)
KEPT = PATIENCE + AVERAGED + GAP_MAX


def desired_processes(
    static: StaticAllocation, loads: Sequence[Load], now: datetime
) -> tuple[int, str]:
    """The target that the load asks for, within min and max, and why; the present one where nothing is known.

    ``loads`` are oldest first. What could not be measured never lets the target fall.
    """
    assert static.requests_per_process is not None, "an autoscaled region has a metric value"
    target = static.target_processes
    known = [load for load in loads if load.at <= now]
    recent = [load for load in known if now - load.at < PATIENCE]
    averages = [_average(known, load.at) for load in recent]
    counts = [None if a is None else _count(a, static.requests_per_process) for a in averages]
    measured = [count for count in counts if count is not None]
    if not measured:
        return target, ""
    latest = counts[-1] if now - recent[-1].at <= GAP_MAX else None
    wanted = target
    if latest is not None and latest > target:
        wanted = latest
    elif len(measured) == len(counts) and _covered(known, now):
        # Down to what the busiest minute of that time needed.
        wanted = min(max(measured), target)
    wanted = min(max(wanted, static.min_processes), static.max_processes)
    shown = averages[-1] if latest is not None and latest > target else None
    return wanted, _why(static, wanted, shown)


def _average(loads: Sequence[Load], at: datetime) -> float | None:
    """Over the minute before ``at``; ``None`` where a part of it could not be measured."""
    values = [load.requests for load in loads if AVERAGED > at - load.at >= timedelta()]
    if any(value is None for value in values):
        return None
    return sum(value for value in values if value is not None) / len(values)


def _count(average: float, per_process: float) -> int:
    # The quotient of two floats may be a hair above a whole number.
    return math.ceil(average / per_process - 1e-9)


def _covered(loads: Sequence[Load], now: datetime) -> bool:
    """Whether the whole time of patience was measured, without a long silence."""
    moments = [load.at for load in loads] + [now]
    begun = now - PATIENCE
    before = [moment for moment in moments if moment <= begun]
    moments = ([max(before)] if before else []) + [m for m in moments if m > begun]
    gaps = [later - earlier for earlier, later in pairwise(moments)]
    return moments[0] <= begun and all(gap <= GAP_MAX for gap in gaps)


def _why(static: StaticAllocation, wanted: int, average: float | None) -> str:
    per = f"{static.requests_per_process:g} for each process"
    if average is None:
        return f"for five minutes {wanted} were enough: {per}"
    return f"{average:.4g} concurrent requests on average, {per}: {wanted}"
