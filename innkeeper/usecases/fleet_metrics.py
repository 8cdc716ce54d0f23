"""What fleets had and used, sampled each minute and kept for a week (behaviour.md 8.9)."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from innkeeper.core.accounts import Caller
from innkeeper.core.fleet_metrics import FleetMetric, FleetSample, samples_from, series
from innkeeper.core.moments import to_ms
from innkeeper.core.usage import Points
from innkeeper.interfaces import Context, Tx
from innkeeper.usecases import fleets, metering

KEPT = timedelta(days=7)
# At the most 256 rows come in a minute: this much is dropped quicker than it grows.
FORGET_SHARE = 5_000


@dataclass(frozen=True, slots=True)
class FleetMetricsWanted:
    """Which series of which fleet, in one region or in all. Seconds since the epoch; ``None``: default."""

    fleet_id: str
    region: str | None
    names: tuple[FleetMetric, ...]
    start_s: float | None = None
    end_s: float | None = None
    step_s: int = 60


def record_sample(tx: Tx, now: datetime, overhead_millis: int) -> None:
    """Keep what the machine has and what each fleet's processes request, and drop what is past its time.

    ``overhead_millis``: thousandths of a vCPU that the control plane has used since the last sample.
    """
    node = tx.one("fleets.node")
    if node is None:
        return
    at = to_ms(now)
    provisioned = node["cores"] * 1000
    tx.run(
        "fleets.keep_machine_sample",
        at=at,
        provisioned_millis=provisioned,
        overhead_millis=overhead_millis,
    )
    for row in tx.all("fleets.requested_now"):
        tx.run(
            "fleets.keep_sample",
            at=at,
            fleet_id=row["fleet_id"],
            region=row["region"],
            utilized_millis=row["cpu_millis"],
        )
    before = to_ms(now - KEPT)
    tx.run("fleets.forget_machine_samples", before=before, share=FORGET_SHARE)
    tx.run("fleets.forget_samples", before=before, share=FORGET_SHARE)


def fleet_metrics(
    tx: Tx, caller: Caller, wanted: FleetMetricsWanted, context: Context
) -> dict[FleetMetric, Points]:
    """The series that were asked for.

    This machine serves every fleet and region, so each shows all of it as provisioned. Raises
    :class:`~innkeeper.core.errors.NotFound`, and :class:`~innkeeper.core.errors.Invalid` for a window
    that cannot be.
    """
    if wanted.region is None:
        fleets.require_fleet(tx, caller.org_id, wanted.fleet_id)
    else:
        fleets.require_fleet_in(tx, caller, wanted.fleet_id, wanted.region, context)
    window = metering.window_of(wanted.start_s, wanted.end_s, wanted.step_s, context.now)
    rows = tx.all(
        "fleets.samples",
        fleet_id=wanted.fleet_id,
        region=wanted.region,
        since=samples_from(window),
        until=window.end,
    )
    samples = [FleetSample(**row) for row in rows]
    return {name: series(samples, name, window) for name in wanted.names}
