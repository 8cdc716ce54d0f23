"""Which driver runs the games, with its builder."""

import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from innkeeper.config import Settings
from innkeeper.config.values import primary_address
from innkeeper.interfaces import Builder, Runtime
from innkeeper.runtime import image_archive
from innkeeper.runtime.archive import ArchiveLimits
from innkeeper.runtime.container import ContainerRuntime
from innkeeper.runtime.container_builder import ContainerBuilder
from innkeeper.runtime.container_spec import ContainerSettings
from innkeeper.runtime.engine import Engine
from innkeeper.runtime.engine_service import engine_exists, find_engine
from innkeeper.runtime.process import ProcessRuntime
from innkeeper.runtime.process_builder import ProcessBuilder
from innkeeper.wiring.last_run import last_run
from innkeeper.wiring.listening import Listening


@dataclass(frozen=True, slots=True)
class RuntimeParts:
    """A driver and its builder. ``engine_socket`` where it was told or found, for ``down``.

    ``load_images`` takes in an archive of images, where there is an engine.
    """

    runtime: Runtime
    builder: Builder
    engine_socket: Path | None = None
    load_images: Callable[[Path], Awaitable[None]] | None = None

    def gateway(self) -> str | None:
        """Where containers reach this machine, once the driver is open; ``None``: as everybody does."""
        if isinstance(self.runtime, ContainerRuntime):
            return self.runtime.api_bind_address()
        return None


def now() -> datetime:
    """The present moment: UTC, whole milliseconds."""
    moment = datetime.now(UTC)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


async def choose_runtime(settings: Settings, announce: Callable[[str], None]) -> str:
    """``container`` or ``process``; ``auto`` takes host processes only where there is no engine.

    One that was told, or used here before, may only be away: games must not lose their walls for that.
    """
    if settings.runtime != "auto":
        return settings.runtime
    before = last_run(settings.data_dir)
    expected = settings.engine_socket is not None or (before and before.runtime == "container")
    if expected or await engine_exists(settings.data_dir):
        return "container"
    announce(
        "WARNING: no container engine on this machine, or not for this user: games run as plain "
        "host processes, without isolation. `make install` (as root) provides an engine."
    )
    return "process"


async def make_runtime(
    name: str, settings: Settings, installation_id: str, listening: Listening
) -> RuntimeParts:
    """The driver of this name, not opened yet. Raises ``RuntimeAway`` without an engine."""
    # Of several servers this one may end before its games do: they are told what stands before all of them.
    shared = settings.public_url if settings.shared_store else None
    if name == "process":
        return process_parts(settings, installation_id, shared or listening.local_url(settings))
    # With TLS, games reach the API by the name that its certificate is for.
    url = shared or (listening.local_url(settings) if settings.tls_cert is not None else None)
    return await container_parts(settings, installation_id, listening.port, url)


def archive_limits(settings: Settings) -> ArchiveLimits:
    """What an uploaded archive may hold: ``--build-size-max`` bounds its files too."""
    return ArchiveLimits(bytes_max=settings.build_size_max)


def process_parts(settings: Settings, installation_id: str, api_url: str) -> RuntimeParts:
    """Plain host processes, below ``processes`` in the data directory."""
    directory = settings.data_dir / "processes"
    runtime = ProcessRuntime(
        directory,
        installation_id=installation_id,
        api_url=api_url,
        clock=now,
        log_bytes_max=settings.log_cap_bytes,
        addresses=(player_address(settings.resolved_public_host()),),
    )
    return RuntimeParts(runtime, ProcessBuilder(directory, limits=archive_limits(settings)))


def player_address(public_host: str) -> str:
    """The address of this machine that players' packets arrive at.

    Behind a router the public one is not here: then it is the primary one.
    """
    try:
        if ":" in public_host:
            family, address = socket.AF_INET6, public_host
        else:
            family, address = socket.AF_INET, socket.gethostbyname(public_host)
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((address, 0))
    except OSError:
        return primary_address()
    return address


async def container_parts(
    settings: Settings, installation_id: str, api_port: int, server_url: str | None
) -> RuntimeParts:
    """Containers of the engine that is told, found, or our own."""
    found = await find_engine(settings.data_dir, settings.engine_socket)
    engine = Engine(found.socket_path)
    own = ContainerSettings(
        installation=installation_id,
        api_port=api_port,
        server_url=server_url,
        log_bytes_max=settings.log_cap_bytes,
    )
    revive = None if found.service is None else found.service.ensure
    runtime = ContainerRuntime(engine, own, revive)
    socket = None if found.service is not None else found.socket_path
    return RuntimeParts(
        runtime,
        ContainerBuilder(
            engine, own, limits=archive_limits(settings), own_engine=found.service is not None
        ),
        socket,
        partial(image_archive.load, engine),
    )
