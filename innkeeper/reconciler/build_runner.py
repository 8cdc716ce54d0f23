"""Runs builds one at a time, beside the requests that asked for them (behaviour.md 2.1, 2.6): on the server
that took the request, one at a time among all that share the directory.

A build's status is final before its log ends. Whoever reads it may leave; the build goes on.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from innkeeper.core.catalog import Build
from innkeeper.core.errors import BuildFailed, InnkeeperError
from innkeeper.interfaces import Builder, BuiltImage, Clock, Store, Uploads
from innkeeper.reconciler.build_claims import BuildClaims
from innkeeper.reconciler.build_log import BuildLog, append_line, read_log
from innkeeper.usecases import builds

log = logging.getLogger(__name__)

BUILD_LIMIT_S = 30 * 60.0
# Archives of builds that nobody ran are kept for as long as their links work, and a little.
UPLOADS_KEPT = timedelta(hours=25)
# Between the record that a build runs and the run itself there is a moment.
RECORD_GRACE = timedelta(minutes=1)
CLOSE_LIMIT_S = 3.0
LOOK_S = 1.0  # between two looks whether a build that runs was deleted through another server
DELETED = "the build was deleted"

Make = Callable[[Callable[[str], None]], Awaitable[BuiltImage]]


@dataclass(slots=True, eq=False)
class _Run:
    """A build under way. ``stopped`` is why its work was cancelled."""

    build_key: str
    log: BuildLog
    work: "asyncio.Task[BuiltImage]"
    stopped: str | None = None

    def stop(self, reason: str) -> None:
        self.stopped = self.stopped or reason
        self.work.cancel()


class SerialBuildRunner:
    """See :class:`~innkeeper.interfaces.BuildRunner`."""

    def __init__(
        self,
        store: Store,
        builder: Builder,
        uploads: Uploads,
        clock: Clock,
        directory: Path,
        limit_s: float = BUILD_LIMIT_S,
        alone: bool = True,
    ) -> None:
        """``directory`` keeps the logs; other servers share it unless this one is ``alone``. Make it in the
        event loop; ``open`` before use.
        """
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._store = store
        self._builder = builder
        self._uploads = uploads
        self._clock = clock
        self._directory = directory
        self._limit_s = limit_s
        self._alone = alone
        self._claims = BuildClaims(directory)
        self._turn = asyncio.Semaphore(1)
        self._runs: dict[str, _Run] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self, joins: bool = False) -> None:
        """Fail the builds that a restart ended, then sweep.

        ``joins``: other servers are at work, and the sweeps of one of them do it.
        """
        if not joins:
            await self._fail_interrupted(self._clock())
            await self.sweep()

    async def run_upload(self, build_key: str) -> AsyncIterator[bytes]:
        """See :class:`~innkeeper.interfaces.BuildRunner`."""

        async def make(line: Callable[[str], None]) -> BuiltImage:
            archive = self._uploads.archive(build_key)
            if archive is None:
                raise BuildFailed("its archive is not on this machine any more")
            return await self._builder.build(build_key, archive, line)

        return self._begin(build_key, make)

    async def run_registry(
        self, build_key: str, image: str, registry_url: str | None, auth: str | None
    ) -> AsyncIterator[bytes]:
        """See :class:`~innkeeper.interfaces.BuildRunner`."""

        async def make(line: Callable[[str], None]) -> BuiltImage:
            return await self._builder.pull(build_key, image, registry_url, auth, line)

        return self._begin(build_key, make)

    def read_log(self, build_key: str) -> AsyncIterator[bytes]:
        """See :class:`~innkeeper.interfaces.BuildRunner`."""
        return read_log(self._log_path(build_key))

    async def discard(self, build_key: str, image_ref: str | None) -> None:
        """See :class:`~innkeeper.interfaces.BuildRunner`."""
        self._beside(self._discarded(build_key, image_ref))

    async def sweep(self) -> None:
        """Fail what is said to run and does not, and remove what nothing needs: images, uploads, logs."""
        now = self._clock()
        await self._fail_interrupted(now - RECORD_GRACE)
        running = self._running()
        wanted = await self._store.read(lambda tx: builds.awaiting_run(tx, now - UPLOADS_KEPT))
        await self._uploads.sweep(wanted | running)
        logged = await self._store.read(builds.logged_builds)
        for path in self._directory.glob("*.log"):
            if path.stem not in logged and path.stem not in running:
                path.unlink(missing_ok=True)
        for build in await self._store.read(builds.images_to_remove):
            await self._remove_image(build)

    async def settled(self) -> None:
        """Done when every build and every removal under way is."""
        while self._tasks:
            await asyncio.wait(set(self._tasks))

    async def close(self) -> None:
        """Stop the builds under way, which fail and say so; the next start fails those that hang."""
        for run in list(self._runs.values()):
            run.stop("Innkeeper was stopped while it ran; create a new build")
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=CLOSE_LIMIT_S)

    async def _fail_interrupted(self, started_by: datetime) -> None:
        now, running = self._clock(), self._running()
        ended = await self._store.write(
            lambda tx: builds.fail_interrupted(tx, now, started_by, running)
        )
        for build in ended:
            append_line(
                self._log_path(build.build_key),
                "Build failed: Innkeeper was restarted while it ran; create a new build",
            )
            await self._clear(build.build_key)

    def _running(self) -> set[str]:
        return set(self._runs) | self._claims.of_others()

    def _begin(self, build_key: str, make: Make) -> AsyncIterator[bytes]:
        self._claims.take(build_key)
        build_log = BuildLog(self._log_path(build_key))
        work = asyncio.create_task(self._in_turn(make, build_log))
        run = self._runs[build_key] = _Run(build_key, build_log, work)
        self._beside(self._finish(run))
        if not self._alone:
            self._beside(self._stop_if_deleted(run))
        return build_log.follow()

    def _beside(self, work: Coroutine[Any, Any, None]) -> None:
        # The set keeps the task alive; the event loop alone would not.
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _in_turn(self, make: Make, build_log: BuildLog) -> BuiltImage:
        """Wait for the builds before it, then build, within the limit."""

        def waits() -> None:
            build_log.line("Waiting for another build to finish")

        if self._turn.locked():
            waits()
        async with self._turn, self._claims.turn(waits):
            limit = asyncio.timeout(self._limit_s)
            try:
                async with limit:
                    return await make(build_log.line)
            except TimeoutError as late:
                if not limit.expired():
                    raise
                raise BuildFailed(f"it took longer than {self._limit_s / 60:g} minutes") from late

    async def _finish(self, run: _Run) -> None:
        """Wait for the work, record how it ended, and only then end the log."""
        image, reason = await self._outcome(run)
        last = f"Build failed: {reason}"
        try:
            build = await self._recorded(run.build_key, image)
            await self._uploads.discard(run.build_key)
            if image is None:
                await self._clear(run.build_key)
            if image is not None and (build is None or build.status != "succeeded"):
                last = "Build failed: its record had ended before"
                await self._builder.delete(image.image_ref)
            elif image is not None and build is not None:
                last = f"Build succeeded: {build.build_id} ({image.size_bytes} bytes)"
            if build is not None and build.deleted_at is not None:
                await self._remove_image(build)
                self._log_path(run.build_key).unlink(missing_ok=True)
        except (InnkeeperError, OSError) as fault:
            log.exception("build %s: its end could not be recorded", run.build_key)
            last = f"Build failed: its end could not be recorded: {fault}"
        finally:
            del self._runs[run.build_key]
            run.log.end(last)
            self._claims.drop(run.build_key)

    async def _recorded(self, build_key: str, image: BuiltImage | None) -> Build | None:
        now = self._clock()
        ref, size = (None, 0) if image is None else (image.image_ref, image.size_bytes)
        return await self._store.write(
            lambda tx: builds.finish_build(tx, build_key, now, ref, size)
        )

    async def _outcome(self, run: _Run) -> tuple[BuiltImage | None, str]:
        """The image, or ``None`` and why not."""
        try:
            return await run.work, ""
        except asyncio.CancelledError:
            if run.stopped is None:
                raise
            return None, run.stopped
        except InnkeeperError as fault:
            return None, fault.message
        except Exception as fault:
            log.exception("build %s failed for a reason of ours", run.build_key)
            return (
                None,
                f"internal error ({type(fault).__name__}); the server's log has the details",
            )

    async def _discarded(self, build_key: str, image_ref: str | None) -> None:
        run = self._runs.get(build_key)
        if run is not None:
            run.stop(DELETED)  # what it leaves is removed when it ends
            return
        if build_key in self._claims.of_others():
            return  # that server will see it, and then do the same
        await self._uploads.discard(build_key)
        self._log_path(build_key).unlink(missing_ok=True)
        if image_ref is not None:
            for build in await self._store.read(builds.images_to_remove):
                if build.build_key == build_key:
                    await self._remove_image(build)

    async def _stop_if_deleted(self, run: _Run) -> None:
        """Another server may take the request that deletes it."""
        while self._runs.get(run.build_key) is run:
            await asyncio.sleep(LOOK_S)
            try:
                kept = await self._store.read(lambda tx: builds.find_by_key(tx, run.build_key))
            except InnkeeperError:
                continue  # the store is away; it will be back
            if kept is None:
                run.stop(DELETED)
                return

    async def _clear(self, build_key: str) -> None:
        """Remove what a build left that has no image on record."""
        try:
            await self._builder.discard(build_key)
        except InnkeeperError as fault:
            log.warning("build %s may have left an image behind: %s", build_key, fault)

    async def _remove_image(self, build: Build) -> None:
        if build.image_ref is None:
            return
        try:
            await self._builder.delete(build.image_ref)
            await self._store.write(lambda tx: builds.forget_image(tx, build.build_key))
        except InnkeeperError as fault:
            log.warning("the image of deleted build %s stays for now: %s", build.build_id, fault)

    def _log_path(self, build_key: str) -> Path:
        return self._directory / f"{build_key}.log"
