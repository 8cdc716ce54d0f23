"""``innkeeper down``: stops every game of a data directory, dead control planes or not."""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from innkeeper.config import Settings
from innkeeper.core.processes import RESTARTED_AWAY
from innkeeper.core.snapshot import Limits
from innkeeper.interfaces import Context, Runtime, Store, Tx
from innkeeper.reconciler.lease import Lease, Tenure
from innkeeper.reconciler.loop import Pace, Reconciler
from innkeeper.reconciler.perform import Surroundings
from innkeeper.runtime.container import ContainerRuntime
from innkeeper.runtime.container_builder import ContainerBuilder
from innkeeper.runtime.engine_service import stop_engine_service
from innkeeper.runtime.zygote_client import stop_zygote
from innkeeper.telemetry.logs import ProcessLogs
from innkeeper.usecases import lifecycle, processes
from innkeeper.wiring import restored
from innkeeper.wiring.chance import system_ids
from innkeeper.wiring.control_plane import place_of
from innkeeper.wiring.last_run import LastRun, last_run
from innkeeper.wiring.runtimes import RuntimeParts, container_parts, now, process_parts
from innkeeper.wiring.serving import open_keeping

log = logging.getLogger(__name__)

GRACE_S = 8.0
STOP_ALL_S = 20.0


async def down(data_dir: Path, progress: Callable[[str], None]) -> None:
    """Stop every game, with its log and reason kept, then what ran them. The control plane is stopped before.

    Within 30 s; nothing to do is fine. Raises ``RuntimeAway`` where the engine does not answer:
    then games may run on, and it says so.
    """
    restored.finish(data_dir)
    before = last_run(data_dir)
    if before is not None:
        await _stop_games(data_dir, before, progress)
    await asyncio.to_thread(stop_zygote, data_dir / "processes")
    if await asyncio.to_thread(stop_engine_service, data_dir):
        progress("engine service stopped")


async def _stop_games(data_dir: Path, before: LastRun, progress: Callable[[str], None]) -> None:
    settings = replace(
        Settings(),
        data_dir=data_dir,
        engine_socket=None if before.engine_socket is None else Path(before.engine_socket),
    )
    async with contextlib.AsyncExitStack() as closing:
        keeping = await open_keeping(before.database_url, data_dir, closing)
        row = await keeping.store.read(lambda tx: tx.one("installation.first"))
        if row is None:
            return
        if before.runtime == "process":
            parts = process_parts(settings, row["installation_id"], "")
        else:
            parts = await container_parts(settings, row["installation_id"], 0, None)
        await parts.runtime.open()
        closing.push_async_callback(parts.runtime.close)
        if isinstance(parts.builder, ContainerBuilder):
            await parts.builder.end_steps()
        lease = Lease(
            keeping.store, keeping.neighbours, "down", place_of(settings), alone=keeping.alone
        )
        await lease.once(lambda tenure: _stop_all(keeping.store, parts, data_dir, progress, tenure))


async def _stop_all(
    store: Store,
    parts: RuntimeParts,
    data_dir: Path,
    progress: Callable[[str], None],
    tenure: Tenure,
) -> None:
    """The reconciler does it: everything is told to stop, and it runs until nothing is left."""
    runtime = parts.runtime
    logs = ProcessLogs(data_dir / "logs", runtime.log_source)
    policy = replace(Settings(), data_dir=data_dir).policy("localhost")
    policy = replace(policy, limits=Limits(stop_grace_s=GRACE_S, idle_stop_grace_s=GRACE_S))
    reconciler: Reconciler
    around = Surroundings(
        store,
        runtime,
        logs,
        now,
        system_ids(),
        policy,
        "127.0.0.1",
        lambda key: reconciler.wake(key),
        tenure,
    )
    reconciler = Reconciler(around, None, [], Pace(observe_s=0.2))
    count = await around.record(_stop_every_process)
    if count:
        progress(f"stopping {count} processes")
    running = asyncio.create_task(reconciler.run())
    try:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_ALL_S):
                while await store.read(lifecycle.unfinished_ids):  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    await _remove_the_rest(runtime)


def _stop_every_process(tx: Tx, context: Context) -> int:
    count = 0
    for row in tx.all("processes.unfinished_ids"):
        process = processes.find(tx, row["process_id"])
        if process is not None and process.terminated_at is None:
            count += 1
            processes.mark_stopping(tx, process, RESTARTED_AWAY, GRACE_S, context)
    return count


async def _remove_the_rest(runtime: Runtime) -> None:
    """What nobody owns any more, or did not end in time, is removed by force; then the sandboxes."""
    if isinstance(runtime, ContainerRuntime):
        await runtime.remove_all()
        return
    for process_id in (await runtime.observe()).processes:
        log.warning("process %s did not end in time: removing it", process_id)
        await runtime.remove(process_id)
