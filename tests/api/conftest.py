"""The API over a real store, with rows of the test's own in place of the product's."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry

from innkeeper.api.framework import Application
from innkeeper.api.operation import Operation
from innkeeper.api.services import Services
from innkeeper.store.opening import open_store
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
        store=store,
        clock=studio.clock,
        ids=studio.ids,
        policy=studio.policy,
        build_runner=nothing,
        uploads=nothing,
        logs=nothing,
        wake=lambda key: made.woken.append(key),
        ready=ready,
        registry=CollectorRegistry(),
    )
    made = House(studio, services)
    yield made
    await store.close()


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
