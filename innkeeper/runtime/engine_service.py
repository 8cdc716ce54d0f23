"""Finds a container engine, or runs one: Podman's API service with a configuration of our own.

The service lives in a session of its own, survives us, and is known by pid and start time. All its
state is in the data directory, its sockets in a short directory below /run; no system file is edited.
"""

import asyncio
import fcntl
import hashlib
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from string import Template

from innkeeper.core.errors import RuntimeAway
from innkeeper.runtime import engine_leftovers, proc_table
from innkeeper.runtime.engine import Engine
from innkeeper.runtime.engine_limits import own_limits
from innkeeper.runtime.mounts import remove_tree, unmount_below

SYSTEM_SOCKETS = (
    Path("/run/docker.sock"),
    Path("/var/run/docker.sock"),
    Path("/run/podman/podman.sock"),
)
_SOCKET_PATH_MAX = 107  # bytes: what fits into sockaddr_un
_PROBE_TIMEOUT_S = 3.0
_START_TIMEOUT_S = 30.0
_STOP_TIMEOUT_S = 5.0
_POLL_S = 0.02
_LOG_BYTES_MAX = 10 * 1024**2
_NETAVARK = (
    "/usr/local/libexec/podman",
    "/usr/local/lib/podman",
    "/usr/libexec/podman",
    "/usr/lib/podman",
)
_PASSED_ON = (
    "PATH",
    "HOME",
    "LANG",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
)


@dataclass(frozen=True, slots=True)
class _Identity:
    """Which process the service is. A pid alone may be another program's by now."""

    pid: int
    start_time: int  # clock ticks after boot
    boot_id: str


async def answers(socket_path: Path) -> bool:
    """Whether a container engine answers there within a few seconds."""
    if not _may_answer(socket_path):
        return False
    engine = Engine(socket_path)
    try:
        async with asyncio.timeout(_PROBE_TIMEOUT_S):
            await engine.open()
    except (RuntimeAway, TimeoutError):
        return False
    finally:
        await engine.close()
    return True


def _may_answer(socket_path: Path) -> bool:
    return len(os.fsencode(socket_path)) <= _SOCKET_PATH_MAX and socket_path.is_socket()


async def find_engine(data_dir: Path, engine_socket: Path | None = None) -> "FoundEngine":
    """The engine to use: the given socket, one that answers on this machine, or a service of our own.

    An installation that began with a service of its own keeps it. Raises ``RuntimeAway`` where there is none.
    """
    if engine_socket is not None:
        if not await answers(engine_socket):
            raise RuntimeAway(f"no container engine answers at {engine_socket}")
        return FoundEngine(engine_socket, None)
    service = EngineService(data_dir)
    if not service.was_used():
        for candidate in _candidates():
            if await answers(candidate):
                return FoundEngine(candidate, None)
    if not can_run_service():
        raise RuntimeAway("no container engine answers, and Podman cannot be run as root here")
    await service.ensure()
    return FoundEngine(service.socket_path, service)


async def engine_exists(data_dir: Path, engine_socket: Path | None = None) -> bool:
    """Whether :func:`find_engine` would succeed; starts nothing. For ``--runtime auto``."""
    if engine_socket is not None:
        return await answers(engine_socket)
    if can_run_service():
        return True
    for candidate in _candidates():
        if await answers(candidate):
            return True
    return False


def can_run_service() -> bool:
    """Whether Podman and runc are installed and we are root."""
    return os.geteuid() == 0 and all(shutil.which(name) for name in ("podman", "runc"))


def _candidates() -> list[Path]:
    docker_host = os.environ.get("DOCKER_HOST", "")
    told = [Path(docker_host.removeprefix("unix://"))] if docker_host.startswith("unix://") else []
    return told + list(SYSTEM_SOCKETS)


def stop_engine_service(data_dir: Path) -> bool:
    """End the installation's own service, if there is one; containers are not its children. Within 10 s."""
    return EngineService(data_dir).stop()


class EngineService:
    """The Podman API service of one data directory."""

    def __init__(self, data_dir: Path) -> None:
        self._dir = data_dir.resolve() / "engine"
        digest = hashlib.sha256(os.fsencode(self._dir)).hexdigest()[:8]
        # Podman bounds the length of its run root (50), the kernel that of a socket's path (107).
        self._run_dir = Path(f"/run/innkeeper-{digest}")
        self._identity_file = self._dir / "service.json"
        self._log_file = self._dir / "service.log"
        self._ensuring = asyncio.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self.socket_path = self._run_dir / "podman.sock"

    def was_used(self) -> bool:
        """Whether this installation has run a service of its own before."""
        return (self._dir / "network_backend").exists()

    async def ensure(self) -> None:
        """Start the service unless it runs and answers. Raises ``RuntimeAway`` with its last words."""
        async with self._ensuring:
            self._dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(self._dir / "ensure.lock", os.O_RDWR | os.O_CREAT, 0o600)
            try:
                # Of several servers that miss it, one starts it.
                await asyncio.to_thread(fcntl.flock, lock, fcntl.LOCK_EX)
                await self._ensure()
            finally:
                os.close(lock)

    async def _ensure(self) -> None:
        if await asyncio.to_thread(self._found) and await answers(self.socket_path):
            return
        await asyncio.to_thread(self.stop, False)
        await asyncio.to_thread(self._start)
        deadline = time.monotonic() + _START_TIMEOUT_S
        while not await answers(self.socket_path):
            if self._running() is None or time.monotonic() > deadline:
                raise RuntimeAway(f"Podman's API service does not start: {self._last_words()}")
            await asyncio.sleep(_POLL_S)

    def stop(self, for_good: bool = True) -> bool:
        """End the service by its id; whether there was one. ``for_good`` also lets go of its mounts."""
        identity = self._running()
        for one in [identity] if identity is not None else self._unrecorded():
            _end(one, self._reap)
            identity = one
        self._reap()
        self.socket_path.unlink(missing_ok=True)
        if for_good:
            self._identity_file.unlink(missing_ok=True)
            unmount_below(self._dir)
            if not self._holds_containers():
                # Without it, Podman would take containers that still run for ended ones.
                unmount_below(self._run_dir)
                remove_tree(self._run_dir)
        return identity is not None

    def _start(self) -> None:
        ran = self._ran_in_this_boot()
        self._make_dirs()
        self._write_configuration()
        env = self._environment()
        if ran:
            # And did not end in peace, or it would not be on record.
            engine_leftovers.clear(engine_leftovers.Place(self._dir, self._run_dir, env))
        if self._log_file.exists() and self._log_file.stat().st_size > _LOG_BYTES_MAX:
            os.truncate(self._log_file, 0)
        with self._log_file.open("ab") as log:
            self._child = subprocess.Popen(
                ["podman", "system", "service", "--time=0", f"unix://{self.socket_path}"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=env,
                cwd=self._dir,  # a file that conmon drops where it was started stays in here
                start_new_session=True,
            )
        identity = _identify(self._child.pid)
        if identity is not None:
            _write(self._identity_file, json.dumps(asdict(identity)))

    def _ran_in_this_boot(self) -> bool:
        try:
            booted = (self._run_dir / "boot_id").read_text("utf-8")
        except FileNotFoundError:
            return False
        return self._identity_file.exists() and booted == proc_table.boot_id()

    def _environment(self) -> dict[str, str]:
        env = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        env["CONTAINERS_CONF"] = str(self._dir / "containers.conf")
        env["CONTAINERS_STORAGE_CONF"] = str(self._dir / "storage.conf")
        env["CONTAINERS_REGISTRIES_CONF"] = str(self._dir / "registries.conf")
        return env

    def _make_dirs(self) -> None:
        boot_file = self._run_dir / "boot_id"
        if self._run_dir.exists():
            if self._run_dir.stat().st_uid != os.geteuid():
                raise RuntimeAway(f"{self._run_dir} belongs to somebody else")
            if not boot_file.exists() or boot_file.read_text() != proc_table.boot_id():
                # Podman takes what it finds here for running; where /run is a disk, a restart leaves it.
                unmount_below(self._run_dir)
                unmount_below(self._dir)
                remove_tree(self._run_dir)
        for path in (self._dir, self._run_dir):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        boot_file.write_text(proc_table.boot_id())

    def _write_configuration(self) -> None:
        values = {
            **own_limits(),
            "events": self._dir / "events.log",
            "tmp_dir": self._run_dir / "tmp",
            "run_root": self._run_dir / "run",
            "graph_root": self._dir / "storage",
            "network_backend": self._network_backend(),
            "network_config_dir": self._dir / "networks",
        }
        templates = resources.files("innkeeper.runtime") / "engine_conf"
        for name in ("containers.conf", "storage.conf", "registries.conf"):
            text = Template((templates / name).read_text("utf-8")).substitute(values)
            _write(self._dir / name, text)

    def _holds_containers(self) -> bool:
        containers = self._dir / "storage" / "overlay-containers"
        return containers.exists() and any(entry.is_dir() for entry in containers.iterdir())

    def _network_backend(self) -> str:
        """Netavark where it is installed, else CNI. The first choice stays: the two share no state."""
        chosen = self._dir / "network_backend"
        if not chosen.exists():
            netavark = any((Path(place) / "netavark").exists() for place in _NETAVARK)
            _write(chosen, "netavark" if netavark else "cni")
        return chosen.read_text("utf-8").strip()

    def _running(self) -> _Identity | None:
        self._reap()
        try:
            recorded = _Identity(**json.loads(self._identity_file.read_text("utf-8")))
        except (FileNotFoundError, ValueError, TypeError):
            return None
        return recorded if _identify(recorded.pid) == recorded else None

    def _found(self) -> bool:
        """Whether it runs; one that we started and were killed before we wrote it down is written down."""
        if self._running() is not None:
            return True
        unrecorded = self._unrecorded()
        if len(unrecorded) != 1:
            return False
        _write(self._identity_file, json.dumps(asdict(unrecorded[0])))
        return True

    def _unrecorded(self) -> list[_Identity]:
        """Every service for our socket, by its command. Some 20 us for each process of the machine."""
        address = os.fsencode(f"unix://{self.socket_path}")
        found = []
        for pid in proc_table.pids():
            try:
                words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            except (FileNotFoundError, ProcessLookupError):
                continue  # it ended meanwhile
            if words[1:3] == [b"system", b"service"] and address in words:
                identity = _identify(pid)
                found += [identity] if identity is not None else []
        return found

    def _reap(self) -> None:
        if self._child is not None and self._child.poll() is not None:
            self._child = None

    def _last_words(self) -> str:
        try:
            text = self._log_file.read_bytes()[-2000:].decode("utf-8", "replace").strip()
        except FileNotFoundError:
            return "it left no log"
        return text.splitlines()[-1] if text else "it left no log"


@dataclass(frozen=True, slots=True)
class FoundEngine:
    """An engine's socket; ``service`` if it is one of our own, which we keep running."""

    socket_path: Path
    service: EngineService | None


def _identify(pid: int) -> _Identity | None:
    """The identity of a living process; ``None`` if there is none, or it only waits to be reaped."""
    found = proc_table.stat(pid)
    if found is None or found.state in "ZX":
        return None
    return _Identity(pid, found.start_ticks, proc_table.boot_id())


def _end(identity: _Identity, reap: Callable[[], None]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.kill(identity.pid, number)
        except ProcessLookupError:
            return
        deadline = time.monotonic() + _STOP_TIMEOUT_S
        while time.monotonic() < deadline:
            reap()
            if _identify(identity.pid) != identity:
                return
            time.sleep(_POLL_S)
    raise RuntimeAway(f"Podman's API service (pid {identity.pid}) does not end")


def _write(path: Path, text: str) -> None:
    """Replace a file at once: a reader never sees half of it."""
    draft = path.with_suffix(path.suffix + ".new")
    draft.write_text(text, "utf-8")
    draft.replace(path)
