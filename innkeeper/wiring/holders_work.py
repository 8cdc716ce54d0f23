"""What one server of an installation does for all of them, for as long as it holds the lease.

Whoever adds such work adds it to :meth:`HoldersWork.loops`, or to the sweeps where a minute is soon enough.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from innkeeper.config import Settings
from innkeeper.interfaces import LockKey
from innkeeper.reconciler.build_runner import SerialBuildRunner
from innkeeper.reconciler.loop import Reconciler
from innkeeper.reconciler.perform import Surroundings
from innkeeper.reconciler.sampling import Sampler, SamplerPace
from innkeeper.reconciler.sandboxes import SandboxKeeper
from innkeeper.reconciler.webhooks import WebhookKeeper
from innkeeper.telemetry.logs import ProcessLogs
from innkeeper.telemetry.own_cpu import OwnCpu
from innkeeper.usecases import fleet_metrics, lifecycle
from innkeeper.usecases.logs import retention_cuts

SANDBOXES_MAX = 64


class HoldersWork:
    """Made anew for each tenure: nothing in memory outlives it. All that it writes goes by ``around.record``,
    which shows the fence.
    """

    def __init__(
        self,
        around: Surroundings,
        logs: ProcessLogs,
        builds: SerialBuildRunner,
        settings: Settings,
        webhooks: WebhookKeeper | None = None,
    ) -> None:
        self._around = around
        self._logs = logs
        self._builds = builds
        self._webhooks = webhooks
        keeper = _sandbox_keeper(around, settings.sandboxes_ahead)
        self.reconciler = Reconciler(around, keeper, self._sweeps())
        self.sampler = Sampler(
            around, self.reconciler.watch, SamplerPace(settings.sample_interval_s)
        )

    def wake(self, key: LockKey) -> None:
        """A hint that something about this app in this region changed."""
        self.reconciler.wake(key)

    def loops(self) -> list[Callable[[], Coroutine[Any, Any, None]]]:
        """What runs side by side, each until it is cancelled."""
        told = [] if self._webhooks is None else [self._webhooks.run]
        return [self.reconciler.run, self.sampler.run, *told]

    async def run(self) -> None:
        """Until cancelled; where one loop fails, all end and the reason is raised."""
        async with asyncio.TaskGroup() as group:
            for loop in self.loops():
                group.create_task(loop())

    def _sweeps(self) -> list[Callable[[], Awaitable[object]]]:
        around, own = self._around, OwnCpu()
        return [
            lambda: around.record(
                lambda tx, c: fleet_metrics.record_sample(tx, c.now, own.millis())
            ),
            lambda: around.record(lambda tx, c: lifecycle.sweep(tx, c)),
            lambda: _prune_logs(around, self._logs),
            self._builds.sweep,
        ]


async def _prune_logs(around: Surroundings, logs: ProcessLogs) -> None:
    """An org may keep its logs for longer, or shorter, than the installation does."""
    kept, store = await logs.kept_ids(), around.store
    await logs.prune(await store.read(lambda tx: retention_cuts(tx, kept, around.clock())))


def _sandbox_keeper(around: Surroundings, ahead: int) -> SandboxKeeper | None:
    """``None`` where the runtime makes no sandboxes, or none shall be made ahead."""
    if not ahead or not around.runtime.capabilities.sandboxes:
        return None
    return SandboxKeeper(around, ahead, SANDBOXES_MAX)
