"""A runtime that runs nothing: for tests and measurements of everything above the socket.

It has a menu of faults (seeded by whoever drives it) and passes the runtime suite's life-cycle
part. What it "runs"
lives in a :class:`FakeHost`, which outlives the driver as real containers outlive the control plane.
"""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from innkeeper.core.errors import PortTaken, RuntimeAway, StartFailed
from innkeeper.core.processes import Exit
from innkeeper.core.snapshot import ProcessSeen
from innkeeper.core.usage import UsageSeen
from innkeeper.interfaces import (
    Capabilities,
    Clock,
    Listing,
    LogSource,
    PortSpec,
    ProcessSpec,
    SandboxSpec,
)


@dataclass(slots=True)
class FakeProcess:
    """One process that "runs". ``binds`` false: it never binds its ports."""

    spec: ProcessSpec
    booted_at: datetime
    binds: bool = True
    connections: int | None = 0
    exit: Exit | None = None
    terms: int = 0
    usage: UsageSeen = UsageSeen(0, 0, 0)


@dataclass(slots=True)
class FakeHost:
    """What runs, and which faults come next. ``away``: the engine does not answer."""

    processes: dict[str, FakeProcess] = field(default_factory=dict)
    sandboxes: dict[str, SandboxSpec] = field(default_factory=dict)
    ports: dict[int, str] = field(default_factory=dict)
    away: bool = False
    next_start_fails: list[str] = field(default_factory=list)
    starts: dict[str, int] = field(default_factory=dict)
    term_ends: bool = True
    binds: bool = True


class FakeRuntime:
    """The driver over a :class:`FakeHost`."""

    capabilities = Capabilities("fake", True, True, True, True)

    def __init__(self, clock: Clock, host: FakeHost | None = None) -> None:
        self._clock = clock
        self.host = host or FakeHost()
        self._changes: asyncio.Queue[str | None] = asyncio.Queue(10_000)

    async def open(self) -> None:
        """Nothing to make ready."""

    async def start(self, spec: ProcessSpec) -> datetime:
        """Start it, unless a fault is next."""
        self._check_here()
        running = self.host.processes.get(spec.process_id)
        if running is not None:
            return running.booted_at
        if self.host.next_start_fails:
            raise StartFailed(self.host.next_start_fails.pop(0))
        for port in spec.ports:
            owner = self.host.ports.setdefault(port.host_port, spec.sandbox_id or spec.process_id)
            if owner not in (spec.process_id, spec.sandbox_id):
                raise PortTaken(port.host_port, f"process {owner}")
        if spec.sandbox_id is not None:
            # As a real driver does where the one made ahead is gone.
            self.host.sandboxes.setdefault(
                spec.sandbox_id, SandboxSpec(spec.sandbox_id, spec.deployment_id, spec.ports)
            )
        self.host.starts[spec.process_id] = self.host.starts.get(spec.process_id, 0) + 1
        process = FakeProcess(spec, self._clock(), self.host.binds)
        self.host.processes[spec.process_id] = process
        return process.booted_at

    async def signal(self, process_id: str, kill: bool) -> None:
        """End it at once: with code 0 on SIGTERM (unless it ignores that), by signal 9 on SIGKILL."""
        self._check_here()
        process = self.host.processes.get(process_id)
        if process is None or process.exit is not None:
            return
        if kill:
            self.end(process_id, Exit(None, 9, False, self._clock()))
            return
        process.terms += 1
        if self.host.term_ends:
            self.end(process_id, Exit(0, None, False, self._clock()))

    def end(self, process_id: str, exit_: Exit) -> None:
        """The process ends by itself, as told."""
        self.host.processes[process_id].exit = exit_
        self._changes.put_nowait(process_id)

    async def remove(self, process_id: str) -> None:
        """It is gone, with its sandbox and ports."""
        self._check_here()
        process = self.host.processes.pop(process_id, None)
        if process is not None and process.spec.sandbox_id is not None:
            self.host.sandboxes.pop(process.spec.sandbox_id, None)
        gone = {process_id, process.spec.sandbox_id if process is not None else process_id}
        self.host.ports = {port: o for port, o in self.host.ports.items() if o not in gone}

    async def observe(self) -> Listing:
        """Everything on the host."""
        self._check_here()
        seen = {
            process_id: ProcessSeen(
                process_id,
                "running" if process.exit is None else "exited",
                process.booted_at,
                exit=process.exit,
            )
            for process_id, process in self.host.processes.items()
        }
        used = {p.spec.sandbox_id for p in self.host.processes.values()}
        free = {s: "10.0.0.2" for s in self.host.sandboxes if s not in used}
        return Listing(seen, free)

    def bound(self, process_id: str, ports: Sequence[PortSpec]) -> bool:
        """At once, where it binds at all."""
        process = self.host.processes.get(process_id)
        return process is not None and process.binds and process.exit is None

    def connections(self, process_id: str, ports: Sequence[PortSpec]) -> int | None:
        """As set on the fake process."""
        process = self.host.processes.get(process_id)
        return 0 if process is None else process.connections

    async def usage(self, process_ids: Collection[str]) -> Mapping[str, UsageSeen]:
        """As set on the fake processes."""
        self._check_here()
        here = self.host.processes
        return {each: here[each].usage for each in process_ids if each in here}

    async def make_sandbox(self, spec: SandboxSpec) -> str | None:
        """Made at once; its ports are held."""
        self._check_here()
        for port in spec.ports:
            owner = self.host.ports.setdefault(port.host_port, spec.sandbox_id)
            if owner != spec.sandbox_id:
                raise PortTaken(port.host_port, owner)
        self.host.sandboxes[spec.sandbox_id] = spec
        return "10.0.0.2"

    async def remove_sandbox(self, sandbox_id: str) -> None:
        """Gone, with its ports."""
        self._check_here()
        self.host.sandboxes.pop(sandbox_id, None)
        self.host.ports = {port: o for port, o in self.host.ports.items() if o != sandbox_id}

    async def log_source(self, process_id: str) -> LogSource | None:
        """It prints nothing."""
        return (
            None if process_id not in self.host.processes else LogSource(Path("/dev/null"), "raw")
        )

    async def changes(self) -> AsyncIterator[str]:
        """Ends of processes."""
        while (process_id := await self._changes.get()) is not None:
            yield process_id

    async def close(self) -> None:
        """What runs goes on."""
        self._changes.put_nowait(None)

    def _check_here(self) -> None:
        if self.host.away:
            raise RuntimeAway("the engine does not answer")
