"""The object graph of one server: the API, and the lease under which one server reconciles for all."""

import asyncio
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from random import random

import uvicorn
from prometheus_client import CollectorRegistry, Gauge

from innkeeper.api import discovery
from innkeeper.api.framework import Application
from innkeeper.api.rows import OPERATIONS
from innkeeper.api.services import Services
from innkeeper.config import Settings
from innkeeper.config.values import primary_address
from innkeeper.core.errors import InnkeeperError
from innkeeper.core.ids import Ids
from innkeeper.identity.google import OidcGoogle
from innkeeper.identity.key_set import KeySet, fetcher
from innkeeper.interfaces import LockKey, Neighbours, Policy, Store
from innkeeper.reconciler.build_runner import SerialBuildRunner
from innkeeper.reconciler.lease import Lease, Tenure
from innkeeper.reconciler.perform import Surroundings
from innkeeper.reconciler.webhooks import WebhookKeeper
from innkeeper.telemetry.gauges import Gauges
from innkeeper.telemetry.logs import ProcessLogs
from innkeeper.telemetry.uploads import UploadsOnDisk
from innkeeper.telemetry.webhook_sender import HttpWebhookSender
from innkeeper.usecases import installation
from innkeeper.wiring.holders_work import HoldersWork
from innkeeper.wiring.http_server import ending_signals, http_server
from innkeeper.wiring.runtimes import RuntimeParts, now

READY_TIMEOUT_S = 2.0


@dataclass(frozen=True, slots=True)
class Keeping:
    """The store, and the other servers on it; ``alone``: there can be none, for the store is embedded."""

    store: Store
    neighbours: Neighbours
    alone: bool


class ControlPlane:
    """Serves the API. ``work`` is what it does for all servers, while it holds the lease."""

    def __init__(
        self, settings: Settings, keeping: Keeping, ids: Ids, policy: Policy, parts: RuntimeParts
    ) -> None:
        self._settings = settings
        self._store = store = keeping.store
        self._neighbours = keeping.neighbours
        self._ids, self._policy = ids, policy
        self._runtime = parts.runtime
        self.logs = _process_logs(settings, parts)
        uploads = UploadsOnDisk(settings.data_dir / "uploads")
        builds_dir = settings.data_dir / "builds"
        self.builds = SerialBuildRunner(
            store, parts.builder, uploads, now, builds_dir, alone=keeping.alone
        )
        self.work: HoldersWork | None = None
        self.lease = Lease(
            store,
            keeping.neighbours,
            f"{socket.gethostname()}/{os.getpid()}",
            place_of(settings),
            alone=keeping.alone,
        )
        keeping.neighbours.listen(self._heard, self.lease.look_soon)
        registry = CollectorRegistry()
        holds = Gauge(
            "innkeeper_reconciles",
            "1 on the server that reconciles, 0 on others",
            registry=registry,
        )
        holds.set_function(lambda: float(self.work is not None))
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
            webhook_sender=HttpWebhookSender(settings.webhook_private_networks),
        )
        self.application = Application(self.services, OPERATIONS, websockets=discovery.WEBSOCKETS)

    async def run(
        self, sockets: list[socket.socket], begun: Callable[[], None], joins: bool = False
    ) -> None:
        """Serve until a signal; ``begun`` is called once requests are taken. ``joins``: beside others."""
        await self.builds.open(joins)
        server = http_server(self._settings, self.application, begun)
        reconciling = asyncio.create_task(self.lease.run(self.reconcile))
        serving = asyncio.create_task(server.serve(sockets))
        with ending_signals(lambda: self._end(server)):
            done, _ = await asyncio.wait(
                (reconciling, serving), return_when=asyncio.FIRST_COMPLETED
            )
            self._end(server)
            reconciling.cancel()
            await asyncio.gather(reconciling, serving, return_exceptions=True)
            await self.builds.close()
            await self.services.webhook_sender.close()
        for task in done:
            # The loop never ends by itself: if it did, the reason must be seen.
            task.result()

    async def reconcile(self, tenure: Tenure) -> None:
        """The holder's work of one tenure, until cancelled."""
        around = Surroundings(
            self._store,
            self._runtime,
            self.logs,
            now,
            self._ids,
            self._policy,
            public_ip(self._policy.public_host),
            self._wake,
            tenure,
        )
        webhooks = WebhookKeeper(around, self.services.tail, self.services.webhook_sender, random)
        self.work = HoldersWork(around, self.logs, self.builds, self._settings, webhooks)
        try:
            await self.work.run()
        finally:
            self.work = None

    def _wake(self, key: LockKey) -> None:
        """Of our own calls and passes: for us, or for whoever reconciles."""
        if self.work is not None:
            self.work.wake(key)
        else:
            self._neighbours.wake(key)

    def _heard(self, key: LockKey) -> None:
        """From another server: it concerns us only while we reconcile."""
        if self.work is not None:
            self.work.wake(key)

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

    def _end(self, server: uvicorn.Server) -> None:
        server.should_exit = True
        self.application.end_streams()


def _process_logs(settings: Settings, parts: RuntimeParts) -> ProcessLogs:
    return ProcessLogs(
        settings.data_dir / "logs",
        parts.runtime.log_source,
        cap_bytes=settings.log_cap_bytes,
        retention_hours=settings.log_retention_hours,
        clock=now,
    )


def place_of(settings: Settings) -> str:
    """Names this very directory of this machine, by whichever path it is reached."""
    there = settings.data_dir.stat()
    return f"{socket.gethostname()}, directory {there.st_dev:x}:{there.st_ino:x}"


def public_ip(host: str) -> str:
    """The IPv4 address of the public host; this machine's primary one where the name is not known here."""
    try:
        return socket.gethostbyname(host)
    except OSError:
        return primary_address()
