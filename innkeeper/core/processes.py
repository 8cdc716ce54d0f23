"""A process: its moments, its status, and why it ended (behaviour.md 4)."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from innkeeper.core.catalog import TransportType

ProcessStatus = Literal[
    "starting",  # recorded; the port is not bound yet
    "running",  # the port is bound
    "draining",  # bound, and takes no new rooms
    "stopping",  # told to stop
    "stopped",  # gone, as asked or with exit code 0
    "failed",  # gone, and never bound its port, or crashed
]
STATUSES: tuple[ProcessStatus, ...] = ProcessStatus.__args__  # type: ignore[attr-defined]

# summaryExitReason (behaviour.md 4.6).
STOPPED_BY_REQUEST = "Stopped by API request"
IDLE_TIMEOUT = "Idle timeout"
OUT_OF_MEMORY = "Out of memory"
APP_DELETED = "Application deleted"
NODE_LOST = "Node lost"
RESTARTED_AWAY = "Stopped with Innkeeper"
REPLACED = "Replaced by a newer deployment"
SCALED_DOWN = "Scaled down"
DRAINED_BY_REQUEST = "Drained by API request"
GAVE_WAY = "Gave way to a room that waits for capacity"
_CALLED_OFF = frozenset(
    (
        STOPPED_BY_REQUEST,
        APP_DELETED,
        RESTARTED_AWAY,
        REPLACED,
        SCALED_DOWN,
        DRAINED_BY_REQUEST,
        GAVE_WAY,
    )
)


def bind_failed(port: int, seconds: float) -> str:
    """The reason of a process that never bound its port."""
    return f"Failed to bind port {port} within {seconds:g} seconds"


def start_timed_out(seconds: float) -> str:
    """The reason of a process that the runtime never managed to start."""
    return f"Image could not be started: every try within {seconds:g} seconds failed half-way"


@dataclass(frozen=True, slots=True)
class ExposedPort:
    """Where players reach a port: the host's name, and the host's port."""

    name: str
    host: str
    port: int
    transport_type: TransportType


@dataclass(frozen=True, slots=True)
class Exit:
    """How a process ended, as the runtime tells it. One of ``code`` and ``signal`` is set;
    neither: unknown.
    """

    code: int | None
    signal: int | None
    out_of_memory: bool
    at: datetime
    detail: str = ""

    @property
    def clean(self) -> bool:
        """Ended by itself, with code 0."""
        return self.code == 0 and not self.out_of_memory

    def reason(self) -> str:
        """The text for ``summaryExitReason`` where nobody asked for the end."""
        if self.out_of_memory:
            text = OUT_OF_MEMORY
        elif self.signal is not None:
            text = f"Killed by signal {self.signal}"
        elif self.code is not None:
            text = f"Exited with code {self.code}"
        else:
            text = NODE_LOST
        return f"{text} ({self.detail})" if self.detail else text


Purpose = Literal[
    "room",  # which found no free slot
    "request",  # of somebody who wants one ahead
    "allocation",  # the static allocation of its region
    "pool",  # the reserve of its region
]

Hosting = Literal[
    "shared",  # in its organization's default fleet
    "metal",  # in a fleet that its deployment named
]


@dataclass(frozen=True, slots=True)
class Process:
    """One process as the store knows it. Each moment is set once, in this order.

    ``deployment_number`` is the deployment as V1 and V2 name it, counted within its app.
    ``failed`` is decided when the end is recorded. ``stop_reason`` is why it was told to stop.
    ``term_sent_at`` is when the driver took the SIGTERM; ``attempted_at`` (the hand-over to the
    driver, recorded as an intent) and ``kill_sent_at`` are the latest ones: a repeat renews them.
    ``emptied_at`` is when its last room left it: ``None`` where it holds some, or never did.
    """

    process_id: str
    app_id: str
    org_id: str
    deployment_id: str
    deployment_number: int
    region: str
    rooms_per_process: int
    rooms_allocated: int
    cpu_millis: int
    memory_mb: int
    created_at: datetime
    scheduled_at: datetime | None
    attempted_at: datetime | None
    booted_at: datetime | None
    started_at: datetime | None
    stopping_at: datetime | None
    term_sent_at: datetime | None
    kill_sent_at: datetime | None
    terminated_at: datetime | None
    draining: bool
    failed: bool
    stop_reason: str | None
    stop_grace_s: float | None
    summary_exit_reason: str | None
    exposed_ports: tuple[ExposedPort, ...]
    sandbox_id: str | None
    initial_room_id: str | None
    idle_since: datetime | None
    removed: bool
    fleet_id: str | None = None
    hosting: Hosting = "shared"
    drain_reason: str | None = None
    drained_at: datetime | None = None
    emptied_at: datetime | None = None
    made_for: Purpose = "request"

    @property
    def status(self) -> ProcessStatus:
        """The first condition that holds (behaviour.md 4.1)."""
        if self.terminated_at is not None:
            return "failed" if self.failed else "stopped"
        if self.stopping_at is not None:
            return "stopping"
        if self.started_at is not None:
            return "draining" if self.draining else "running"
        return "starting"

    @property
    def slots_free(self) -> int:
        """How many rooms it can take now: none before it runs and from when it drains (behaviour.md 4.1)."""
        return self.rooms_per_process - self.rooms_allocated if self.status == "running" else 0

    @property
    def exposed_port(self) -> ExposedPort | None:
        """The default port's address; ``None`` until the process has one."""
        return self.exposed_ports[0] if self.exposed_ports else None


def ended_as_failed(process: Process, exit_: Exit | None) -> bool:
    """Whether the end counts as failed: never bound, or ended badly without being asked
    (behaviour.md 4.1).
    """
    if process.started_at is None:
        # A start that somebody called off is not a failure of the game.
        return process.stop_reason not in _CALLED_OFF
    if exit_ is None:
        return process.stopping_at is None
    if exit_.out_of_memory:
        return True
    return process.stopping_at is None and exit_.code != 0


def exit_reason(process: Process, exit_: Exit | None) -> str:
    """``summaryExitReason``: why it was told to stop, else how it ended (behaviour.md 4.6)."""
    if exit_ is not None and exit_.out_of_memory:
        return exit_.reason()
    if process.stop_reason is not None:
        return process.stop_reason
    return exit_.reason() if exit_ is not None else NODE_LOST
