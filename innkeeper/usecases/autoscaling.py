"""The load of autoscaled regions: kept as it is measured, and the target that came of it."""

from datetime import datetime, timedelta

from innkeeper.core.autoscaling import KEPT
from innkeeper.core.moments import from_ms, to_ms
from innkeeper.core.snapshot import Load
from innkeeper.interfaces import Context, Tx
from innkeeper.usecases import journal

FRESH_MIN_S = 30.0


def record_loads(tx: Tx, now: datetime, tick_s: float) -> None:
    """How many connections the running processes of each autoscaled region have together.

    Unknown where one of them could not be measured, or was not in the last three ticks; one that has only
    just started has none yet.
    """
    fresh = now - timedelta(seconds=max(3 * tick_s, FRESH_MIN_S))
    tx.run("autoscaling.measure", now=to_ms(now), fresh=to_ms(fresh))
    tx.run("autoscaling.forget", before=to_ms(now - KEPT))


def loads(tx: Tx, key: tuple[str, str], now: datetime) -> tuple[Load, ...]:
    """What was measured lately in an app's region, oldest first."""
    since = to_ms(now - KEPT)
    rows = tx.all("autoscaling.loads", app_id=key[0], region=key[1], since=since)
    return tuple(Load(from_ms(row["at"]), row["requests"]) for row in rows)


def set_target(tx: Tx, key: tuple[str, str], target: int, cause: str, context: Context) -> bool:
    """The autoscaler's target from now on; false where the region is not autoscaled, or has it already."""
    app_id, region = key
    if not tx.run("autoscaling.set_target", app_id=app_id, region=region, target=target):
        return False
    told = f"{region}: {target} processes wanted; {cause}"
    journal.of_app(tx, app_id, "allocation.scaled", to_ms(context.now), told)
    return True
