"""What apps want in a region beside their rooms: kept with the setting it comes from, and read by passes."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from innkeeper.core.errors import NoCapacity
from innkeeper.core.moments import from_ms, to_ms
from innkeeper.core.service_config import SYSTEM_PROCESSES_MAX
from innkeeper.core.snapshot import Hold, StaticAllocation, Wanted
from innkeeper.interfaces import Context, Row, Tx
from innkeeper.usecases import autoscaling, journal

# A process that ends by itself sooner than this is part of a crash loop.
YOUNG_MS = 60_000
_QUICK_ENDS_SINCE = timedelta(minutes=11)
# Whoever was refused was told to come back in ten seconds.
SHORTAGE_REMEMBERED = timedelta(seconds=15)
RETRY_S = (10, 20, 40, 60)
MAX_RETRY_S = 10


def keep_static(tx: Tx, app_id: str, config: Mapping[str, Any] | None, context: Context) -> None:
    """Keep what an app's ``serviceConfig`` asks for; what was asked for before is replaced whole.

    An autoscaled region keeps the target that it has, as far as its new bounds allow.
    """
    before = {row["region"]: row for row in tx.all("allocations.static_of_app", app_id=app_id)}
    tx.run("allocations.delete_static", app_id=app_id)
    tx.run("allocations.delete_holds", app_id=app_id)
    entries = [] if config is None else config["staticProcessAllocation"]
    for entry in entries:
        region, least = entry["region"], entry["minProcesses"]
        most = SYSTEM_PROCESSES_MAX if entry["maxProcesses"] is None else entry["maxProcesses"]
        load = None
        if entry.get("autoscalingEnabled"):
            assert config is not None, "checked with the setting"
            load = config["processAutoscalerConfig"]["targetMetric"]["metricValue"]
            row = before.pop(region, None)
            shown = least if row is None else row["target_processes"]
            target = min(max(shown, least), most)
        else:
            before.pop(region, None)
            target = entry["targetProcesses"]
        tx.run(
            "allocations.insert_static",
            app_id=app_id,
            region=region,
            min_processes=least,
            target_processes=target,
            max_processes=most,
            requests_per_process=load,
        )
        context.wake.append((app_id, region))
    context.wake += [(app_id, region) for region in before]


def drop(tx: Tx, app_id: str) -> None:
    """The app was deleted: it wants nothing any more."""
    tx.run("allocations.delete_static", app_id=app_id)
    tx.run("allocations.delete_pools", app_id=app_id)
    tx.run("allocations.delete_holds", app_id=app_id)
    tx.run("waiting.leave_app", app_id=app_id)


def load_wanted(tx: Tx, key: tuple[str, str], now: datetime) -> tuple[bool, Wanted]:
    """Whether the app of a pass was deleted, and what it wants in the pass's region."""
    app_id, region = key
    since = to_ms(now - SHORTAGE_REMEMBERED)
    row = tx.one("allocations.wanted", app_id=app_id, region=region, short_since=since)
    if row is None:
        return True, Wanted(None)
    static, hold = None, None
    ends: tuple[datetime, ...] = ()
    if row["min_processes"] is not None:
        static = StaticAllocation(
            row["min_processes"],
            row["target_processes"],
            row["max_processes"],
            row["requests_per_process"],
        )
    if row["held_reason"] is not None:
        until = from_ms(row["held_until"])
        hold = Hold(row["held_deployment_id"], row["held_reason"], until)
    if static is not None or row["reserve"]:
        ends = _quick_ends(tx, key, row["latest_deployment_id"], now)
    wanted = Wanted(
        deployment_id=row["latest_deployment_id"],
        startable=row["build_deleted_at"] is None and row["build_expired_at"] is None,
        static=static,
        reserve=row["reserve"] or 0,
        hold=hold,
        quick_ends=ends,
        rooms_wait=bool(row["rooms_wait"]),
        loads=() if row["requests_per_process"] is None else autoscaling.loads(tx, key, now),
    )
    return row["deleted_at"] is not None, wanted


def _quick_ends(
    tx: Tx, key: tuple[str, str], deployment_id: str | None, now: datetime
) -> tuple[datetime, ...]:
    if deployment_id is None:
        return ()
    rows = tx.all(
        "allocations.quick_ends",
        app_id=key[0],
        region=key[1],
        deployment_id=deployment_id,
        since=to_ms(now - _QUICK_ENDS_SINCE),
        young=YOUNG_MS,
    )
    return tuple(from_ms(row["terminated_at"]) for row in rows)


def wishful_regions(tx: Tx, app_id: str) -> list[tuple[str, str]]:
    """The (app id, region) keys where an app wants processes beside those of its rooms."""
    return [(app_id, r["region"]) for r in tx.all("allocations.wishful_regions", app_id=app_id)]


def check_max(tx: Tx, app_id: str, region: str) -> None:
    """Raise :class:`NoCapacity` where the region's ``maxProcesses`` live already (behaviour.md 8.7)."""
    row = tx.one("allocations.max_and_live", app_id=app_id, region=region)
    if row is not None:
        refuse_above_max(row["live"], row["max_processes"], region)


def refuse_above_max(live: int, most: int | None, region: str) -> None:
    """Raise :class:`NoCapacity` where so many live already; ``None`` bounds nothing."""
    if most is not None and live >= most:
        raise NoCapacity(
            f"maxProcesses of the static allocation in {region} is reached: {most}."
            " Wait until a process ends, or raise it in the app's serviceConfig",
            MAX_RETRY_S,
        )


def any_pool(tx: Tx) -> bool:
    """Whether anybody keeps processes in reserve."""
    return tx.one("allocations.any_pool") is not None


def note_shortage(tx: Tx, now: datetime) -> None:
    """Somebody was refused for this machine's capacity: pools give way for a while, and do not grow."""
    tx.run("allocations.note_shortage", at=to_ms(now))


def counts(tx: Tx, key: tuple[str, str], deployment_id: str) -> Row:
    """How many processes live there, are ready, are ``deployment_id``'s and open, and hold rooms of those."""
    row = tx.one("allocations.counts", app_id=key[0], region=key[1], deployment_id=deployment_id)
    assert row is not None, "an aggregate answers one row"
    return row


def hold(tx: Tx, key: tuple[str, str], deployment_id: str, reason: str, context: Context) -> None:
    """Note why a wanted process could not be made, to try again later and later; each reason is told once."""
    app_id, region = key
    row = tx.one("allocations.held", app_id=app_id, region=region)
    same = row is not None and (row["deployment_id"], row["reason"]) == (deployment_id, reason)
    tries = row["tries"] if row is not None and same else 0
    wait_s = RETRY_S[min(tries, len(RETRY_S) - 1)]
    tx.run(
        "allocations.hold",
        app_id=app_id,
        region=region,
        deployment_id=deployment_id,
        reason=reason,
        tries=tries + 1,
        until=to_ms(context.now + timedelta(seconds=wait_s)),
    )
    if not same:
        told = f"{region}: no process could be made of {deployment_id}: {reason}"
        journal.of_app(tx, app_id, "allocation.held", to_ms(context.now), told)
