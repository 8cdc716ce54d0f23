"""What a pass may do to one process. Each is safe to repeat."""

from dataclasses import dataclass
from datetime import datetime

from innkeeper.core.processes import Exit


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
    """Record that it shall stop, and why; its rooms end with it."""

    process_id: str
    reason: str
    grace_s: float


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


Action = (
    StartProcess
    | MarkBooted
    | MarkStarted
    | MarkStopping
    | MarkIdle
    | SignalProcess
    | KillProcess
    | MarkTerminated
    | RemoveRemains
)
