"""Measurements in the store: recorded tick by tick, thinned out as they age, and shown (behaviour.md 8.4).

Counters are kept as they stand, never added up: a measurement recorded twice changes nothing. Coarser samples
are made process by process as time goes on, so that no transaction is long.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

import msgspec

from innkeeper.core.accounts import Caller
from innkeeper.core.billing import month_of
from innkeeper.core.catalog import ContainerPort
from innkeeper.core.errors import Invalid
from innkeeper.core.moments import to_ms
from innkeeper.core.usage import POINTS_MAX, TIERS, MetricName, Points, Sample, Window, series
from innkeeper.interfaces import Context, Tx
from innkeeper.usecases import apps, processes
from innkeeper.usecases.metered_months import add_to_month

FORGET_SHARE = 500
PEAKS_KEPT = timedelta(days=7)
DEFAULT_SPAN_S = 3600.0
# Beyond these nobody means seconds; 10^11 is in the year 5138.
_SECONDS_MAX = 1e11
_HOUR = timedelta(hours=1)
_COARSEST_MS = TIERS[-1].step_s * 1000
_KEPT_MS = TIERS[-1].kept // timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class Target:
    """A process to measure: whose it is, and its ports inside and outside."""

    process_id: str
    org_id: str
    app_id: str
    inside: tuple[ContainerPort, ...]
    outside: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Measured:
    """One process's measurement. ``seen_at`` is when a listing began that showed it running; ``None``
    at its end.

    CPU (milliseconds of one core) and egress (bytes) count from its boot; ``None`` cannot be measured.
    """

    process_id: str
    org_id: str
    app_id: str
    seen_at: datetime | None
    at: datetime
    cpu_ms: int | None = None
    memory_bytes: int | None = None
    egress_bytes: int | None = None
    connections: int | None = None


@dataclass(frozen=True, slots=True)
class MetricsWanted:
    """Which series of which process. Seconds since the epoch; ``None`` is the default."""

    app_id: str
    process_id: str
    names: tuple[MetricName, ...]
    start_s: float | None = None
    end_s: float | None = None
    step_s: int = 60


# ---------------------------------------------------------------- recording


def find_target(tx: Tx, process_id: str) -> Target | None:
    """What to measure; ``None`` where it has not booted or has ended."""
    row = tx.one("usage.target", process_id=process_id)
    if row is None:
        return None
    outside = processes.exposed_ports(row["exposed_ports"])
    return Target(
        process_id,
        row["org_id"],
        row["app_id"],
        msgspec.json.decode(row["ports"], type=tuple[ContainerPort, ...]),
        tuple(port.port for port in outside),
    )


def record(tx: Tx, measured: Sequence[Measured], sample: bool = True) -> None:
    """Keep what was measured: the last totals, a sample of each, and the egress that is new, in its month.

    The first measurement of a minute, or of ten, makes the coarser sample of those before it.
    """
    egress: dict[tuple[str, str, int], int] = {}
    for one in measured:
        last = tx.one("usage.last", process_id=one.process_id)
        # A counter that was read lower than before was read wrongly, or not at all.
        cpu_ms = _never_back(one.cpu_ms, None if last is None else last["cpu_ms"])
        sent_before = None if last is None else last["egress_bytes"]
        egress_bytes = _never_back(one.egress_bytes, sent_before)
        values = {
            "process_id": one.process_id,
            "at": to_ms(one.at),
            "cpu_ms": cpu_ms,
            "memory_bytes": one.memory_bytes,
            "egress_bytes": egress_bytes,
            "connections": one.connections,
        }
        seen_at = 0 if one.seen_at is None else to_ms(one.seen_at)
        tx.run("usage.keep_last", seen_at=seen_at, **values)
        if last is not None:
            _roll_up(tx, one.process_id, last["measured_at"], to_ms(one.at))
        if sample:
            tx.run("usage.keep_sample", step_s=TIERS[0].step_s, **values)
        new = (egress_bytes or 0) - (sent_before or 0)
        if new:
            key = (one.org_id, one.app_id, month_of(one.at))
            egress[key] = egress.get(key, 0) + new
    for (org_id, app_id, month), sent in egress.items():
        add_to_month(tx, org_id, app_id, month, egress_bytes=sent)


def record_last(
    tx: Tx, process_id: str, cpu_ms: int | None, egress_bytes: int | None, at: datetime
) -> None:
    """What an ended process had used when its remains were removed: the end of its totals and its samples."""
    owner = tx.one("usage.owner", process_id=process_id)
    last = tx.one("usage.last", process_id=process_id)
    if owner is None or (last is None and cpu_ms is None and egress_bytes is None):
        return
    if last is not None:
        # Nothing comes after it that would make the coarser samples of the steps under way.
        _roll_up(tx, process_id, last["measured_at"], last["measured_at"] + _COARSEST_MS)
    end = Measured(
        process_id, owner["org_id"], owner["app_id"], None, at, cpu_ms, None, egress_bytes
    )
    record(tx, [end], sample=False)


def _never_back(now: int | None, before: int | None) -> int | None:
    return before if now is None else max(now, before or 0)


def record_peaks(tx: Tx, now: datetime) -> None:
    """How much each organization's processes have requested, if it is the most within this hour."""
    tx.run("usage.keep_peak", hour=to_ms(now) // 3_600_000 * 3_600_000)


# ---------------------------------------------------------------- thinning out


def _roll_up(tx: Tx, process_id: str, last_at: int, now: int) -> None:
    """Make the coarser samples of the steps that ended since the last one. Twice changes nothing."""
    for finer, tier in pairwise(TIERS):
        step_ms = tier.step_s * 1000
        since = last_at // step_ms * step_ms
        if since + step_ms <= now:
            tx.run(
                "usage.roll_up",
                process_id=process_id,
                step_s=tier.step_s,
                finer_s=finer.step_s,
                since=since,
                until=since + step_ms,
            )


def forget(tx: Tx, now: datetime) -> bool:
    """Drop a bounded share of the samples past their time; whether there may be more."""
    more = False
    for tier in TIERS:
        before = to_ms(now - tier.kept - timedelta(seconds=tier.step_s))
        gone = tx.run("usage.forget_samples", step_s=tier.step_s, before=before, share=FORGET_SHARE)
        more = more or gone == FORGET_SHARE
    tx.run("usage.forget_peaks", before=to_ms(now - PEAKS_KEPT - _HOUR))
    return more


# ---------------------------------------------------------------- showing


def process_metrics(
    tx: Tx, caller: Caller, wanted: MetricsWanted, context: Context
) -> dict[MetricName, Points]:
    """The series that were asked for. Empty while the process starts, and where nothing can be measured.

    Raises :class:`NotFound`, and :class:`Invalid` for a window that cannot be (behaviour.md 8.4).
    """
    app = apps.require_app(tx, caller.org_id, wanted.app_id)
    window = window_of(wanted.start_s, wanted.end_s, wanted.step_s, context.now)
    found = processes.require_process(tx, app, wanted.process_id)
    if found.booted_at is None:
        return {name: [] for name in wanted.names}
    # Rates of the first step need the sample before it, whatever its resolution.
    since = window.start - 2 * min(max(window.step, _COARSEST_MS), _KEPT_MS)
    samples = _samples(tx, wanted.process_id, since, window.end, context.now)
    booted = to_ms(found.booted_at)
    begun = booted if booted > since else None
    return {name: series(samples, name, window, found.cpu_millis, begun) for name in wanted.names}


def window_of(start_s: float | None, end_s: float | None, step_s: int, now: datetime) -> Window:
    """The window that a caller asks for: the last hour where nothing is said. Raises :class:`Invalid`."""
    end = now.timestamp() if end_s is None else end_s
    start = end - DEFAULT_SPAN_S if start_s is None else start_s
    for field, moment in (("query.start", start), ("query.end", end)):
        if not -_SECONDS_MAX <= moment <= _SECONDS_MAX:
            raise Invalid(field, "must be in seconds since the epoch")
    if start > end:
        raise Invalid("query.start", "must not be after the end")
    if step_s < 1:
        raise Invalid("query.step", "must be at least 1")
    if (end - start) / step_s > POINTS_MAX:
        raise Invalid("query.step", f"is too small: there would be more than {POINTS_MAX} points")
    return Window(round(start * 1000), round(end * 1000), step_s * 1000)


def _samples(tx: Tx, process_id: str, since: int, until: int, now: datetime) -> list[Sample]:
    """The finest that is kept of each part of the time, oldest first."""
    found: list[Sample] = []
    newer = until  # where the finer samples begin
    parts: list[list[Sample]] = []
    for tier in TIERS:
        begin = max(since, to_ms(now - tier.kept))
        if begin < newer:
            rows = tx.all(
                "usage.samples", process_id=process_id, step_s=tier.step_s, since=begin, until=newer
            )
            parts.append([Sample(**row) for row in rows])
            newer = begin
    for part in reversed(parts):
        found += part
    return found
