"""The control plane: the API and the reconciler in one process, until it is told to stop."""

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace

import uvicorn
from prometheus_client import CollectorRegistry

from innkeeper.api import discovery
from innkeeper.api.framework import Application
from innkeeper.api.rows import OPERATIONS
from innkeeper.api.services import Services
from innkeeper.config import Settings
from innkeeper.config.admin_token import AdminToken, admin_token
from innkeeper.config.values import primary_address
from innkeeper.core.capacity import Machine, machine_capacity
from innkeeper.core.errors import InnkeeperError, StateConflict
from innkeeper.core.ids import Ids
from innkeeper.edge.ping import open_udp_echo
from innkeeper.identity.google import OidcGoogle
from innkeeper.identity.key_set import KeySet, fetcher
from innkeeper.interfaces import Context, Policy, Store, Tx
from innkeeper.reconciler.build_runner import SerialBuildRunner
from innkeeper.reconciler.loop import Reconciler
from innkeeper.reconciler.perform import Surroundings
from innkeeper.reconciler.sampling import Sampler, SamplerPace
from innkeeper.reconciler.sandboxes import SandboxKeeper
from innkeeper.store.opening import open_store
from innkeeper.telemetry.gauges import Gauges
from innkeeper.telemetry.logs import ProcessLogs
from innkeeper.telemetry.own_cpu import OwnCpu
from innkeeper.telemetry.uploads import UploadsOnDisk
from innkeeper.usecases import fleet_metrics, installation, lifecycle
from innkeeper.usecases.installation import Installation
from innkeeper.usecases.logs import retention_cuts
from innkeeper.wiring import restored
from innkeeper.wiring.bounded_http import BoundedHttpProtocol, raise_descriptor_limit
from innkeeper.wiring.chance import Chance
from innkeeper.wiring.last_run import LastRun, last_run
from innkeeper.wiring.listening import (
    Listening,
    bind_api,
    bind_gateway,
    bind_ping,
    check_certificate,
)
from innkeeper.wiring.runtimes import RuntimeParts, choose_runtime, make_runtime, now

log = logging.getLogger(__name__)
Announce = Callable[[str], None]

SHUTDOWN_S = 3
READY_TIMEOUT_S = 2.0
SANDBOXES_MAX = 64


def system_ids() -> Ids:
    """Identifiers from the system's randomness."""
    return Ids(Chance().getrandbits)


def this_machine(settings: Settings) -> Machine:
    """What this machine can promise."""
    total_mb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 1024**2
    return machine_capacity(len(os.sched_getaffinity(0)), total_mb, settings.cpu_overcommit)


async def serve(settings: Settings, announce: Announce) -> None:
    """Run the control plane until SIGTERM or SIGINT; the games it started run on.

    Raises :class:`Invalid` for settings that cannot be met, :class:`StateConflict` where games of another
    runtime still run, ``RuntimeAway`` without an engine.
    """
    check_certificate(settings)
    restored.finish(settings.data_dir)
    raise_descriptor_limit()
    listening = bind_api(settings)
    async with contextlib.AsyncExitStack() as closing:
        store = await open_store(settings.database_url)
        closing.push_async_callback(store.close)
        ids = system_ids()
        token = admin_token(settings, ids.org_token)
        policy = settings.policy(settings.resolved_public_host())
        installed = await _seed(store, settings, Context(now(), ids, policy), token)
        name = await choose_runtime(settings, announce)
        await _refuse_other_runtime(store, settings, name)
        parts = await make_runtime(name, settings, installed.installation_id, listening)
        closing.push_async_callback(parts.runtime.close)
        await parts.runtime.open()
        await restored.load_images(settings.data_dir, parts.load_images, announce)
        _remember(settings, name, parts)
        gateway = parts.gateway()
        extra = [] if gateway is None else bind_gateway(gateway, listening)
        policy = replace(policy, registry_builds=parts.runtime.capabilities.registry_images)
        await _echo_pings(settings, listening, closing, announce)
        control_plane = ControlPlane(settings, store, ids, policy, parts, installed, listening)
        await control_plane.run(
            [listening.socket, *extra], lambda: _say(announce, settings, listening, token, parts)
        )


async def _echo_pings(
    settings: Settings,
    listening: Listening,
    closing: contextlib.AsyncExitStack,
    announce: Announce,
) -> None:
    """Answer UDP pings, if so set; a port that only happened to be ours to choose may be taken."""
    pinged = bind_ping(settings, listening)
    if pinged is not None:
        closing.callback((await open_udp_echo(pinged)).close)
    elif settings.ping_udp_port is None:
        announce(f"no UDP ping echo: another program has port {listening.port}/udp")


async def _seed(
    store: Store, settings: Settings, context: Context, token: AdminToken
) -> Installation:
    machine, ports = this_machine(settings), settings.port_range

    def seed(tx: Tx) -> Installation:
        made = installation.seed_installation(tx, context, machine, ports.first, ports.last)
        installation.ensure_admin(tx, context, token.text)
        return made

    return await store.write(seed)


async def _refuse_other_runtime(store: Store, settings: Settings, name: str) -> None:
    """Games of the other runtime would be taken for lost, and run on without an owner."""
    before = last_run(settings.data_dir)
    if before is None or before.runtime == name:
        return
    if await store.read(lifecycle.unfinished_ids):
        raise StateConflict(
            f"games of the {before.runtime} runtime still run here: stop them first with "
            f"`innkeeper down --data-dir {settings.data_dir}`, or serve with --runtime {before.runtime}"
        )


def _remember(settings: Settings, name: str, parts: RuntimeParts) -> None:
    socket_path = None if parts.engine_socket is None else str(parts.engine_socket)
    LastRun(name, settings.database_url, socket_path).keep(settings.data_dir)


def _say(
    announce: Announce,
    settings: Settings,
    listening: Listening,
    token: AdminToken,
    parts: RuntimeParts,
) -> None:
    if token.made_now:
        announce(f"admin token (shown once, kept in {token.path}): {token.text}")
    announce(f"games run in the {parts.runtime.capabilities.name} runtime")
    announce(f"API {settings.resolved_public_url(listening.port)}")


class ControlPlane:
    """The object graph of one control plane."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        ids: Ids,
        policy: Policy,
        parts: RuntimeParts,
        installed: Installation,
        listening: Listening,
    ) -> None:
        self._settings = settings
        self._store = store
        runtime = parts.runtime
        self.logs = ProcessLogs(
            settings.data_dir / "logs",
            runtime.log_source,
            cap_bytes=settings.log_cap_bytes,
            retention_hours=settings.log_retention_hours,
            clock=now,
        )
        uploads, builds_dir = (
            UploadsOnDisk(settings.data_dir / "uploads"),
            settings.data_dir / "builds",
        )
        around = Surroundings(
            store, runtime, self.logs, now, ids, policy, public_ip(policy.public_host), self._wake
        )
        self.builds = SerialBuildRunner(store, parts.builder, uploads, now, builds_dir)
        keeper = _sandbox_keeper(around, settings.sandboxes_ahead)
        self.reconciler = Reconciler(around, keeper, self._sweeps(around, self.logs))
        pace = SamplerPace(settings.sample_interval_s)
        self.sampler = Sampler(around, self.reconciler.watch, pace)
        registry = CollectorRegistry()
        self.services = Services(
            store=store,
            clock=now,
            ids=ids,
            policy=policy,
            build_runner=self.builds,
            uploads=uploads,
            logs=self.logs,
            google=OidcGoogle(KeySet(fetcher(settings.google_jwks)), settings.google_issuer),
            wake=self._wake,
            ready=self._ready,
            registry=registry,
            refresh_gauges=Gauges(store, registry).refresh,
            rate_limits=settings.rate_limits(),
        )
        self.application = Application(self.services, OPERATIONS, websockets=discovery.WEBSOCKETS)

    def _wake(self, key: tuple[str, str]) -> None:
        self.reconciler.wake(key)

    def _sweeps(
        self, around: Surroundings, logs: ProcessLogs
    ) -> list[Callable[[], Awaitable[object]]]:
        own = OwnCpu()
        return [
            lambda: around.record(
                lambda tx, c: fleet_metrics.record_sample(tx, c.now, own.millis())
            ),
            lambda: around.record(lambda tx, c: lifecycle.sweep(tx, c)),
            lambda: _prune_logs(around.store, logs),
            self.builds.sweep,
        ]

    async def _ready(self) -> str | None:
        """Why we cannot serve, or ``None``: a durable write went through."""
        try:
            async with asyncio.timeout(READY_TIMEOUT_S):
                await self._store.write(installation.probe)
        except TimeoutError:
            return f"the store has not taken a write for {READY_TIMEOUT_S:g} s"
        except InnkeeperError as error:
            return error.message
        return None

    async def run(self, sockets: list[socket.socket], begun: Callable[[], None]) -> None:
        """Serve until a signal; ``begun`` is called once requests are taken."""
        await self.builds.open()
        server = _server(self._settings, self.application, begun)
        reconciling = asyncio.create_task(self._reconcile())
        serving = asyncio.create_task(server.serve(sockets))
        with _signals(lambda: self._end(server)):
            done, _ = await asyncio.wait(
                (reconciling, serving), return_when=asyncio.FIRST_COMPLETED
            )
            self._end(server)
            reconciling.cancel()
            await asyncio.gather(reconciling, serving, return_exceptions=True)
            await self.builds.close()
        for task in done:
            # The loop never ends by itself: if it did, the reason must be seen.
            task.result()

    async def _reconcile(self) -> None:
        """Until cancelled. The sampler has its own tasks' time, and no pass waits for it."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.reconciler.run())
            group.create_task(self.sampler.run())

    def _end(self, server: uvicorn.Server) -> None:
        server.should_exit = True
        self.application.end_streams()


async def _prune_logs(store: Store, logs: ProcessLogs) -> None:
    """An org may keep its logs for longer, or shorter, than the installation does."""
    kept = await logs.kept_ids()
    await logs.prune(await store.read(lambda tx: retention_cuts(tx, kept, now())))


def _sandbox_keeper(around: Surroundings, ahead: int) -> SandboxKeeper | None:
    """``None`` where the runtime makes no sandboxes, or none shall be made ahead."""
    if not ahead or not around.runtime.capabilities.sandboxes:
        return None
    return SandboxKeeper(around, ahead, SANDBOXES_MAX)


class _Server(uvicorn.Server):
    """Uvicorn's server, whose signals are ours: a second Ctrl-C must not print a traceback."""

    def __init__(self, config: uvicorn.Config, begun: Callable[[], None]) -> None:
        super().__init__(config)
        self._begun = begun

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Say so once requests are taken."""
        await super().startup(sockets)
        _tune_collector()
        self._begun()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals alone."""
        yield


def _server(
    settings: Settings, application: Application, begun: Callable[[], None]
) -> uvicorn.Server:
    proxies = [str(network) for network in settings.trusted_proxies]
    return _Server(
        uvicorn.Config(
            application,
            loop="none",
            http=BoundedHttpProtocol,
            ws="websockets-sansio",
            ws_max_size=discovery.MESSAGE_BYTES_MAX,
            ws_per_message_deflate=False,
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=bool(proxies),
            forwarded_allow_ips=proxies,
            ssl_certfile=settings.tls_cert,
            ssl_keyfile=settings.tls_key,
            timeout_graceful_shutdown=SHUTDOWN_S,
            timeout_keep_alive=75,
        ),
        begun,
    )


def _tune_collector() -> None:
    """What start-up made lives on: the collector need not look at it again, and seldom at the rest.

    Full collections were the whole of a 30-50 ms p99 in a trial.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 1000)


@contextlib.contextmanager
def _signals(end: Callable[[], None]) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end)
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


def public_ip(host: str) -> str:
    """The IPv4 address of the public host; this machine's primary one where the name is not known here."""
    try:
        return socket.gethostbyname(host)
    except OSError:
        return primary_address()
