"""The API over a real store, with rows of the test's own in place of the product's."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from prometheus_client import CollectorRegistry

from innkeeper.api import contract
from innkeeper.api.framework import Application
from innkeeper.api.operation import Operation
from innkeeper.api.rows import OPERATIONS
from innkeeper.api.services import Services
from innkeeper.api.stream_bounds import EventStreams
from innkeeper.interfaces import BuiltImage
from innkeeper.reconciler.build_runner import SerialBuildRunner
from innkeeper.store.opening import open_store
from innkeeper.telemetry.uploads import UploadsOnDisk
from innkeeper.testing.contract_check import check_reply
from innkeeper.testing.locked_store import LockedStore
from innkeeper.testing.studio import TOKEN, Studio


@dataclass
class House:
    """A studio, the services over it, and clients of applications made of any rows."""

    studio: Studio
    services: Services
    woken: list[tuple[str, str]] = field(default_factory=list)
    unready: str | None = None

    def application(self, *rows: Operation, **settings: Any) -> Application:
        return Application(self.services, rows, **settings)

    def client(self, *rows: Operation, token: str | None = TOKEN) -> httpx.AsyncClient:
        headers = {"authorization": f"Bearer {token}"} if token else {}
        transport = httpx.ASGITransport(self.application(*rows), raise_app_exceptions=False)
        return httpx.AsyncClient(transport=transport, base_url="http://api.test", headers=headers)


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    store = await open_store(tmp_path / "innkeeper.sqlite")
    studio = await Studio(store).open()
    made: House

    async def ready() -> str | None:
        return made.unready

    nothing: Any = None
    services = Services(
        store=LockedStore(store),
        clock=studio.clock,
        ids=studio.ids,
        policy=studio.policy,
        build_runner=nothing,
        uploads=nothing,
        logs=nothing,
        google=nothing,
        wake=lambda key: made.woken.append(key),
        ready=ready,
        registry=CollectorRegistry(),
        event_streams=EventStreams(quiet_s=0.001, life_s=0),  # they end: answers are awaited
    )
    made = House(studio, services)
    yield made
    await store.close()


@dataclass
class Shop:
    """The product's rows over the house: every reply is checked against the contract."""

    house: House
    http: httpx.AsyncClient
    builder: "ToldBuilder"
    runner: SerialBuildRunner
    root: Path

    @property
    def studio(self) -> Studio:
        return self.house.studio

    @property
    def app(self) -> str:
        return self.studio.app_id

    async def call(
        self, operation_id: str, values: dict[str, str] | None = None, **sent: Any
    ) -> httpx.Response:
        """Ask for an operation; ``values`` fill its path."""
        declared = contract.load().operations[operation_id]
        path = declared.path
        for name, value in (values or {}).items():
            path = path.replace(f"{{{name}}}", quote(value, safe=""))
        if "body" in sent:
            sent["json"] = sent.pop("body")
        reply = await self.http.request(declared.method, path, **sent)
        check_reply(operation_id, reply.status_code, reply.headers, reply.content)
        return reply

    def files(self) -> list[str]:
        """What is kept of uploads."""
        return [path.name for path in (self.root / "uploads").rglob("*") if path.is_file()]


@dataclass
class ToldBuilder:
    """Ends each build as ``fault`` says; ``deleted`` are the images that had to go."""

    fault: Exception | None = None
    deleted: list[str] = field(default_factory=list)
    cleared: list[str] = field(default_factory=list)
    pulled: list[Any] = field(default_factory=list)

    async def build(self, build_key: str, archive: Path, log: Callable[[str], None]) -> BuiltImage:
        log(f"got {archive.stat().st_size} bytes & <b>more</b>")
        if self.fault is not None:
            raise self.fault
        return BuiltImage(f"image-{build_key}", 4711)

    async def pull(
        self, build_key: str, image: str, url: str | None, auth: str | None, log: Any
    ) -> BuiltImage:
        self.pulled.append((image, url, auth))
        return BuiltImage(f"image-{build_key}", 42)

    async def discard(self, build_key: str) -> None:
        self.cleared.append(build_key)

    async def delete(self, image_ref: str) -> None:
        self.deleted.append(image_ref)


@pytest.fixture
async def shop(house: House, tmp_path: Path) -> AsyncIterator[Shop]:
    builder, uploads = ToldBuilder(), UploadsOnDisk(tmp_path / "uploads")
    runner = SerialBuildRunner(
        house.studio.store, builder, uploads, house.studio.clock, tmp_path / "builds"
    )
    house.services.uploads, house.services.build_runner = uploads, runner
    async with house.client(*OPERATIONS) as http:
        yield Shop(house, http, builder, runner, tmp_path)
        await runner.settled()


Rows = Callable[..., Operation]


@pytest.fixture
def row() -> Rows:
    """A row that answers what it is told, and keeps the requests it read in ``seen``."""

    def make(
        operation_id: str,
        result: Any = None,
        seen: list[Any] | None = None,
        scope: str | None = "processes:read-write",
        kind: Any = "read",
    ) -> Operation:
        def run(tx: Any, caller: Any, wanted: Any, context: Any) -> Any:
            if seen is not None:
                seen.append(wanted)
            if isinstance(result, Exception):
                raise result
            return result(tx, caller, wanted, context) if callable(result) else result

        return Operation(operation_id, lambda r: r, run, lambda r: r, kind, scope)

    return make
