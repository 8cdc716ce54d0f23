"""A studio in a store, for tests: an org with an admin, an app, a build that succeeded, a deployment."""

import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from innkeeper.core.accounts import ADMIN_SCOPES, Caller
from innkeeper.core.capacity import Machine
from innkeeper.core.catalog import App, ContainerPort, Deployment
from innkeeper.core.ids import Ids
from innkeeper.core.snapshot import Limits
from innkeeper.interfaces import Context, Policy, Store, Tx
from innkeeper.usecases import apps, builds, deployments, installation

START = datetime(2026, 1, 31, 12, tzinfo=UTC)
TOKEN = "a-token-for-tests-only"  # noqa: S105
PORTS = (20_000, 20_099)


@dataclass(slots=True)
class MovedClock:
    """A clock that the test moves."""

    now: datetime = START

    def __call__(self) -> datetime:
        """The present moment."""
        return self.now

    def move(self, seconds: float) -> None:
        """Time passes."""
        self.now += timedelta(seconds=seconds)


@dataclass(slots=True)
class Studio:
    """What a test asks use cases with."""

    store: Store
    clock: MovedClock = field(default_factory=MovedClock)
    ids: Ids = field(default_factory=lambda: Ids(random.Random(1).getrandbits))
    policy: Policy = field(
        default_factory=lambda: Policy(("Tokyo", "London"), "play.test", Limits())
    )
    machine: Machine = Machine(64_000, 64_000, 16, 65_536)
    caller: Caller = Caller("", "", frozenset())
    app: App | None = None

    async def open(self) -> "Studio":
        """The installation, its org and admin, and an app."""

        def make(tx: Tx) -> App:
            context = self.context()
            installation.seed_installation(tx, context, self.machine, *PORTS)
            org_id = installation.ensure_admin(tx, context, TOKEN)
            self.caller = Caller(org_id, "org-token-test", ADMIN_SCOPES)
            return apps.create_app(tx, self.caller, apps.NewApp("my-game", {}), context)

        self.app = await self.store.write(make)
        return self

    @property
    def app_id(self) -> str:
        """The app's id."""
        assert self.app is not None, "open() comes first"
        return self.app.app_id

    def context(self) -> Context:
        """The surroundings of one use case, now."""
        return Context(self.clock(), self.ids, self.policy)

    async def ask(self, use_case: Any, wanted: Any) -> Any:
        """Run a use case in a write transaction as the admin."""
        context = self.context()
        return await self.store.write(lambda tx: use_case(tx, self.caller, wanted, context))

    async def build(self, build_id: str | None = None) -> str:
        """A build that succeeded; returns its id."""

        def make(tx: Tx) -> str:
            context = self.context()
            wanted = builds.NewBuild(None, build_id=build_id)
            build = builds.create_build(tx, self.caller, wanted, context)
            builds.start_build(tx, self.caller, build.build_id, "registry", context)
            builds.finish_build(tx, build.build_key, context.now, f"image-of-{build.build_id}", 1)
            return build.build_id

        return await self.store.write(make)

    async def deploy(self, **changes: Any) -> Deployment:
        """A deployment of a new build: one room a process, UDP on 7777, unless told otherwise."""
        given: dict[str, Any] = {
            "build_id": changes.pop("build_id", None) or await self.build(),
            "cpu": 0.5,
            "memory_mb": 512,
            "gpu": 0,
            "rooms_per_process": 1,
            "ports": (ContainerPort("default", 7777, "udp"),),
            "env": (),
            "idle_timeout_enabled": True,
        }
        wanted = deployments.NewDeployment(app_id=self.app_id, **(given | changes))
        made: Deployment = await self.ask(deployments.create_deployment, wanted)
        return made
