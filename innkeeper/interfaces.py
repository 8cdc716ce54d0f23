"""What the rules and use cases ask of the world. (Never "ports": here a port is a number.)

Concrete parts live in ``store``, ``runtime``, ``edge`` and ``telemetry``; only ``wiring`` chooses among them.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol, TypeVar

from innkeeper.core.billing import Prices
from innkeeper.core.ids import Ids
from innkeeper.core.players import GoogleIdentity
from innkeeper.core.snapshot import Limits, ProcessSeen
from innkeeper.core.usage import UsageSeen

T = TypeVar("T")
Row = Mapping[str, Any]


# ---------------------------------------------------------------- the store


class Tx(Protocol):
    """One transaction. Queries are named: ``"rooms.by_id"`` is the query ``by_id`` of
    ``store/sql/rooms.sql``.
    """

    def one(self, query: str, **params: Any) -> Row | None:
        """The first row, or ``None``."""
        ...

    def all(self, query: str, **params: Any) -> Sequence[Row]:
        """Every row; the query itself carries a LIMIT where it could grow."""
        ...

    def run(self, query: str, **params: Any) -> int:
        """How many rows the statement changed."""
        ...


class Store(Protocol):
    """The truth. A write is durable when its awaitable is done; many callers share one commit."""

    def write(self, fn: Callable[[Tx], T]) -> Awaitable[T]:
        """Run ``fn`` in the writer; done after the commit. An exception undoes what ``fn`` wrote,
        and is raised. ``fn`` may be run again from its beginning, so that it must change nothing but
        what it makes itself and what it reaches through its ``Tx``; wake-ups may repeat.
        """
        ...

    def read(self, fn: Callable[[Tx], T]) -> Awaitable[T]:
        """Run ``fn`` on what is committed; it cannot write."""
        ...

    async def close(self) -> None:
        """Finish the writes under way and close."""
        ...


# ---------------------------------------------------------------- the use cases' surroundings


@dataclass(frozen=True, slots=True)
class Policy:
    """The settings that use cases obey."""

    regions: tuple[str, ...]
    public_host: str
    limits: Limits
    memory_mb_max: int = 8192
    log_retention_hours: int = 72
    build_size_max: int = 10 * 1024**3
    chunk_bytes_max: int = 100 * 1024**2
    additional_ports_max: int = 2
    port_rest_s: float = 60.0
    upload_url_ttl_s: int = 24 * 3600
    accept_unenforced: bool = False
    registry_builds: bool = True
    lobbies_per_player_hour: int = 10  # 0: as many as they like
    public_url: str | None = None  # of the API; None: as each request addressed it
    prices: Prices = Prices()
    monthly_vcpu_hours_limit: float | None = None  # of each organization that has none of its own


@dataclass(slots=True)
class Context:
    """What a use case gets beside its input: the moment, chance, the settings, and a way to leave hints.

    ``wake`` collects keys (app id, region) that a pass should look at once the transaction is durable.
    """

    now: datetime
    ids: Ids
    policy: Policy
    wake: list[tuple[str, str]] = field(default_factory=list)


class Clock(Protocol):
    """The present moment: UTC with a zone, whole milliseconds."""

    def __call__(self) -> datetime: ...


# ---------------------------------------------------------------- the runtime


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


@dataclass(frozen=True, slots=True)
class BuiltImage:
    """What a build left in the runtime."""

    image_ref: str
    size_bytes: int


class Builder(Protocol):
    """Turns an archive, or a registry's image, into something the runtime can start."""

    def build(
        self, build_key: str, archive: Path, log: Callable[[str], None]
    ) -> Awaitable[BuiltImage]:
        """Build a checked ``.tar.gz``; each ``log`` call is one line. Raises ``BuildFailed`` with
        a reason for people.
        """
        ...

    def pull(
        self,
        build_key: str,
        image: str,
        registry_url: str | None,
        auth: str | None,
        log: Callable[[str], None],
    ) -> Awaitable[BuiltImage]:
        """Pull a registry's image and keep it under our own name. Raises ``BuildFailed``. ``auth``
        is not kept.
        """
        ...

    async def delete(self, image_ref: str) -> None:
        """Give the disk space back; processes that run it live on. Nothing where it is gone."""
        ...

    async def discard(self, build_key: str) -> None:
        """Remove whatever a build left that did not come to its end. Nothing where it left nothing."""
        ...


class BuildRunner(Protocol):
    """Runs builds one at a time, beside the requests that asked for them."""

    async def run_upload(self, build_key: str) -> AsyncIterator[bytes]:
        """Start the build of an uploaded archive; its log, until its status is final. A reader
        that leaves stops nothing.
        """
        ...

    async def run_registry(
        self, build_key: str, image: str, registry_url: str | None, auth: str | None
    ) -> AsyncIterator[bytes]:
        """The same for a registry's image."""
        ...

    async def discard(self, build_key: str, image_ref: str | None) -> None:
        """Give back a deleted build's disk space, soon; a build that is running is stopped."""
        ...

    def read_log(self, build_key: str) -> AsyncIterator[bytes]:
        """What the build has logged so far; empty where there is nothing."""
        ...


@dataclass(frozen=True, slots=True)
class ReceivedArchive:
    """An archive that came in one piece: its size in bytes and its SHA-256, hex."""

    size: int
    content_hash: str


class Uploads(Protocol):
    """Keeps the parts of archives on disk until their build has run."""

    async def put_part(
        self, build_key: str, part_number: int, size: int, body: AsyncIterator[bytes]
    ) -> str:
        """Keep one part of exactly ``size`` bytes, replacing an earlier one; returns its ETag:
        quoted hex MD5.

        Raises ``Invalid`` on a wrong size, ``TimedOut``, ``Unavailable`` on a full disk and
        ``StateConflict`` where the upload is over; leaves no file of a refused part behind.
        """
        ...

    async def assemble(self, build_key: str, parts: Sequence[tuple[int, str]], size: int) -> str:
        """Make the archive of ``size`` bytes from its parts (number, ETag); returns its SHA-256, hex.

        Raises ``Invalid`` where a part is missing or differs, ``Unavailable`` on a full disk. Once it
        is made, says the same again.
        """
        ...

    async def put_archive(
        self, build_key: str, size_max: int, body: AsyncIterator[bytes]
    ) -> ReceivedArchive:
        """Keep an archive that comes in one piece, of at most ``size_max`` bytes.

        Raises ``TooLarge``, ``TimedOut``, ``Invalid`` where it is empty, ``Unavailable`` on a full
        disk, and ``StateConflict`` where the build has another archive already; a repeat of the
        same one is welcome. Leaves no file of a refused archive behind.
        """
        ...

    def archive(self, build_key: str) -> Path | None:
        """The assembled archive, or ``None``."""
        ...

    async def discard(self, build_key: str) -> None:
        """Remove parts and archive."""
        ...

    async def sweep(self, wanted: Collection[str]) -> None:
        """Remove what belongs to none of the ``wanted`` builds, and what a crash left half-written."""
        ...


class Logs(Protocol):
    """Reads process logs, whether the runtime still holds them or they have been kept."""

    def stream(self, process_id: str, tail_lines: int | None, follow: bool) -> AsyncIterator[bytes]:
        """Whole lines in order, without added timestamps; with ``follow``, on until the process has ended."""
        ...

    async def keep(self, process_id: str, source: LogSource | None) -> None:
        """Move what the runtime holds into our own files; safe to repeat."""
        ...

    async def prune(self, keep_after: Mapping[str, datetime] | None = None) -> None:
        """Remove kept logs past their retention."""
        ...


class GoogleIdentities(Protocol):
    """Checks id tokens that Google signed."""

    async def identity(self, id_token: str, client_id: str, now: datetime) -> GoogleIdentity:
        """Who the token is of, if it was made for ``client_id`` and is in its time.

        Raises ``Unauthenticated``, and ``Unavailable`` where Google's keys cannot be had.
        """
        ...
