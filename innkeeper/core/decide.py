"""``decide(snapshot, now) -> actions``: the one function that moves a process.

Level-triggered: it compares what is wanted with what is there and never asks what happened in between. A
process gets at most one action a pass; the next pass sees the result.
"""

from datetime import UTC, datetime, timedelta

from innkeeper.core.actions import (
    Action,
    EndWaiting,
    KillProcess,
    MarkBooted,
    MarkIdle,
    MarkStarted,
    MarkStopping,
    MarkTerminated,
    PlaceRoom,
    ProcessAction,
    RemoveRemains,
    SetTarget,
    SignalProcess,
    StartProcess,
)
from innkeeper.core.allocation import Plan, back_off, plan
from innkeeper.core.autoscaling import desired_processes
from innkeeper.core.processes import (
    APP_DELETED,
    IDLE_TIMEOUT,
    SCALED_DOWN,
    Process,
    bind_failed,
    start_timed_out,
)
from innkeeper.core.rooms import no_capacity
from innkeeper.core.snapshot import DeploymentFacts, Limits, Observation, ProcessSeen, Snapshot


def decide(snapshot: Snapshot, now: datetime) -> list[Action]:
    """The actions that bring what is there closer to what is wanted (behaviour.md 4.2, 4.5, 8.7)."""
    planned = plan(snapshot, now)
    actions: list[Action] = []
    for process in snapshot.processes:
        action = _next_action(process, snapshot, planned, now)
        if action is not None:
            actions.append(action)
    return [*actions, *_autoscaled(snapshot, now), *planned.more, *_waiting(snapshot, now)]


def _autoscaled(snapshot: Snapshot, now: datetime) -> list[Action]:
    """What the load asks for; the next pass acts on it."""
    static = None if snapshot.wanted is None else snapshot.wanted.static
    if static is None or static.requests_per_process is None or snapshot.app_deleted:
        return []
    assert snapshot.wanted is not None
    target, cause = desired_processes(static, snapshot.wanted.loads, now)
    return [] if target == static.target_processes else [SetTarget(target, cause)]


def _waiting(snapshot: Snapshot, now: datetime) -> list[Action]:
    """Rooms that wait: those whose time is over end, and the first of the others is tried again."""
    if snapshot.app_deleted:
        return []
    late = [room for room in snapshot.waiting if now >= room.deadline]
    rest = [room for room in snapshot.waiting if now < room.deadline]
    ends = [EndWaiting(room.room_id, no_capacity(room.region, room.short)) for room in late]
    return [*ends, *(PlaceRoom(room.room_id, room.short) for room in rest[:1])]


def _next_action(
    process: Process, snapshot: Snapshot, planned: Plan, now: datetime
) -> ProcessAction | None:
    limits, seen = snapshot.limits, snapshot.seen(process)
    if process.terminated_at is not None:
        return None if process.removed else RemoveRemains(process.process_id)
    if seen is not None and seen.phase == "exited":
        return MarkTerminated(process.process_id, seen.exit)
    if snapshot.lost(process):
        return MarkTerminated(process.process_id, None)
    if process.stopping_at is not None:
        return _stopping(process, seen, process.stopping_at, snapshot, now)
    if snapshot.app_deleted:
        return MarkStopping(process.process_id, APP_DELETED, limits.stop_grace_s)
    if process.process_id in planned.actions:
        return planned.actions[process.process_id]
    facts = snapshot.deployments[process.deployment_id]
    if process.booted_at is None:
        return _unbooted(process, seen, facts, snapshot, now)
    if process.started_at is None:
        return _unbound(process, process.booted_at, facts, snapshot.observation, limits)
    return _idle(process, seen, facts, planned, limits, now)


def _stopping(
    process: Process,
    seen: ProcessSeen | None,
    stopping_at: datetime,
    snapshot: Snapshot,
    now: datetime,
) -> ProcessAction | None:
    observation, limits = snapshot.observation, snapshot.limits
    if process.attempted_at is None:
        # Never handed to the runtime: there is nothing to signal.
        return MarkTerminated(process.process_id, None)
    if process.booted_at is None and (seen is None or seen.phase == "created"):
        # Handed over, but nothing runs yet: no signal can end it. If it still comes, it is an orphan and
        # removed as one.
        patient = process.attempted_at + timedelta(seconds=limits.start_retry_s)
        over = observation is not None and observation.taken_at >= patient
        return MarkTerminated(process.process_id, None) if over else _kill(process, limits, now)
    if process.term_sent_at is None:
        return SignalProcess(process.process_id)
    grace_s = limits.stop_grace_s if process.stop_grace_s is None else process.stop_grace_s
    if now - max(process.term_sent_at, stopping_at) >= timedelta(seconds=grace_s):
        return _kill(process, limits, now)
    return None


def _kill(process: Process, limits: Limits, now: datetime) -> ProcessAction | None:
    """SIGKILL, and again only when it had time to work: a pass follows each act at once."""
    again = timedelta(seconds=limits.kill_retry_s)
    if process.kill_sent_at is not None and now - process.kill_sent_at < again:
        return None
    return KillProcess(process.process_id)


def _unbooted(
    process: Process,
    seen: ProcessSeen | None,
    facts: DeploymentFacts,
    snapshot: Snapshot,
    now: datetime,
) -> ProcessAction | None:
    limits, observed = snapshot.limits, snapshot.observation is not None
    if seen is not None and seen.phase == "running":
        return MarkBooted(process.process_id, seen.booted_at or now)
    if process.attempted_at is not None:
        # The driver was asked; ask again only when it had time to answer.
        if now - process.attempted_at < timedelta(seconds=limits.start_retry_s):
            return None
        if _tried_too_long(process, process.attempted_at, observed, limits, now):
            reason = start_timed_out(limits.start_timeout_s)
            return MarkStopping(process.process_id, reason, limits.idle_stop_grace_s)
        return StartProcess(process.process_id)
    return StartProcess(process.process_id) if now >= start_after(facts, limits) else None


def _tried_too_long(
    process: Process, attempted_at: datetime, observed: bool, limits: Limits, now: datetime
) -> bool:
    """A start that fails half-way every time must not leave its players polling for ever.

    Not while the engine is away, nor where nobody tried for as long: then a new try comes first.
    """
    patience = timedelta(seconds=limits.start_timeout_s)
    began = process.scheduled_at or attempted_at
    return observed and now - began >= patience > now - attempted_at


def start_after(facts: DeploymentFacts, limits: Limits) -> datetime:
    """Crash back-off of a deployment: 1, 2, 4 … seconds after its last failed start, 60 at the most."""
    if facts.last_start_failure_at is None or not facts.start_failures:
        return datetime.min.replace(tzinfo=UTC)
    return back_off(facts.start_failures, facts.last_start_failure_at, limits)


def _unbound(
    process: Process,
    booted_at: datetime,
    facts: DeploymentFacts,
    observation: Observation | None,
    limits: Limits,
) -> ProcessAction | None:
    # Unseen is not unbound: while the engine is away, players may be on it. So the listing's moment counts.
    seen = None if observation is None else observation.seen.get(process.process_id)
    if observation is None or seen is None:
        return None
    if seen.bound_at is not None:
        return MarkStarted(process.process_id, max(seen.bound_at, booted_at))
    if observation.taken_at - booted_at >= timedelta(seconds=limits.bind_timeout_s):
        reason = bind_failed(facts.default_port, limits.bind_timeout_s)
        return MarkStopping(process.process_id, reason, limits.idle_stop_grace_s)
    return None


def _idle(
    process: Process,
    seen: ProcessSeen | None,
    facts: DeploymentFacts,
    planned: Plan,
    limits: Limits,
    now: datetime,
) -> ProcessAction | None:
    """Idle: no allocated room and no connection for five minutes; unmeasured connections count as present."""
    surplus = process.process_id in planned.surplus
    if not facts.idle_timeout_enabled and not surplus:
        return None
    idle = process.rooms_allocated == 0 and seen is not None and seen.connections == 0
    if not idle:
        # Without an observation nothing is known; the clock neither starts nor stops.
        busy = process.rooms_allocated > 0 or (seen is not None and seen.connections != 0)
        return MarkIdle(process.process_id, None) if busy and process.idle_since else None
    if process.idle_since is None:
        return MarkIdle(process.process_id, now)
    over = now - process.idle_since >= timedelta(seconds=limits.idle_timeout_s)
    if not over or process.process_id in planned.spared:
        return None
    reason = IDLE_TIMEOUT if facts.idle_timeout_enabled else SCALED_DOWN
    grace_s = limits.idle_stop_grace_s
    return MarkStopping(process.process_id, reason, grace_s, True, planned.ready_min)
