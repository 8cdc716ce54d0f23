"""A studio over a real store in a folder of the test's own."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from innkeeper.core.accounts import ADMIN_SCOPES, Caller
from innkeeper.core.catalog import Build, ContainerPort
from innkeeper.store.opening import open_store
from innkeeper.testing.studio import Studio
from innkeeper.usecases import apps, builds, deployments


@pytest.fixture
async def studio(tmp_path: Path) -> AsyncIterator[Studio]:
    store = await open_store(tmp_path / "innkeeper.sqlite")
    yield await Studio(store).open()
    await store.close()


@dataclass
class Desk:
    """Asks a studio's use cases one after the other: time moves by a second before each."""

    studio: Studio
    woken: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.store = self.studio.store
        self.caller = self.studio.caller

    async def ask(self, use_case: Any, *args: Any, caller: Caller | None = None) -> Any:
        """``use_case(tx, caller, *args, context)``, as the admin unless told otherwise."""
        self.studio.clock.move(1)
        context = self.studio.context()
        context.wake = self.woken
        who = caller or self.caller
        return await self.store.write(lambda tx: use_case(tx, who, *args, context))

    async def tx(self, call: Callable[..., Any], *args: Any) -> Any:
        """``call(tx, *args)``."""
        return await self.store.write(lambda tx: call(tx, *args))

    def accept_unenforced(self) -> None:
        self.studio.policy = replace(self.studio.policy, accept_unenforced=True)

    def holding(self, *scopes: str) -> Caller:
        """The same org with fewer scopes."""
        return replace(self.caller, scopes=frozenset(scopes))

    async def app(self, name: str = "arena") -> Any:
        return await self.ask(apps.create_app, apps.NewApp(name, {"anonymous": {}}))

    async def succeeded_build(self, tag: str | None = None) -> Build:
        build = await self.ask(builds.create_build, builds.NewBuild(10, tag))
        await self.tx(builds.mark_uploaded, build.build_key, "00")
        await self.ask(builds.start_build, build.build_id, "upload")
        now = self.studio.clock.now
        done: Build = await self.tx(builds.finish_build, build.build_key, now, "image", 7)
        return done

    def deployment_of(self, app_id: str, build_id: str, **changes: Any) -> Any:
        wanted = deployments.NewDeployment(
            app_id=app_id,
            build_id=build_id,
            cpu=0.5,
            memory_mb=1024,
            gpu=0,
            rooms_per_process=3,
            ports=(ContainerPort("default", 4000, "udp"),),
            env=(),
            idle_timeout_enabled=True,
        )
        return replace(wanted, **changes)


@pytest.fixture
def desk(studio: Studio) -> Desk:
    return Desk(studio)


@pytest.fixture
def stranger() -> Caller:
    """The admin of another organization."""
    return Caller("org-other", "org-token-other", ADMIN_SCOPES)
