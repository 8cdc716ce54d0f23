"""What each app used month by month: the time between ``startedAt`` and ``stoppingAt``, and measured egress.

The time of ended processes is folded into its months, each process once, in the transaction that marks it;
what runs is added at the moment of asking. So no answer walks over history, and each equals the sum of
lifetimes.
"""

from datetime import datetime

from innkeeper.core.billing import (
    VCPU_US_PER_HOUR,
    AppUsage,
    month_of,
    month_start,
    next_month,
    split_by_month,
)
from innkeeper.core.moments import from_ms, to_ms
from innkeeper.interfaces import Context, Row, Tx

FOLD_SHARE = 100


def fold_ended(tx: Tx) -> bool:
    """Put the time of some ended processes into their months, once; whether there may be more."""
    sums: dict[tuple[str, str, int], int] = {}
    rows = tx.all("billing.unmetered_ended", share=FOLD_SHARE)
    for row in rows:
        if not tx.run("billing.mark_metered", process_id=row["process_id"]):
            continue
        began, ended = from_ms(row["started_at"]), from_ms(row["stopping_at"])
        for month, milliseconds in split_by_month(began, ended):
            key = (row["org_id"], row["app_id"], month)
            sums[key] = sums.get(key, 0) + milliseconds * row["cpu_millis"]
    for (org_id, app_id, month), vcpu_us in sums.items():
        add_to_month(tx, org_id, app_id, month, vcpu_us=vcpu_us)
    return len(rows) == FOLD_SHARE


def month_usage(tx: Tx, org_id: str, month: int, now: datetime) -> list[AppUsage]:
    """What each app used in a month so far: what was folded, and what was not."""
    found = {
        row["app_id"]: AppUsage(row["app_id"], row["app_name"], row["vcpu_us"], row["egress_bytes"])
        for row in tx.all("billing.month_of_org", org_id=org_id, month=month)
    }
    since = to_ms(month_start(month))
    until = min(to_ms(month_start(next_month(month))), to_ms(now))
    for row in tx.all("billing.unmetered_between", org_id=org_id, since=since, until=until):
        folded = found.get(row["app_id"], AppUsage(row["app_id"], row["app_name"], 0, 0))
        found[row["app_id"]] = AppUsage(
            folded.app_id,
            folded.app_name,
            folded.vcpu_us + int(row["vcpu_us"]),
            folded.egress_bytes,
        )
    return list(found.values())


def add_to_month(
    tx: Tx, org_id: str, app_id: str, month: int, vcpu_us: int = 0, egress_bytes: int = 0
) -> None:
    """Usage of an app in a month; egress that is found when the month is closed counts in the next."""
    if egress_bytes:
        closed = tx.one("billing.last_closed", org_id=org_id)
        if closed is not None and closed["month"] is not None:
            month = max(month, next_month(closed["month"]))
    tx.run(
        "billing.add_month",
        org_id=org_id,
        app_id=app_id,
        month=month,
        vcpu_us=vcpu_us,
        egress_bytes=egress_bytes,
    )


def vcpu_hours(tx: Tx, org_id: str, context: Context) -> float:
    """The requested vCPU-hours of this UTC month so far."""
    usage = month_usage(tx, org_id, month_of(context.now), context.now)
    return sum(app.vcpu_us for app in usage) / VCPU_US_PER_HOUR


def vcpu_hours_limit(org: Row, context: Context) -> float | None:
    """The organization's own limit of a month, else the installation's."""
    own: float | None = org["monthly_vcpu_hours_limit"]
    return context.policy.monthly_vcpu_hours_limit if own is None else own
