"""The ``container`` driver: processes as containers of a Docker or Podman engine.

Each process joins a network sandbox of its own, with published ports. What runs is known from labels
alone; the memory here only spares questions to the engine, and is filled again by ``observe``.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from innkeeper.core.errors import RuntimeAway, StartFailed
from innkeeper.core.moments import truncate
from innkeeper.core.snapshot import ProcessSeen
from innkeeper.core.usage import UsageSeen
from innkeeper.interfaces import (
    Capabilities,
    Listing,
    LogSource,
    PortSpec,
    ProcessSpec,
    SandboxSpec,
)
from innkeeper.runtime import usage_container
from innkeeper.runtime.conntrack import Flows, forget_flows
from innkeeper.runtime.container_facts import ContainerFacts
from innkeeper.runtime.container_listing import ContainerListing, SandboxSeen
from innkeeper.runtime.container_spec import (
    LABEL_JOINS,
    LABEL_PROCESS,
    LABEL_SANDBOX,
    ContainerSettings,
    log_format,
    moment,
    phase_of,
    process_body,
    process_name,
)
from innkeeper.runtime.disk_guard import guard_disks, guard_logs
from innkeeper.runtime.engine import Answer, Engine
from innkeeper.runtime.engine_events import process_events
from innkeeper.runtime.engine_limits import hard_limits
from innkeeper.runtime.netns import NetSpace, NetSpaces
from innkeeper.runtime.sandbox import Sandboxes, SandboxFacts, force_remove
from innkeeper.runtime.usage_container import Inside, Measurable

_OWN = "own-"  # the sandbox of a process that was given none: named after the process
_OWN_LOST_AFTER_S = 600  # by then its process has joined, or never will
_NOT_RUNNING = ("is not running", "can only kill running", "state improper", "no such process")


class ContainerRuntime:
    """The driver. ``revive`` brings an engine service of our own back to life; ``None`` for others'."""

    capabilities = Capabilities(
        name="container",
        own_network=True,
        sandboxes=True,
        registry_images=True,
        enforces_limits=True,
    )

    def __init__(
        self,
        engine: Engine,
        settings: ContainerSettings,
        revive: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._engine = engine
        self._settings = settings
        self._revive = revive
        self._sandboxes = Sandboxes(engine, settings)
        self._spaces = NetSpaces()
        self._facts = ContainerFacts(engine)
        self._listing = ContainerListing(engine, settings.installation, self._facts)
        self._flows = Flows()
        self._joined: dict[str, str] = {}  # process id -> sandbox id
        self._closed = asyncio.Event()
        self._guards: list[asyncio.Task[None]] = []

    async def open(self) -> None:
        """Agree with the engine on an API version; make the network and the holder's image."""
        await self._engine.open()
        limits = await asyncio.to_thread(hard_limits, self._engine.socket_path)
        self._settings = replace(
            self._settings,
            nofile=min(self._settings.nofile, limits["nofile"]),
            nproc=min(self._settings.nproc, limits["nproc"]),
        )
        self._sandboxes.settings = self._settings
        await self._sandboxes.open()
        disks = guard_disks(
            self._facts.written_layers,
            self._end_for_disk,
            self._settings.writable_mb * 1024**2,
            self._settings.disk_check_s,
        )
        logs = guard_logs(
            self._facts.running_logs, self._settings.log_bytes_max, self._settings.log_check_s
        )
        self._guards = [asyncio.create_task(disks), asyncio.create_task(logs)]

    async def _end_for_disk(self, process_id: str) -> None:
        self._facts.explain(
            process_id, f"it wrote more than {self._settings.writable_mb} MB to its disk"
        )
        await self.signal(process_id, kill=True)

    async def close(self) -> None:
        """Let go of sockets; what runs goes on running."""
        self._closed.set()
        for guard in self._guards:
            guard.cancel()
        self._spaces.close()
        await self._engine.close()

    def api_bind_address(self) -> str:
        """The address that processes reach this machine at: our bridge's gateway.

        The bridge may only come up with the first sandbox: bind with IP_FREEBIND.
        """
        return self._sandboxes.gateway

    # ------------------------------------------------------------ starting and ending

    async def start(self, spec: ProcessSpec) -> datetime:
        """Create the container in its sandbox and start it, or find that done."""
        try:
            return await self._start(spec)
        finally:
            self._listing.touch()

    async def _start(self, spec: ProcessSpec) -> datetime:
        sandbox_id = spec.sandbox_id or _OWN + spec.process_id
        if self._sandboxes.known(sandbox_id) is None:
            # Not made by us just now: the process may have been here before, and have ended.
            ended = await self._ended(spec.process_id)
            if ended is not None:
                return ended
        sandbox = await self._sandboxes.make(sandbox_id, spec.ports)
        created = await self._create(spec, sandbox_id, sandbox)
        if created.missing and not await self._sandboxes.find(sandbox_id):
            # The engine was restarted or somebody removed the holder: what we remembered is gone.
            self._sandboxes.forget(sandbox_id)
            sandbox = await self._sandboxes.make(sandbox_id, spec.ports)
            created = await self._create(spec, sandbox_id, sandbox)
        name = process_name(self._settings, spec.process_id)
        if created.in_use:
            state = await self._state(name)
            if phase_of(state) != "created":
                # Never start an ended one again: its end is a fact that the next pass must see.
                self._watch(spec.process_id, sandbox_id, sandbox)
                return moment(state.get("StartedAt")) or truncate(datetime.now(UTC))
        elif not created.ok:
            raise _start_failure(created, spec.image_ref)
        started = await self._engine.call("POST", f"/containers/{name}/start")
        if not started.ok:
            raise _start_failure(started, spec.image_ref)
        self._watch(spec.process_id, sandbox_id, sandbox)
        return truncate(datetime.now(UTC))

    async def _ended(self, process_id: str) -> datetime | None:
        """When a process that has ended was started; ``None`` for any other."""
        name = process_name(self._settings, process_id)
        answer = await self._engine.call("GET", f"/containers/{name}/json")
        if not answer.ok or phase_of(answer.data["State"]) != "exited":
            return None
        return moment(answer.data["State"].get("StartedAt")) or truncate(datetime.now(UTC))

    async def _create(self, spec: ProcessSpec, sandbox_id: str, sandbox: SandboxFacts) -> Answer:
        url = (
            self._settings.server_url
            or f"http://{self.api_bind_address()}:{self._settings.api_port}"
        )
        env = {**spec.env, "HATHORA_SERVER_URL": url, "HATHORA_PRIVATE_IP": sandbox.address}
        return await self._engine.call(
            "POST",
            "/containers/create",
            params={"name": process_name(self._settings, spec.process_id)},
            body=process_body(spec, self._settings, sandbox_id, env, self._engine.is_podman),
        )

    def _watch(self, process_id: str, sandbox_id: str, sandbox: SandboxFacts) -> None:
        self._joined[process_id] = sandbox_id
        self._spaces.add(process_id, NetSpace(sandbox.pid, sandbox.address))

    async def _state(self, name: str) -> dict[str, Any]:
        answer = await self._engine.call("GET", f"/containers/{name}/json")
        if not answer.ok:
            raise RuntimeAway(f"{name} cannot be read: {answer.message}")
        state: dict[str, Any] = answer.data["State"]
        return state

    async def signal(self, process_id: str, kill: bool) -> None:
        """SIGTERM to its first process, or SIGKILL to all; nothing where it does not run."""
        name = process_name(self._settings, process_id)
        number = "SIGKILL" if kill else "SIGTERM"
        answer = await self._engine.call(
            "POST", f"/containers/{name}/kill", params={"signal": number}
        )
        if answer.ok or answer.missing or answer.status == 409:
            return
        if not any(words in answer.message for words in _NOT_RUNNING):
            raise RuntimeAway(f"{name} could not be signalled: {answer.message}")

    async def remove(self, process_id: str) -> None:
        """Remove the container, then its sandbox; nothing where they are gone."""
        name = process_name(self._settings, process_id)
        sandbox_id = self._joined.get(process_id)
        if sandbox_id is None:
            answer = await self._engine.call("GET", f"/containers/{name}/json")
            labels = (answer.data["Config"].get("Labels") or {}) if answer.ok else {}
            sandbox_id = labels.get(LABEL_JOINS) or _OWN + process_id
        space = self._spaces.get(process_id)
        self._spaces.drop(process_id)
        await force_remove(self._engine, name)
        await self._sandboxes.remove(sandbox_id)
        if space is not None:
            await asyncio.to_thread(forget_flows, space.address)
        self._joined.pop(process_id, None)
        self._facts.forget(process_id)
        self._listing.touch()

    # ------------------------------------------------------------ sandboxes

    async def make_sandbox(self, spec: SandboxSpec) -> str | None:
        """Make a network namespace with its published ports, or find it made; its private IP."""
        try:
            return (await self._sandboxes.make(spec.sandbox_id, spec.ports)).address
        finally:
            self._listing.touch()

    async def remove_sandbox(self, sandbox_id: str) -> None:
        """Remove a sandbox that no process uses."""
        await self._sandboxes.remove(sandbox_id)
        self._listing.touch()

    async def remove_all(self) -> None:
        """Remove every container, sandbox and network of this installation. For ``innkeeper down``."""
        for label in (LABEL_PROCESS, LABEL_SANDBOX):  # what has joined goes before its sandbox
            containers = await self._listing.containers(label)
            await asyncio.gather(*(force_remove(self._engine, c["Id"]) for c in containers))
        await self._sandboxes.remove_network()
        self._spaces.close()

    # ------------------------------------------------------------ seeing

    async def observe(self) -> Listing:
        """What the engine lists; asked anew when something may have changed. ``RuntimeAway``."""
        watched = self._spaces.process_ids()
        processes = await self._listing.processes()
        sandboxes = await self._listing.sandboxes()
        seen: dict[str, ProcessSeen] = {}
        for process_id, (labels, fact) in processes.items():
            seen[process_id] = ProcessSeen(
                process_id, fact.phase, booted_at=fact.started_at, exit=fact.exit
            )
            joins = labels.get(LABEL_JOINS, _OWN + process_id)
            self._joined[process_id] = joins
            holder = sandboxes.get(joins)
            if (
                fact.phase == "running"
                and fact.pid
                and holder is not None
                and holder.address is not None
                and process_id not in watched
            ):
                self._spaces.add(process_id, NetSpace(fact.pid, holder.address))
        for process_id in watched:
            # Only what was watched before the listing began can be missing from it for good.
            if process_id not in seen or seen[process_id].phase == "exited":
                self._spaces.drop(process_id)
        await self._end_unreachable(seen, sandboxes)
        joined = {labels.get(LABEL_JOINS) for labels, _ in processes.values()}
        free = _free(sandboxes, joined)
        ended = frozenset(one for one in free if sandboxes[one].ended)
        return Listing(seen, {one: at for one, at in free.items() if one not in ended}, ended)

    async def _end_unreachable(
        self, seen: Mapping[str, ProcessSeen], sandboxes: Mapping[str, SandboxSeen]
    ) -> None:
        """A game whose sandbox was ended from outside runs on, and no player ever reaches it again."""
        for process_id, process in seen.items():
            holder = sandboxes.get(self._joined[process_id])
            if process.phase == "running" and holder is not None and holder.ended:
                self._facts.explain(process_id, "its network sandbox had ended")
                await self.signal(process_id, kill=True)

    def bound(self, process_id: str, ports: Sequence[PortSpec]) -> bool:
        """Whether traffic to every port has a taker in the process's namespace. Microseconds."""
        space = self._spaces.get(process_id)
        diag = self._spaces.diag(process_id)
        if space is None or diag is None or not ports:
            return False
        return all(
            diag.is_bound(port.protocol, port.container_port, space.address) for port in ports
        )

    def connections(self, process_id: str, ports: Sequence[PortSpec]) -> int | None:
        """Established TCP connections, and UDP flows of the last minute (behaviour.md 4.3)."""
        space = self._spaces.get(process_id)
        diag = self._spaces.diag(process_id)
        if space is None or diag is None:
            return None
        total = 0
        for protocol, port in {(port.protocol, port.container_port) for port in ports}:
            if protocol == "tcp":
                total += diag.established(port)
                continue
            flows = self._flows.udp(space.address, port)
            if flows is None:
                return None
            total += flows
        return total

    async def usage(self, process_ids: Collection[str]) -> Mapping[str, UsageSeen]:
        """From the control groups and network namespaces; after its end what its sandbox has sent."""
        places = [await self._measurable(process_id) for process_id in process_ids]
        return await asyncio.to_thread(usage_container.read, places)

    async def _measurable(self, process_id: str) -> Measurable:
        facts = self._facts.known(process_id)
        if facts is not None and facts.phase == "running" and facts.pid is not None:
            return Measurable(process_id, Inside(facts.container_id, facts.pid), None)
        sandbox_id = self._joined.get(process_id)
        if sandbox_id is None or facts is None:
            return Measurable(process_id, None, None)
        holder = self._sandboxes.known(sandbox_id) or await self._sandboxes.find(sandbox_id)
        inside = None if holder is None else Inside(holder.container_id, holder.pid)
        return Measurable(process_id, None, inside)

    async def log_source(self, process_id: str) -> LogSource | None:
        """The engine's log file of the container."""
        path = await self._facts.log_path(process_id, process_name(self._settings, process_id))
        if path is None:
            return None
        return LogSource(path, log_format(self._engine.is_podman))

    async def changes(self) -> AsyncIterator[str]:
        """Process ids from the engine's events. Comes back after the engine was away; ends at close."""
        async for process_id in process_events(
            self._engine,
            self._settings.installation,
            self._closed,
            self._revive,
            self._listing.touch,
        ):
            self._listing.touch_processes()
            yield process_id


def _free(
    sandboxes: Mapping[str, SandboxSeen], joined: Collection[str | None]
) -> dict[str, str | None]:
    """Sandboxes that no process has joined, less those that one has just made for itself."""
    now = datetime.now(UTC).timestamp()
    return {
        sandbox_id: seen.address
        for sandbox_id, seen in sandboxes.items()
        if sandbox_id not in joined
        and not (sandbox_id.startswith(_OWN) and now - seen.created_s < _OWN_LOST_AFTER_S)
    }


def _start_failure(answer: Answer, image_ref: str) -> StartFailed:
    message = answer.message
    if "no such image" in message.lower() or "image not known" in message.lower():
        return StartFailed(f"image {image_ref} is gone")
    return StartFailed(message)
