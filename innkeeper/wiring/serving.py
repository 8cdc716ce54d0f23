"""``innkeeper serve``: opens what one server needs, in order, and runs it until it is told to stop."""

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from innkeeper.config import Settings
from innkeeper.config.admin_token import AdminToken, admin_token
from innkeeper.core.capacity import Machine, machine_capacity
from innkeeper.core.errors import StateConflict
from innkeeper.core.ids import Ids
from innkeeper.edge.ping import open_udp_echo
from innkeeper.interfaces import Context, Policy, Store, Tx
from innkeeper.reconciler.lease import refuse_other_place
from innkeeper.store.neighbours import is_embedded, open_neighbours
from innkeeper.store.opening import database_path, open_store
from innkeeper.usecases import installation, lifecycle
from innkeeper.usecases.installation import Installation
from innkeeper.wiring import restored
from innkeeper.wiring.bounded_http import raise_descriptor_limit
from innkeeper.wiring.chance import system_ids
from innkeeper.wiring.claims import sole_server, starting
from innkeeper.wiring.control_plane import ControlPlane, Keeping, place_of
from innkeeper.wiring.last_run import LastRun, last_run
from innkeeper.wiring.listening import (
    Listening,
    bind_api,
    bind_gateway,
    bind_ping,
    check_certificate,
)
from innkeeper.wiring.runtimes import RuntimeParts, choose_runtime, make_runtime, now

Announce = Callable[[str], None]


def this_machine(settings: Settings) -> Machine:
    """What this machine can promise."""
    total_mb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 1024**2
    return machine_capacity(len(os.sched_getaffinity(0)), total_mb, settings.cpu_overcommit)


async def serve(settings: Settings, announce: Announce, joins: bool = False) -> None:
    """Run one server until SIGTERM or SIGINT; the games that were started run on. ``joins``: others run on
    this data directory already.

    Raises :class:`Invalid` for settings that cannot be met, :class:`StateConflict` where games of another
    runtime still run, or servers that this one does not fit to; ``RuntimeAway`` without an engine.
    """
    check_certificate(settings)
    raise_descriptor_limit()
    listening = bind_api(settings)
    async with contextlib.AsyncExitStack() as closing:
        with starting(settings.data_dir):
            opened = await _open(settings, listening, closing, announce, joins)
        await _echo_pings(settings, listening, closing, announce)
        gateway = opened.parts.gateway()
        extra = [] if gateway is None else bind_gateway(gateway, listening)
        control_plane = ControlPlane(
            settings, opened.keeping, opened.ids, opened.policy, opened.parts
        )
        await control_plane.run(
            [listening.socket, *extra],
            lambda: _say(announce, settings, listening, opened),
            joins,
        )


@dataclass(frozen=True, slots=True)
class _Opened:
    """What the control plane is made of."""

    keeping: Keeping
    ids: Ids
    policy: Policy
    parts: RuntimeParts
    token: AdminToken


async def _open(
    settings: Settings,
    listening: Listening,
    closing: contextlib.AsyncExitStack,
    announce: Announce,
    joins: bool,
) -> _Opened:
    """Store, token, runtime: what servers share, made ready by one at a time."""
    if not joins:
        restored.finish(settings.data_dir)
    told = _of_the_others(settings) if joins else None
    keeping = await open_keeping(settings.database_url, settings.data_dir, closing)
    if not keeping.alone:
        await refuse_other_place(keeping.store, keeping.neighbours, place_of(settings))
    ids = system_ids()
    token = admin_token(settings, ids.org_token)
    policy = settings.policy(settings.resolved_public_host())
    installed = await _seed(keeping.store, settings, Context(now(), ids, policy), token)
    name = told or await _runtime(keeping.store, settings, announce)
    parts = await make_runtime(name, settings, installed.installation_id, listening)
    closing.push_async_callback(parts.runtime.close)
    await parts.runtime.open()
    await restored.load_images(settings.data_dir, parts.load_images, announce)
    _remember(settings, name, parts)
    policy = replace(policy, registry_builds=parts.runtime.capabilities.registry_images)
    return _Opened(keeping, ids, policy, parts, token)


async def open_keeping(
    database_url: str, data_dir: Path, closing: contextlib.AsyncExitStack
) -> Keeping:
    """The store and the servers beside us, closed with ``closing``.

    Raises :class:`StateConflict` where an embedded store has a server already.
    """
    alone = is_embedded(database_url)
    if alone:
        closing.enter_context(sole_server(database_path(database_url)))
    store = await open_store(database_url, data_dir)
    closing.push_async_callback(store.close)
    neighbours = open_neighbours(database_url)
    closing.push_async_callback(neighbours.close)
    return Keeping(store, neighbours, alone)


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


def _of_the_others(settings: Settings) -> str | None:
    """The runtime of the servers that run on this data directory; ``None`` where they told nothing yet."""
    before = last_run(settings.data_dir)
    if before is None:
        return None
    told = (settings.runtime in ("auto", before.runtime), settings.database_url)
    if told != (True, before.database_url):
        raise StateConflict(
            f"other servers run on {settings.data_dir} with another --database or --runtime: give all of "
            "them the same settings, or stop them first"
        )
    return before.runtime


async def _runtime(store: Store, settings: Settings, announce: Announce) -> str:
    """The runtime's name. Games of another one would be taken for lost, and run on without an owner."""
    name = await choose_runtime(settings, announce)
    before = last_run(settings.data_dir)
    if before is None or before.runtime == name:
        return name
    if await store.read(lifecycle.unfinished_ids):
        raise StateConflict(
            f"games of the {before.runtime} runtime still run here: stop them first with "
            f"`innkeeper down --data-dir {settings.data_dir}`, or serve with --runtime {before.runtime}"
        )
    return name


def _remember(settings: Settings, name: str, parts: RuntimeParts) -> None:
    socket_path = None if parts.engine_socket is None else str(parts.engine_socket)
    LastRun(name, settings.database_url, socket_path).keep(settings.data_dir)


def _say(announce: Announce, settings: Settings, listening: Listening, opened: _Opened) -> None:
    token = opened.token
    if token.made_now:
        announce(f"admin token (shown once, kept in {token.path}): {token.text}")
    announce(f"games run in the {opened.parts.runtime.capabilities.name} runtime")
    announce(f"API {settings.resolved_public_url(listening.port)}")
