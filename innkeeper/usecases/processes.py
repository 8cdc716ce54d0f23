"""What a caller may ask of processes (behaviour.md 4)."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from innkeeper.core.accounts import Caller
from innkeeper.core.catalog import App, Deployment
from innkeeper.core.errors import Invalid, NotFound
from innkeeper.core.events import ASKED_FOR
from innkeeper.core.moments import from_ms, maybe_from_ms, to_ms
from innkeeper.core.processes import (
    DRAINED_BY_REQUEST,
    STOPPED_BY_REQUEST,
    ExposedPort,
    Process,
    Purpose,
)
from innkeeper.interfaces import Context, Row, Tx
from innkeeper.usecases import allocations, apps, capacity, deployments, journal, orgs
from innkeeper.usecases.limits import check_limits


@dataclass(frozen=True, slots=True)
class ProcessFilter:
    """Which processes: ``None`` is no filter. ``before`` is milliseconds since the epoch, exclusive."""

    app_id: str
    statuses: tuple[str, ...] | None = None
    regions: tuple[str, ...] | None = None
    before: int | None = None

    def params(self) -> dict[str, Any]:
        """As the named queries take it: lists as ``,a,b,``."""
        return {
            "app_id": self.app_id,
            "statuses": _joined(self.statuses),
            "regions": _joined(self.regions),
            "before": self.before,
        }


_EXPOSED_PORTS = msgspec.json.Decoder(tuple[ExposedPort, ...])


@dataclass(frozen=True, slots=True)
class ProcessUsage:
    """What was measured of a process last; ``measured_at`` is ``None`` where nothing was yet."""

    active_connections: int = 0
    egress_bytes: int = 0
    measured_at: datetime | None = None


def usage_of(tx: Tx, process_id: str) -> ProcessUsage:
    """What was measured of a process last; zeros stand for what cannot be measured, too."""
    row = tx.one("usage.last", process_id=process_id)
    if row is None:
        return ProcessUsage()
    return ProcessUsage(
        row["connections"] or 0, row["egress_bytes"] or 0, from_ms(row["connections_changed_at"])
    )


def exposed_ports(text: str) -> tuple[ExposedPort, ...]:
    """The addresses as the store keeps them."""
    return _EXPOSED_PORTS.decode(text)


def process_from(row: Row) -> Process:
    """A process from its row."""
    return Process(
        process_id=row["process_id"],
        app_id=row["app_id"],
        org_id=row["org_id"],
        deployment_id=row["deployment_id"],
        deployment_number=row["deployment_number"],
        region=row["region"],
        rooms_per_process=row["rooms_per_process"],
        rooms_allocated=row["rooms_allocated"],
        cpu_millis=row["cpu_millis"],
        memory_mb=row["memory_mb"],
        created_at=from_ms(row["created_at"]),
        scheduled_at=maybe_from_ms(row["scheduled_at"]),
        attempted_at=maybe_from_ms(row["attempted_at"]),
        booted_at=maybe_from_ms(row["booted_at"]),
        started_at=maybe_from_ms(row["started_at"]),
        stopping_at=maybe_from_ms(row["stopping_at"]),
        term_sent_at=maybe_from_ms(row["term_sent_at"]),
        kill_sent_at=maybe_from_ms(row["kill_sent_at"]),
        terminated_at=maybe_from_ms(row["terminated_at"]),
        draining=bool(row["draining"]),
        failed=bool(row["failed"]),
        stop_reason=row["stop_reason"],
        stop_grace_s=row["stop_grace_s"],
        summary_exit_reason=row["summary_exit_reason"],
        exposed_ports=exposed_ports(row["exposed_ports"]),
        sandbox_id=row["sandbox_id"],
        initial_room_id=row["initial_room_id"],
        idle_since=maybe_from_ms(row["idle_since"]),
        removed=bool(row["removed"]),
        fleet_id=row["fleet_id"],
        hosting=row["hosting"],
        drain_reason=row["drain_reason"],
        drained_at=maybe_from_ms(row["drained_at"]),
        emptied_at=maybe_from_ms(row["emptied_at"]),
        made_for=row["made_for"],
    )


def new_process(
    tx: Tx,
    org_id: str,
    deployment: Deployment,
    region: str,
    initial_room_id: str | None,
    context: Context,
    cause: str,
    made_for: Purpose | None = None,
) -> str:
    """Record a process that shall start, with one room allocated where ``initial_room_id`` is given;
    ``cause`` says what it is for, and so does ``made_for``: a room or a request, if nothing is said.

    Returns its id. Raises :class:`NotFound` where the build was deleted, :class:`Exhausted` where
    a limit or the
    machine is full (behaviour.md 4.2, 4.7).
    """
    _require_image(tx, deployment)
    check_limits(tx, org_id, deployment, context)
    org = orgs.require_org(tx, org_id)
    process_id = context.ids.uuid()
    capacity.take_capacity(tx, deployment.cpu_millis, deployment.memory_mb)
    seat = capacity.take_seat(tx, process_id, deployment, context)
    tx.put(
        "processes.insert",
        process_id=process_id,
        app_id=deployment.app_id,
        org_id=org_id,
        deployment_id=deployment.deployment_id,
        deployment_number=deployment.number,
        region=region,
        rooms_per_process=deployment.rooms_per_process,
        rooms_allocated=0 if initial_room_id is None else 1,
        cpu_millis=deployment.cpu_millis,
        memory_mb=deployment.memory_mb,
        created_at=to_ms(context.now),
        exposed_ports=msgspec.json.encode(seat.exposed_ports).decode(),
        sandbox_id=seat.sandbox_id,
        initial_room_id=initial_room_id,
        fleet_id=deployment.fleet_id or org.default_fleet_id,
        hosting="shared" if deployment.fleet_id in (None, org.default_fleet_id) else "metal",
        made_for=made_for or ("request" if initial_room_id is None else "room"),
    )
    journal.of_process(tx, process_id, "process.created", to_ms(context.now), cause)
    context.wake.append((deployment.app_id, region))
    return process_id


def _require_image(tx: Tx, deployment: Deployment) -> None:
    row = tx.one("processes.image", build_key=deployment.build_key)
    if row is None or row["deleted_at"] is not None or row["expired_at"] is not None:
        why = "it was deleted; make a new build and a deployment of it to start processes again"
        raise NotFound("Build", deployment.build_id, why)


def create_process(tx: Tx, caller: Caller, wanted: tuple[str, str], context: Context) -> Process:
    """Start a process without a room; ``wanted`` is (app id, region) (behaviour.md 4.2)."""
    app_id, region = wanted
    app = apps.require_app(tx, caller.org_id, app_id)
    if region not in context.policy.regions:
        raise Invalid("path.region", f"is not available here; available: {served_regions(context)}")
    deployment = deployments.latest(tx, app)
    allocations.check_max(tx, app_id, region)
    process_id = new_process(tx, app.org_id, deployment, region, None, context, ASKED_FOR)
    return require_process(tx, app, process_id)


def served_regions(context: Context) -> str:
    """The regions of this installation, for a message."""
    return ", ".join(context.policy.regions)


def require_process(tx: Tx, app: App, process_id: str) -> Process:
    """The app's process. Raises :class:`NotFound`."""
    row = tx.one("processes.by_id", process_id=process_id, app_id=app.app_id)
    if row is None:
        raise NotFound("Process", process_id)
    return process_from(row)


def find(tx: Tx, process_id: str) -> Process | None:
    """A process, whoever's it is: for the reconciler."""
    row = tx.one("processes.any_by_id", process_id=process_id)
    return None if row is None else process_from(row)


def get_process(tx: Tx, caller: Caller, wanted: tuple[str, str], context: Context) -> Process:
    """One process; ``wanted`` is (app id, process id)."""
    app_id, process_id = wanted
    return require_process(tx, apps.require_app(tx, caller.org_id, app_id), process_id)


def latest_processes(
    tx: Tx, caller: Caller, wanted: ProcessFilter, context: Context
) -> list[Process]:
    """The ten newest that match, newest first (behaviour.md 4.1)."""
    apps.require_app(tx, caller.org_id, wanted.app_id)
    return [process_from(row) for row in tx.all("processes.latest", **wanted.params())]


def count_processes(tx: Tx, caller: Caller, wanted: ProcessFilter, context: Context) -> int:
    """How many match; without statuses those that are not terminated (behaviour.md 4.1)."""
    apps.require_app(tx, caller.org_id, wanted.app_id)
    row = tx.one("processes.count", **wanted.params())
    return 0 if row is None else int(row["count"])


def stop_process(tx: Tx, caller: Caller, wanted: tuple[str, str], context: Context) -> None:
    """Stop it now; its rooms end with it. Repeating changes nothing (behaviour.md 4.5)."""
    process = get_process(tx, caller, wanted, context)
    mark_stopping(tx, process, STOPPED_BY_REQUEST, context.policy.limits.stop_grace_s, context)


def drain_process(tx: Tx, caller: Caller, wanted: tuple[str, str], context: Context) -> None:
    """Let it take no new rooms, and stop when it is empty; ``wanted`` is (app id, process id).

    Nothing where it is ending. An extension of ours: :func:`stop_process` does not wait.
    """
    mark_draining(tx, get_process(tx, caller, wanted, context), DRAINED_BY_REQUEST, context)


def mark_stopping(tx: Tx, process: Process, reason: str, grace_s: float, context: Context) -> None:
    """Record that it shall stop and end its rooms; nothing where that is so already."""
    if process.stopping_at is not None or process.terminated_at is not None:
        return
    at = to_ms(not_before(process, context.now))
    journal.of_process(tx, process.process_id, "process.stopping", at, reason)
    end_rooms(tx, process.process_id, reason, at)
    tx.run(
        "processes.mark_stopping",
        process_id=process.process_id,
        now=at,
        reason=reason,
        grace_s=grace_s,
    )
    context.wake.append((process.app_id, process.region))


def mark_draining(tx: Tx, process: Process, reason: str, context: Context) -> None:
    """Record that it takes no new rooms, and why; nothing where that is so already, or it shall stop."""
    now = to_ms(context.now)
    if tx.run("processes.mark_draining", process_id=process.process_id, reason=reason, now=now):
        journal.of_process(tx, process.process_id, "process.draining", now, reason)
        context.wake.append((process.app_id, process.region))


def not_before(process: Process, moment: datetime) -> datetime:
    """``moment``, or the latest one that the process has seen: a clock may be set back, its story may not."""
    begun = (
        process.created_at,
        process.scheduled_at,
        process.booted_at,
        process.started_at,
        process.stopping_at,
    )
    return max(moment, *(known for known in begun if known is not None))


def end_rooms(tx: Tx, process_id: str, reason: str, now_ms: int) -> None:
    """Every room on the process ends, with the reason; allocations go to the history (behaviour.md 5.6)."""
    journal.of_rooms_on(tx, process_id, "room.destroyed", now_ms, reason)
    tx.run("rooms.keep_allocations_of_process", process_id=process_id, now=now_ms)
    tx.run("rooms.destroy_on_process", process_id=process_id, now=now_ms, reason=reason)


def _joined(words: tuple[str, ...] | None) -> str | None:
    return None if words is None else f",{','.join(words)},"
