"""A real control plane over the mock runtime: API, store and reconciler, but no games. A process of its own.

    python -m bench.mock_control_plane DATA_DIR [--processes N] [--rooms-per-process M] [--apps A] [--app K]
                         [--database URL] [--resume] [--without-store] [--without-passes]

Prints one line of JSON (``url``, ``path``, ``token``) once it takes requests; ends on SIGTERM. ``--resume``
goes on with the processes that the store has: of several apps, rooms of the one numbered ``--app`` are asked
for. With ``--without-store`` the same application runs
over a store that answers at once what the real one answered.
"""

import argparse
import asyncio
import contextlib
import json
from collections.abc import Callable
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import uvloop

from innkeeper.config import Settings
from innkeeper.config.values import Address, PortRange
from innkeeper.core.accounts import ADMIN_SCOPES, Caller
from innkeeper.core.capacity import Machine
from innkeeper.core.catalog import ContainerPort, Deployment
from innkeeper.core.errors import BuildFailed
from innkeeper.core.events import ASKED_FOR
from innkeeper.interfaces import BuiltImage, Context, Row, Store, Tx
from innkeeper.reconciler.lease import Tenure
from innkeeper.reconciler.specs import process_spec
from innkeeper.runtime.fake import FakeHost, FakeProcess, FakeRuntime
from innkeeper.usecases import apps, builds, deployments, installation, lifecycle, processes, rooms
from innkeeper.wiring.chance import system_ids
from innkeeper.wiring.control_plane import ControlPlane
from innkeeper.wiring.listening import bind_api
from innkeeper.wiring.runtimes import RuntimeParts, now
from innkeeper.wiring.serving import open_keeping

TOKEN = "admin-token-of-the-measurements"
REGION = "Chicago"
MACHINE = Machine(10**9, 10**9)
PORTS = PortRange(1024, 32000)


class NoBuilder:
    """The mock runtime builds nothing."""

    async def build(self, build_key: str, archive: Path, log: Callable[[str], None]) -> BuiltImage:
        """Refuse."""
        raise BuildFailed("the mock runtime builds nothing")

    async def pull(
        self,
        build_key: str,
        image: str,
        registry_url: str | None,
        auth: str | None,
        log: Callable[[str], None],
    ) -> BuiltImage:
        """Refuse."""
        raise BuildFailed("the mock runtime builds nothing")

    async def delete(self, image_ref: str) -> None:
        """There is nothing."""

    async def discard(self, build_key: str) -> None:
        """There is nothing."""


class AnsweringStore:
    """In place of the store: it runs nothing, and answers at once what CreateRoom was answered before."""

    def __init__(self, caller: Caller, placed: rooms.PlacedRoom) -> None:
        self._caller, self._placed = caller, placed

    def write(self, fn: Callable[[Tx], Any], locks: object = ()) -> "asyncio.Future[Any]":
        """The room."""
        done = asyncio.get_running_loop().create_future()
        done.set_result(self._placed)
        return done

    def after_commits(self, call: Callable[[], None]) -> None:
        """There are none."""

    async def read(self, fn: Callable[[Tx], Any]) -> Any:
        """The caller."""
        return self._caller

    async def close(self) -> None:
        """Nothing to close."""


class Stock:
    """What the store holds before the first request: a studio, and processes that run on the mock host."""

    def __init__(self, store: Store, settings: Settings, host: FakeHost) -> None:
        self._store, self._host = store, host
        self._ids = system_ids()
        self._policy = settings.policy("127.0.0.1")
        self.installed: installation.Installation
        self.caller: Caller
        self.app_ids: list[str] = []

    def context(self) -> Context:
        """The surroundings of one use case, now."""
        return Context(now(), self._ids, self._policy)

    async def fill(self, app_count: int, count: int, rooms_per_process: int) -> None:
        """The studio with apps of one deployment each, and ``count`` running processes of each of them."""
        made = await self._store.write(
            lambda tx: self._studio(tx, [f"bench-{n}" for n in range(app_count)], rooms_per_process)
        )
        self.app_ids = sorted(deployment.app_id for deployment in made)
        for deployment in made:
            for first in range(0, count, 200):
                part = min(200, count - first)
                await self._store.write(partial(self._processes, deployment=deployment, count=part))

    def _studio(self, tx: Tx, names: list[str], rooms_per_process: int) -> list[Deployment]:
        context = self.context()
        self.installed = installation.seed_installation(
            tx, context, MACHINE, PORTS.first, PORTS.last
        )
        org_id = installation.ensure_admin(tx, context, TOKEN)
        self.caller = Caller(org_id, "org-token-bench", ADMIN_SCOPES)
        build = builds.create_build(tx, self.caller, builds.NewBuild(None), context)
        builds.start_build(tx, self.caller, build.build_id, "registry", context)
        builds.finish_build(tx, build.build_key, context.now, "image", 1)
        made = []
        for name in names:
            app = apps.create_app(tx, self.caller, apps.NewApp(name, {}), context)
            wanted = deployments.NewDeployment(
                app_id=app.app_id,
                build_id=build.build_id,
                cpu=0.5,
                memory_mb=512,
                gpu=0,
                rooms_per_process=rooms_per_process,
                ports=(ContainerPort("default", 7777, "udp"),),
                env=(),
                idle_timeout_enabled=True,
            )
            made.append(deployments.create_deployment(tx, self.caller, wanted, context))
        return made

    def _processes(self, tx: Tx, deployment: Deployment, count: int) -> None:
        for _ in range(count):
            context = self.context()
            process_id = processes.new_process(
                tx, self.caller.org_id, deployment, REGION, None, context, ASKED_FOR
            )
            row = lifecycle.record_attempt(tx, process_id, context.now)
            assert row is not None
            lifecycle.record_booted(tx, process_id, context.now)
            lifecycle.record_started(tx, process_id, deployment.deployment_id, context.now)
            self._run_on_host(row, context.now)

    def _run_on_host(self, row: Row, booted_at: datetime) -> None:
        spec = process_spec(row, "127.0.0.1")
        self._host.processes[spec.process_id] = FakeProcess(spec, booted_at)
        for port in spec.ports:
            self._host.ports[port.host_port] = spec.process_id

    async def resume(self) -> None:
        """The studio that is there, and its live processes on the mock host."""
        await self._store.write(self._found)

    def _found(self, tx: Tx) -> None:
        context = self.context()
        self.installed = installation.seed_installation(
            tx, context, MACHINE, PORTS.first, PORTS.last
        )
        self.app_ids = sorted(app_id for app_id, _ in lifecycle.unfinished_keys(tx))
        for process_id in lifecycle.unfinished_ids(tx):
            row = tx.one("processes.spec", process_id=process_id)
            assert row is not None
            self._run_on_host(row, context.now)

    async def answered(self) -> rooms.PlacedRoom:
        """What CreateRoom answers here."""
        wanted, context = rooms.NewRoom(self.app_ids[0], REGION), self.context()
        return await self._store.write(
            lambda tx: rooms.create_room(tx, self.caller, wanted, context)
        )


async def _rest(_: Tenure) -> None:
    """In place of the reconciler: no passes at all."""
    await asyncio.Event().wait()


async def serve(options: argparse.Namespace) -> None:
    """Until SIGTERM."""
    settings = Settings(
        data_dir=options.data_dir,
        listen=Address("127.0.0.1", 0),
        admin_token=TOKEN,
        port_range=PORTS,
        database=options.database,
    )
    listening = bind_api(settings)
    async with contextlib.AsyncExitStack() as closing:
        keeping = await open_keeping(settings.database_url, options.data_dir, closing)
        host = FakeHost()
        stock = Stock(keeping.store, settings, host)
        if options.resume:
            await stock.resume()
        else:
            await stock.fill(options.apps, options.processes, options.rooms_per_process)
        parts = RuntimeParts(FakeRuntime(now, host), NoBuilder())
        policy = settings.policy("127.0.0.1")
        control_plane = ControlPlane(settings, keeping, system_ids(), policy, parts)
        if options.without_store:
            control_plane.services.store = AnsweringStore(stock.caller, await stock.answered())
        if options.without_passes:
            control_plane.reconcile = _rest  # type: ignore[method-assign,assignment]
        line = {
            "url": f"http://127.0.0.1:{listening.port}",
            "path": f"/rooms/v2/{stock.app_ids[options.app]}/create",
            "token": TOKEN,
        }
        await control_plane.run([listening.socket], lambda: print(json.dumps(line), flush=True))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data_dir", type=Path)
    parser.add_argument("--processes", type=int, default=0)
    parser.add_argument("--rooms-per-process", type=int, default=10_000)
    parser.add_argument("--apps", type=int, default=1)
    parser.add_argument("--app", type=int, default=0)
    parser.add_argument("--database")
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--without-store", action="store_true")
    parser.add_argument("--without-passes", action="store_true")
    uvloop.run(serve(parser.parse_args()))
