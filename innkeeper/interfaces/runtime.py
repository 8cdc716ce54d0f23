"""What starts processes and shows what runs."""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from innkeeper.core.snapshot import ProcessSeen
from innkeeper.core.usage import UsageSeen


@dataclass(frozen=True, slots=True)
class PortSpec:
    """One port of a process: inside, outside, and its wire protocol (``tls`` is ``tcp`` by here)."""

    name: str
    container_port: int
    host_port: int
    protocol: str  # "tcp" | "udp"


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """Everything a driver needs to start a process. The first port is the default one.

    ``env`` is complete but for what only the driver knows: it adds ``HATHORA_SERVER_URL``,
    ``HATHORA_PRIVATE_IP``
    and, where the process shares the host's network, ``PORT``.
    """

    process_id: str
    app_id: str
    deployment_id: str
    image_ref: str
    cpu_millis: int
    memory_mb: int
    ports: tuple[PortSpec, ...]
    env: Mapping[str, str]
    sandbox_id: str | None


@dataclass(frozen=True, slots=True)
class SandboxSpec:
    """A network sandbox to make ahead; ``ports`` as its deployment will need them."""

    sandbox_id: str
    deployment_id: str
    ports: tuple[PortSpec, ...]


@dataclass(frozen=True, slots=True)
class Capabilities:
    """Optional powers of a driver, as data."""

    name: str
    own_network: (
        bool  # each process has a network namespace; the external port differs from the container's
    )
    sandboxes: bool  # network sandboxes can be made ahead
    registry_images: bool  # images can be pulled from a registry
    enforces_limits: bool  # CPU and memory limits really hold


@dataclass(frozen=True, slots=True)
class Listing:
    """All that a driver carries for this installation."""

    processes: Mapping[str, ProcessSeen]
    sandboxes: Mapping[str, str | None]  # sandbox id -> private IP
    ended_sandboxes: frozenset[str] = frozenset()  # of no use to anybody, and still there


@dataclass(frozen=True, slots=True)
class LogSource:
    """Where a process's output is while the runtime holds it. ``format``: "raw", "k8s-file" or
    "json-file".
    """

    path: Path
    format: str


class Runtime(Protocol):
    """A driver. Keyed by our process id; every call is safe to repeat; no policy, no retries, no store.

    Raises :class:`~innkeeper.core.errors.StartFailed`, ``PortTaken`` and ``RuntimeAway``.
    """

    capabilities: Capabilities

    async def open(self) -> None:
        """Make ready: check the engine, make the network, the holder image."""
        ...

    async def start(self, spec: ProcessSpec) -> datetime:
        """Start it, or find it started; returns when it booted. Joins ``spec.sandbox_id``, making
        it if need be.
        """
        ...

    async def signal(self, process_id: str, kill: bool) -> None:
        """SIGTERM to its first process, or SIGKILL to all; nothing where it is gone."""
        ...

    async def remove(self, process_id: str) -> None:
        """Remove what remains of it (its sandbox too), running or not; nothing where it is gone."""
        ...

    async def observe(self) -> Listing:
        """Everything that carries our installation's label, ended or not."""
        ...

    def bound(self, process_id: str, ports: Sequence[PortSpec]) -> bool:
        """Whether every port is bound by this process, seen in the kernel's socket tables.
        Microseconds; never waits.
        """
        ...

    def connections(self, process_id: str, ports: Sequence[PortSpec]) -> int | None:
        """Players' connections now; ``None`` where they cannot be measured."""
        ...

    async def usage(self, process_ids: Collection[str]) -> Mapping[str, UsageSeen]:
        """What each has used, as far as the machine still tells; one that is gone is left out. Also of a
        process that has ended, until it is removed. For some hundred processes at a time.
        """
        ...

    async def make_sandbox(self, spec: SandboxSpec) -> str | None:
        """Make it, or find it made; returns its private IP."""
        ...

    async def remove_sandbox(self, sandbox_id: str) -> None:
        """Remove a sandbox that no process uses."""
        ...

    async def log_source(self, process_id: str) -> LogSource | None:
        """Where its output is; ``None`` where the runtime does not hold it (any more)."""
        ...

    def changes(self) -> AsyncIterator[str]:
        """Process ids that changed: hints only, never the truth. Ends when the driver closes."""
        ...

    async def close(self) -> None:
        """Let go of connections; what runs goes on running."""
        ...
