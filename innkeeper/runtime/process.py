"""The ``process`` runtime: plain host processes, each in a session of its own, for development
without an engine.

It keeps nothing that a restart must recover: what was started stands in files
(:mod:`innkeeper.runtime.places`), how it ended is written by its supervisor, and a process is known
by pid, start time and boot. All processes share the host's network, so a game must bind ``PORT``.
Nothing isolates the file system but a chroot (as root).
"""

import asyncio
import logging
import os
import shutil
import socket
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from innkeeper.core.errors import PortTaken, RuntimeAway, StartFailed
from innkeeper.core.moments import from_ms, to_ms
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
from innkeeper.runtime import cgroups, images, places, started, supervisor
from innkeeper.runtime.port_owners import PortOwners
from innkeeper.runtime.process_spec import host_env, supervisor_spec
from innkeeper.runtime.started import Started
from innkeeper.runtime.usage_process import ProcessUsage
from innkeeper.runtime.zygote_client import ZygoteClient

_log = logging.getLogger(__name__)
_AGAIN_S, _AGAIN_TRIES = (
    0.01,
    500,
)  # another supervisor has the process: how often to look for its record
_HINTS_MAX = 10_000
LOG_BYTES_MAX = 100 * 1024 * 1024


class ProcessRuntime:
    """:class:`innkeeper.interfaces.Runtime` on plain host processes.

    ``directory`` is its own, below the data directory. ``api_url`` is where a process on this host
    reaches the API. ``addresses`` are those that players come to; a port bound only elsewhere is
    not ready.
    """

    def __init__(
        self,
        directory: Path,
        *,
        installation_id: str,
        api_url: str,
        clock: Clock,
        addresses: Sequence[str] = ("127.0.0.1",),
        private_ip: str | None = None,
        log_bytes_max: int = LOG_BYTES_MAX,
    ) -> None:
        self._directory = directory.absolute()
        self._where = str(self._directory)
        self._installation_id = installation_id
        self._api_url = api_url
        self._clock = clock
        self._private_ip = private_ip or primary_address()
        self._addresses = tuple(addresses)
        self._cgroup = cgroups.layout() if os.geteuid() == 0 else None
        self._zygote = ZygoteClient(self._directory, log_bytes_max)
        self._usage = ProcessUsage(self._where)
        self._hints: asyncio.Queue[str | None] = asyncio.Queue(_HINTS_MAX)
        self._hint_socket: socket.socket | None = None
        self._ports: PortOwners | None = None
        # Facts that never change, read once: a start record, and what was in the way of a process
        # that failed.
        self._started: dict[str, Started] = {}
        self._details: dict[str, str] = {}
        self.capabilities = Capabilities(
            name="process",
            own_network=False,
            sandboxes=False,
            registry_images=False,
            enforces_limits=self._cgroup is not None,
        )

    # ------------------------------------------------------------ life of the driver

    async def open(self) -> None:
        """Make the directories, find or start the zygote. Raises :class:`RuntimeAway`."""
        places.make_all(self._where)
        if os.geteuid() != 0:
            _log.warning(
                "process runtime without root: games run as your own user and see your files"
            )
        if self._cgroup is None:
            _log.warning(
                "process runtime: no writable control groups, CPU and memory limits do not hold"
            )
        self._ports = PortOwners(self._addresses)
        await self._zygote.open()
        await asyncio.to_thread(images.sweep, self._directory)

    async def close(self) -> None:
        """Let go of sockets; the zygote, the supervisors and the games go on."""
        self._deaf()
        if self._ports is not None:
            self._ports.close()
            self._ports = None
        if self._hints.full():
            self._hints.get_nowait()
        self._hints.put_nowait(None)

    async def changes(self) -> AsyncIterator[str]:
        """Ids of processes that ended; ends when the driver closes. Whoever asked last hears them, of all the
        servers that share the directory.
        """
        self._listen()
        while (process_id := await self._hints.get()) is not None:
            yield process_id
        self._hints.put_nowait(None)  # for another reader

    def _deaf(self) -> None:
        if self._hint_socket is not None:
            asyncio.get_running_loop().remove_reader(self._hint_socket)
            self._hint_socket.close()
            self._hint_socket = None

    def _listen(self) -> None:
        self._deaf()
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        listener.setblocking(False)
        (self._directory / "hints.sock").unlink(missing_ok=True)
        with places.socket_address(self._where, "hints.sock") as address:
            listener.bind(address)
        asyncio.get_running_loop().add_reader(listener, self._take_hint, listener)
        self._hint_socket = listener

    def _take_hint(self, listener: socket.socket) -> None:
        try:
            process_id = listener.recv(200).decode(errors="replace")
        except BlockingIOError:
            return
        if not self._hints.full():  # a hint that is lost costs nothing but time
            self._hints.put_nowait(process_id)

    # ------------------------------------------------------------ start

    async def start(self, spec: ProcessSpec) -> datetime:
        """Raises :class:`PortTaken`, :class:`StartFailed`, :class:`RuntimeAway`; starts a process
        once for ever.
        """
        _check_id(spec.process_id)
        known = started.load(self._where, spec.process_id)
        if known is not None:
            return known.booted_at
        images.check_name(spec.image_ref)
        image = images.load(self._directory, spec.image_ref)
        if image is None:
            raise StartFailed(f"its image {spec.image_ref} is gone")
        self._refuse_taken_ports(spec.ports)
        env = host_env(spec, image, self._api_url, self._private_ip)
        record = supervisor_spec(spec, image, env, self._installation_id)
        os.makedirs(places.process_dir(self._where, spec.process_id), mode=0o700, exist_ok=True)
        places.write_json(places.spec_path(self._where, spec.process_id), record)
        for _ in range(_AGAIN_TRIES):
            answer = await self._zygote.start(spec.process_id)
            if "booted_at" in answer:
                return from_ms(answer["booted_at"])
            if "failed" in answer:
                raise StartFailed(_why(answer, record, image))
            # A supervisor that an earlier call asked for is at work on it, or on its way out.
            await asyncio.sleep(_AGAIN_S)
            known = started.load(self._where, spec.process_id)
            if known is not None:
                return known.booted_at
        raise RuntimeAway(f"the supervisor of {spec.process_id} neither starts it nor gives up")

    def _refuse_taken_ports(self, ports: Sequence[PortSpec]) -> None:
        owners = self._owners()
        for port in ports:
            holder = owners.holder(port.protocol, port.host_port, list(self._started.values()))
            if holder is not None:
                raise PortTaken(port.host_port, holder)

    # ------------------------------------------------------------ end

    async def signal(self, process_id: str, kill: bool) -> None:
        """SIGTERM to the first process, or SIGKILL to all of its session and descendants."""
        known = self._known(process_id)
        if known is None:
            return
        if not kill:
            known.terminate()
            return
        await asyncio.to_thread(self._kill, known)

    def _kill(self, known: Started) -> None:
        if not known.kill(started.supervised(self._where, known.process_id)):
            raise RuntimeAway(f"process {known.process_id} does not end although it was killed")

    async def remove(self, process_id: str) -> None:
        """Kill what is left of it and remove its files, its log too; then images that only it still
        needed.
        """
        _check_id(process_id)
        await asyncio.to_thread(self._remove, process_id)
        self._started.pop(process_id, None)
        self._details.pop(process_id, None)
        if self._ports is not None:
            self._ports.forget(process_id)

    def _remove(self, process_id: str) -> None:
        place = places.process_dir(self._where, process_id)
        if os.path.isdir(place):
            held = self._end_supervised(process_id)
            try:
                # With the lock held no supervisor can start it; one that was killed may have left a
                # game behind.
                known = self._known(process_id)
                if known is not None:
                    self._kill(known)
                    if known.group is not None:
                        known.group.remove()
                shutil.rmtree(place)
            finally:
                os.close(held)
        Path(places.exit_path(self._where, process_id)).unlink(missing_ok=True)
        images.sweep(self._directory)

    def _end_supervised(self, process_id: str) -> int:
        """Kill the game until its supervisor has recorded that and gone; returns the lock, held."""
        for _ in range(_AGAIN_TRIES):
            held = supervisor.lock(self._where, process_id)
            if held is not None:
                return held
            known = self._known(process_id)
            if known is not None:
                known.kill(supervised=True)
            supervisor.pause(_AGAIN_S)
        raise RuntimeAway(f"the supervisor of {process_id} does not end")

    # ------------------------------------------------------------ observe

    async def observe(self) -> Listing:
        """Every process with a directory here: one stat and one small read for each that runs."""
        return Listing(await asyncio.to_thread(self._observe), {})

    def _observe(self) -> dict[str, ProcessSeen]:
        seen = {}
        there = os.listdir(f"{self._where}/processes")
        for process_id in set(self._started).difference(there):
            self._started.pop(process_id, None)
        for process_id in there:
            known = self._known(process_id)
            if known is None:
                seen[process_id] = ProcessSeen(process_id, "created")
                continue
            ended = self._exit(known)
            phase: Any = "running" if ended is None else "exited"
            seen[process_id] = ProcessSeen(process_id, phase, known.booted_at, exit=ended)
        return seen

    def _exit(self, known: Started) -> Exit | None:
        if known.alive():
            return None
        path = places.exit_path(self._where, known.process_id)
        record = places.read_json(path)
        if record is None:
            if started.supervised(self._where, known.process_id):
                return None  # it will be recorded in a moment
            # Nobody saw the end. Say so once, unless the supervisor said more just before it left.
            unknown = {"code": None, "signal": None, "oom": False, "at": to_ms(self._clock())}
            places.write_json(path, unknown, keep_old=True)
            record = places.read_json(path)
            assert record is not None
        detail = "" if record["code"] in (0, None) or record["oom"] else self._detail(known)
        return Exit(record["code"], record["signal"], record["oom"], from_ms(record["at"]), detail)

    def _detail(self, known: Started) -> str:
        """Why it may have failed: it bound the port of its container instead of ``PORT``, and that
        was taken.
        """
        detail = self._details.get(known.process_id)
        if detail is not None:
            return detail
        owners = PortOwners(self._addresses)
        try:
            for _name, inside, outside, protocol in known.ports:
                holder = None
                if inside != outside:
                    holder = owners.holder(protocol, inside, list(self._started.values()))
                if holder is not None:
                    detail = (
                        f"port {inside} is held by {holder}; "
                        f"in this runtime a game must bind PORT, {outside}"
                    )
                    break
        finally:
            owners.close()
        return self._details.setdefault(known.process_id, detail or "")

    def bound(self, process_id: str, ports: Sequence[PortSpec]) -> bool:
        """Whether every port is bound by this process or its descendants."""
        known = self._known(process_id)
        return known is not None and self._owners().bound(known, ports)

    def connections(self, process_id: str, ports: Sequence[PortSpec]) -> int | None:
        """Established TCP connections; ``None`` where a port is UDP."""
        return self._owners().connections(ports)

    async def usage(self, process_ids: Collection[str]) -> Mapping[str, UsageSeen]:
        """CPU and memory; egress of processes without a UDP port."""
        known = [one for one in map(self._known, process_ids) if one is not None]
        return await asyncio.to_thread(self._usage.read, known)

    async def log_source(self, process_id: str) -> LogSource | None:
        """Its raw output."""
        path = places.log_path(self._where, process_id)
        held = await asyncio.to_thread(os.path.exists, path)
        return LogSource(Path(path), "raw") if held else None

    # ------------------------------------------------------------ sandboxes: none here

    async def make_sandbox(self, spec: SandboxSpec) -> str | None:
        """There are none: all processes share the host's network."""
        return None

    async def remove_sandbox(self, sandbox_id: str) -> None:
        """There are none."""

    # ------------------------------------------------------------

    def _known(self, process_id: str) -> Started | None:
        known = self._started.get(process_id) or started.load(self._where, process_id)
        if known is not None:
            self._started[process_id] = known
        return known

    def _owners(self) -> PortOwners:
        assert self._ports is not None, "the runtime is not open"
        return self._ports


def _check_id(process_id: str) -> None:
    # It becomes a file name; ids are ours, so anything else is a mistake of ours.
    assert process_id.replace("-", "").isalnum(), process_id


def _why(answer: dict[str, Any], record: dict[str, Any], image: images.Image) -> str:
    if answer["failed"] == "exec":
        return images.why_not_started(image, record["program"], answer["errno"])
    if answer["failed"] == "removed":
        return "it was removed meanwhile"
    return f"the host refused ({answer['failed']}): {os.strerror(answer['errno'])}"


def primary_address() -> str:
    """This host's address on its way out, found without sending anything; the loopback where there
    is none.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return "127.0.0.1"
        address: str = probe.getsockname()[0]
    return address
