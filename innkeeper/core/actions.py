"""What a pass may do to one process, or to an app's region. Each is safe to repeat."""

from dataclasses import dataclass
from datetime import datetime

from innkeeper.core.processes import Exit, Purpose


@dataclass(frozen=True, slots=True)
class StartProcess:
    """Record the intent, then hand the process to the runtime."""

    process_id: str


@dataclass(frozen=True, slots=True)
class MarkBooted:
    """Record that the runtime shows it started."""

    process_id: str
    at: datetime


@dataclass(frozen=True, slots=True)
class MarkStarted:
    """Record that its ports were seen bound: from now on it is running, and billed."""

    process_id: str
    at: datetime


@dataclass(frozen=True, slots=True)
class MarkStopping:
    """Record that it shall stop, and why; its rooms end with it.

    With ``if_empty`` only where it holds no room, and only while ``ready_min`` others that are ready stay: a
    room may come, and others may end, between the look and the record.
    """

    process_id: str
    reason: str
    grace_s: float
    if_empty: bool = False
    ready_min: int = 0


@dataclass(frozen=True, slots=True)
class MarkDraining:
    """Record that it takes no new rooms, and why; it stops when it is empty."""

    process_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class MarkIdle:
    """Record since when it has had neither rooms nor connections (``None``: it has some)."""

    process_id: str
    since: datetime | None


@dataclass(frozen=True, slots=True)
class SignalProcess:
    """Ask it to end (SIGTERM to its first process), then record that this was done."""

    process_id: str


@dataclass(frozen=True, slots=True)
class KillProcess:
    """End it (SIGKILL): its grace is over."""

    process_id: str


@dataclass(frozen=True, slots=True)
class MarkTerminated:
    """Record the end; rooms that are still on it end with a reason, ports go to rest, capacity is free."""

    process_id: str
    exit: Exit | None


@dataclass(frozen=True, slots=True)
class RemoveRemains:
    """Keep its log, then remove what the runtime still holds of it."""

    process_id: str


@dataclass(frozen=True, slots=True)
class CreateProcess:
    """Record a new process without a room, unless enough are there by now. ``nth`` of this pass."""

    deployment_id: str
    made_for: Purpose
    nth: int = 0


@dataclass(frozen=True, slots=True)
class HoldProcesses:
    """Record why processes that are wanted cannot be made; told once."""

    deployment_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class SetTarget:
    """Record what the autoscaler wants from now on, and why."""

    target: int
    cause: str


@dataclass(frozen=True, slots=True)
class PlaceRoom:
    """Allocate the room that has waited for longest, if there is capacity by now; ``short`` is what was
    missing before.
    """

    room_id: str
    short: str


@dataclass(frozen=True, slots=True)
class EndWaiting:
    """End a room that has waited for as long as it may, with the reason."""

    room_id: str
    reason: str


ProcessAction = (
    StartProcess
    | MarkBooted
    | MarkStarted
    | MarkStopping
    | MarkDraining
    | MarkIdle
    | SignalProcess
    | KillProcess
    | MarkTerminated
    | RemoveRemains
)
RegionAction = CreateProcess | HoldProcesses | SetTarget | PlaceRoom | EndWaiting
Action = ProcessAction | RegionAction
