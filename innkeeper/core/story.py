"""What is now with a room or a process, why, and what a person could do about it: for `innkeeper why`.

Pure: it works from the same facts as ``decide``, so that it says what ``decide`` will do next.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from innkeeper.core import advice
from innkeeper.core.catalog import ContainerPort
from innkeeper.core.decide import start_after
from innkeeper.core.processes import Process
from innkeeper.core.rooms import Room
from innkeeper.core.snapshot import DeploymentFacts, Limits
from innkeeper.core.telling import ago, ended, short, span

# A hand-over to the runtime is a matter of milliseconds: what takes longer needs a look.
_LONG = timedelta(seconds=10)


@dataclass(frozen=True, slots=True)
class Waiting:
    """A room in the queue for capacity: what was short when it was last tried, and until when it waits."""

    short: str
    deadline: datetime
    before_it: int


@dataclass(frozen=True, slots=True)
class ProcessFacts:
    """A process, its deployment, and why the deployment's last start failed (where its last one did)."""

    process: Process
    deployment: DeploymentFacts
    ports: tuple[ContainerPort, ...]
    last_failure: str | None = None


@dataclass(frozen=True, slots=True)
class Now:
    """How things stand, in one or two sentences, and what one could do."""

    status: str
    text: str
    advice: tuple[str, ...] = field(default=())


def room_now(
    room: Room, on: ProcessFacts | None, waiting: Waiting | None, limits: Limits, now: datetime
) -> Now:
    """How it stands with a room. ``on``: the process it is on now, or was on last."""
    if room.status == "destroyed":
        return _over(room, on, limits, now)
    if room.status == "suspended":
        text = f"Room {room.room_id} is on no process: it was suspended."
        return Now("suspended", text, (advice.RESUME,))
    if room.status == "scheduling":
        return _unplaced(room, waiting, now)
    if on is None:
        return Now(room.status, f"Room {room.room_id} is allocated to a process.")
    stands = process_now(on, limits, now)
    if on.process.status in ("running", "draining"):
        port = on.process.exposed_port
        where = "" if port is None else f" at {port.host}:{port.port}/{port.transport_type}"
        text = f"Room {room.room_id} is in play{where}, on process {short(on.process.process_id)}."
        return Now("active", text)
    text = f"Players of room {room.room_id} cannot join yet. {stands.text}"
    return Now("starting", text, stands.advice)


def _over(room: Room, on: ProcessFacts | None, limits: Limits, now: datetime) -> Now:
    reason = room.end_reason or "its reason is not known"
    text = f"Room {room.room_id} ended"
    if room.destroyed_at is not None:
        text += f" {ago(room.destroyed_at, now)}"
    text += f": {ended(reason)}"
    more = advice.of_room_end(reason)
    if on is None:
        return Now("destroyed", text, more)
    return Now("destroyed", text, more or advice.of_end(on.process, reason, on.ports, limits))


def _unplaced(room: Room, waiting: Waiting | None, now: datetime) -> Now:
    if waiting is None:
        text = f"Room {room.room_id} is on no process of ours: it is a player's own."
        return Now("scheduling", text)
    queue = f" {waiting.before_it} rooms wait before it." if waiting.before_it else ""
    if waiting.before_it == 1:
        queue = " 1 room waits before it."
    left = span((waiting.deadline - now).total_seconds())
    text = f"Room {room.room_id} waits for capacity, {left} more at most: {ended(waiting.short)}{queue}"
    return Now("scheduling", text, (advice.CAPACITY,))


def process_now(facts: ProcessFacts, limits: Limits, now: datetime) -> Now:
    """How it stands with a process."""
    process, name = facts.process, f"Process {short(facts.process.process_id)}"
    match process.status:
        case "starting":
            return _starting(facts, limits, now)
        case "running" | "draining":
            return _running(facts, limits, now)
        case "stopping":
            return _stopping(process, limits, now)
        case status:
            assert process.terminated_at is not None, "it has ended"
            reason = process.summary_exit_reason or "its reason is not known"
            text = f"{name} ended {ago(process.terminated_at, now)}: {ended(reason)}"
            return Now(status, text, advice.of_end(process, reason, facts.ports, limits))


def _starting(facts: ProcessFacts, limits: Limits, now: datetime) -> Now:
    process, name = facts.process, f"Process {short(facts.process.process_id)}"
    if process.attempted_at is None:
        after = start_after(facts.deployment, limits)
        if after > now:
            return _held_back(facts, after, now)
        text = f"{name} was recorded {ago(process.created_at, now)} and goes to the runtime next."
        late = now - process.created_at > _LONG
        return Now("starting", text, (advice.NOT_HANDED_OVER,) if late else ())
    if process.booted_at is None:
        text = (
            f"The runtime was asked {ago(process.attempted_at, now)} to start {name[:1].lower()}{name[1:]}, "
            f"and does not show it running yet; it is given up after {span(limits.start_timeout_s)}."
        )
        late = now - process.created_at > _LONG
        return Now("starting", text, (advice.NOT_BOOTED,) if late else ())
    ports = advice.ports_told(facts.ports)
    left = limits.bind_timeout_s - (now - process.booted_at).total_seconds()
    text = (
        f"{name} has run for {span((now - process.booted_at).total_seconds())}, and has not bound {ports} "
        f"yet: it has {span(left)} more (of {span(limits.bind_timeout_s)})."
    )
    late = now - process.booted_at > _LONG
    return Now("starting", text, advice.not_bound(process, facts.ports) if late else ())


def _held_back(facts: ProcessFacts, after: datetime, now: datetime) -> Now:
    failures = facts.deployment.start_failures
    which = "The last start" if failures == 1 else f"The last {failures} starts"
    why = "" if facts.last_failure is None else f" ({facts.last_failure})"
    text = (
        f"{which} of deployment {facts.deployment.deployment_id} failed{why}, so process "
        f"{short(facts.process.process_id)} starts in {span((after - now).total_seconds())}."
    )
    return Now("starting", text, (advice.BAD_DEPLOYMENT,))


def _running(facts: ProcessFacts, limits: Limits, now: datetime) -> Now:
    process, name = facts.process, f"Process {short(facts.process.process_id)}"
    rooms = f"{process.rooms_allocated} of {process.rooms_per_process} rooms"
    assert process.started_at is not None, "it runs"
    text = f"{name} has been ready for {span((now - process.started_at).total_seconds())}, with {rooms}."
    if process.draining:
        text += f" It takes no new ones: {ended(process.drain_reason or 'it drains')}"
    elif process.idle_since is not None and facts.deployment.idle_timeout_enabled:
        left = limits.idle_timeout_s - (now - process.idle_since).total_seconds()
        text += f" It is idle, and stops in {span(left)} unless a room or a player comes."
    return Now(process.status, text)


def _stopping(process: Process, limits: Limits, now: datetime) -> Now:
    assert process.stopping_at is not None, "it stops"
    reason = ended(process.stop_reason or "its reason is not known")
    text = f"Process {short(process.process_id)} was told to stop {ago(process.stopping_at, now)}: {reason}"
    grace_s = limits.stop_grace_s if process.stop_grace_s is None else process.stop_grace_s
    if process.kill_sent_at is not None:
        text += " It was killed, and its end is awaited."
    elif process.term_sent_at is not None:
        since = max(process.term_sent_at, process.stopping_at)
        left = grace_s - (now - since).total_seconds()
        text += f" It got SIGTERM, and is killed in {span(left)} unless it ends before."
    return Now("stopping", text)
