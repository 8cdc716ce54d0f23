"""What a pass looks at: one app in one region, as the store has it and as the runtime shows it."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from innkeeper.core.processes import Exit, Process

Phase = Literal[
    "created",  # made, not started
    "running",
    "exited",
]


@dataclass(frozen=True, slots=True)
class ProcessSeen:
    """What the runtime shows of one process. ``bound_at`` is when its ports were first seen bound.

    ``connections`` is ``None`` where they cannot be measured; that counts as present.
    """

    process_id: str
    phase: Phase
    booted_at: datetime | None = None
    bound_at: datetime | None = None
    exit: Exit | None = None
    connections: int | None = None


@dataclass(frozen=True, slots=True)
class Observation:
    """Everything the runtime carries for us. ``taken_at`` is when the listing began, by the host's clock.

    ``young`` are the processes that may have been started after that, so that they may rightly be missing:
    noted as it happened, for a clock that was set back would prove living ones lost.
    """

    taken_at: datetime
    seen: Mapping[str, ProcessSeen]
    young: Collection[str] = frozenset()


@dataclass(frozen=True, slots=True)
class DeploymentFacts:
    """What ``decide`` needs to know of a deployment that live processes use.

    ``start_failures`` counts processes in a row that ended without ever binding their port.
    """

    deployment_id: str
    default_port: int
    idle_timeout_enabled: bool
    start_failures: int = 0
    last_start_failure_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class StaticAllocation:
    """How many processes an app keeps in a region, of all its deployments together (behaviour.md 8.7).

    With ``requests_per_process`` the region is autoscaled, and the target what the autoscaler set last.
    """

    min_processes: int
    target_processes: int
    max_processes: int
    requests_per_process: float | None = None


@dataclass(frozen=True, slots=True)
class Load:
    """How many requests all running processes of a region had at a moment; ``None``: not known."""

    at: datetime
    requests: int | None


@dataclass(frozen=True, slots=True)
class Hold:
    """Why a wanted process of a deployment could not be made, and when that may be tried again."""

    deployment_id: str
    reason: str
    until: datetime


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an app wants in a region beside what its rooms need.

    ``deployment_id`` is its latest deployment; ``startable`` says whether that one's image is still there.
    ``reserve`` is how many processes without rooms it keeps beyond those that hold some. ``quick_ends`` are
    the moments at which processes of the latest deployment ended by themselves, soon after they began.
    ``loads`` are those of an autoscaled region, oldest first. ``rooms_wait``: somewhere in the
    installation a room waits for what the machine may give back, or was just refused for the lack of it.
    """

    deployment_id: str | None
    startable: bool = True
    static: StaticAllocation | None = None
    reserve: int = 0
    hold: Hold | None = None
    quick_ends: tuple[datetime, ...] = ()
    rooms_wait: bool = False
    loads: tuple[Load, ...] = ()


@dataclass(frozen=True, slots=True)
class WaitingRoom:
    """A room that waits for capacity; ``short`` says what was missing when it was last tried."""

    room_id: str
    region: str
    deadline: datetime
    short: str


@dataclass(frozen=True, slots=True)
class Limits:
    """The settings that ``decide`` works by, in seconds."""

    bind_timeout_s: float = 100.0
    idle_timeout_s: float = 300.0
    stop_grace_s: float = 30.0
    idle_stop_grace_s: float = 10.0
    start_retry_s: float = 5.0
    start_timeout_s: float = 300.0
    kill_retry_s: float = 1.0
    backoff_max_s: float = 60.0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One app in one region. ``observation`` is ``None`` while the engine is away: then nothing is known
    to be lost, and only what the store alone can tell is decided. ``waiting`` is in the rooms' order."""

    app_deleted: bool
    processes: tuple[Process, ...]
    deployments: Mapping[str, DeploymentFacts]
    observation: Observation | None
    limits: Limits = field(default_factory=Limits)
    wanted: Wanted | None = None
    waiting: tuple[WaitingRoom, ...] = ()

    def seen(self, process: Process) -> ProcessSeen | None:
        """What the runtime shows of it."""
        return None if self.observation is None else self.observation.seen.get(process.process_id)

    def lost(self, process: Process) -> bool:
        """A record without a container: known only from a listing that began after the start was done."""
        return (
            self.observation is not None
            and self.seen(process) is None
            and process.booted_at is not None
            and process.process_id not in self.observation.young
        )

    def over(self, process: Process) -> bool:
        """Whether it has ended, recorded or not."""
        seen = self.seen(process)
        exited = seen is not None and seen.phase == "exited"
        return process.terminated_at is not None or exited or self.lost(process)
