"""What a pass looks at: one app in one region, as the store has it and as the runtime shows it."""

from collections.abc import Mapping
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
    """Everything the runtime carries for us. ``taken_at`` is when the listing began: a process that was
    handed over later may rightly be missing from it."""

    taken_at: datetime
    seen: Mapping[str, ProcessSeen]


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
    to be lost, and only what the store alone can tell is decided."""

    app_deleted: bool
    processes: tuple[Process, ...]
    deployments: Mapping[str, DeploymentFacts]
    observation: Observation | None
    limits: Limits = field(default_factory=Limits)
