"""Builds run one at a time, end with a final status before their log ends, and leave nothing."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from innkeeper.core.errors import BuildFailed, RuntimeAway
from innkeeper.interfaces import BuiltImage
from innkeeper.reconciler import build_claims, build_runner
from innkeeper.reconciler.build_claims import BuildClaims
from innkeeper.reconciler.build_log import BuildLog
from innkeeper.reconciler.build_runner import SerialBuildRunner
from innkeeper.store.opening import open_store
from innkeeper.telemetry.uploads import UploadsOnDisk
from innkeeper.testing.studio import Studio
from innkeeper.usecases import builds, processes
from innkeeper.usecases.builds import NewBuild


@dataclass
class ToldBuilder:
    """Builds when told to: each build takes the next of ``outcomes`` once ``go`` is set."""

    outcomes: list[BaseException | int] = field(default_factory=list)
    go: asyncio.Event = field(default_factory=asyncio.Event)
    building: list[str] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    cleared: list[str] = field(default_factory=list)
    most_at_once: int = 0
    away: bool = False

    async def build(self, build_key: str, archive: Path, log: Callable[[str], None]) -> BuiltImage:
        assert archive.exists()
        return await self._make(build_key, log)

    async def pull(
        self,
        build_key: str,
        image: str,
        registry_url: str | None,
        auth: str | None,
        log: Callable[[str], None],
    ) -> BuiltImage:
        log(f"pulling {image} from {registry_url}")
        return await self._make(build_key, log)

    async def discard(self, build_key: str) -> None:
        self.cleared.append(build_key)

    async def delete(self, image_ref: str) -> None:
        if self.away:
            raise RuntimeAway("the engine is away")
        self.deleted.append(image_ref)

    async def _make(self, build_key: str, log: Callable[[str], None]) -> BuiltImage:
        self.building.append(build_key)
        self.most_at_once = max(self.most_at_once, len(self.building))
        try:
            await asyncio.to_thread(log, "step one\nstep two")
            await self.go.wait()
            outcome = self.outcomes.pop(0) if self.outcomes else 7
            if isinstance(outcome, BaseException):
                raise outcome
            return BuiltImage(f"image-{build_key}", outcome)
        finally:
            self.building.remove(build_key)


class Yard:
    """A runner over a real store and real uploads."""

    def __init__(self, studio: Studio, path: Path) -> None:
        self.studio = studio
        self.path = path
        self.builder = ToldBuilder()
        self.uploads = UploadsOnDisk(path / "uploads")
        self.runner = self.another()

    def another(self, **changes: Any) -> SerialBuildRunner:
        return SerialBuildRunner(
            self.studio.store,
            self.builder,
            self.uploads,
            self.studio.clock,
            self.path / "builds",
            **changes,
        )

    async def uploaded(self, start: bool = True) -> str:
        """A build whose archive is there, said to run; its key."""
        build = await self.studio.ask(builds.create_build, NewBuild(3))

        async def body() -> AsyncIterator[bytes]:
            yield b"tgz"

        etag = await self.uploads.put_part(build.build_key, 1, 3, body())
        digest = await self.uploads.assemble(build.build_key, [(1, etag)], 3)
        await self.studio.store.write(lambda tx: builds.mark_uploaded(tx, build.build_key, digest))
        if start:
            await self.start(build.build_id, "upload")
        return str(build.build_key)

    async def start(self, build_id: str, kind: Any) -> Any:
        context, caller = self.studio.context(), self.studio.caller
        return await self.studio.store.write(
            lambda tx: builds.start_build(tx, caller, build_id, kind, context)
        )

    async def record(self, build_key: str) -> Any:
        row = await self.studio.store.read(lambda tx: tx.one("builds.by_key", build_key=build_key))
        return builds.build_from(row)

    def files(self) -> list[str]:
        return sorted(p.name for p in (self.path / "uploads").rglob("*") if p.is_file())


@pytest.fixture
async def yard(tmp_path: Path) -> AsyncIterator[Yard]:
    store = await open_store(tmp_path / "innkeeper.sqlite")
    yard = Yard(await Studio(store).open(), tmp_path)
    yield yard
    yard.builder.go.set()
    await yard.runner.settled()
    await store.close()


async def text(chunks: AsyncIterator[bytes]) -> str:
    return (b"".join([chunk async for chunk in chunks])).decode()


async def test_a_build_that_succeeds_says_so_last_and_is_recorded_before(yard: Yard) -> None:
    key = await yard.uploaded()
    build = await yard.record(key)
    yard.builder.go.set()
    yard.studio.clock.move(5)
    log = await text(await yard.runner.run_upload(key))
    assert log == f"step one\nstep two\nBuild succeeded: {build.build_id} (7 bytes)\n"
    done = await yard.record(key)
    assert (done.status, done.image_size, done.image_ref) == ("succeeded", 7, f"image-{key}")
    assert done.finished_at == yard.studio.clock.now
    assert yard.files() == []
    assert await text(yard.runner.read_log(key)) == log


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (BuildFailed("no Dockerfile"), "no Dockerfile"),
        (RuntimeAway("the engine is away"), "the engine is away"),
        (TimeoutError("inner"), "internal error (TimeoutError); the server's log has the details"),
        (ValueError("secret"), "internal error (ValueError); the server's log has the details"),
    ],
)
async def test_a_build_that_fails_says_why_and_leaves_no_file(
    yard: Yard, fault: Exception, said: str
) -> None:
    key = await yard.uploaded()
    yard.builder.outcomes = [fault]
    yard.builder.go.set()
    log = await text(await yard.runner.run_upload(key))
    assert log.endswith(f"\nBuild failed: {said}\n")
    done = await yard.record(key)
    assert (done.status, done.image_size, done.image_ref) == ("failed", 0, None)
    assert yard.files() == []
    assert yard.builder.cleared == [key]


async def test_the_status_is_final_before_the_last_line_is_read(yard: Yard) -> None:
    key = await yard.uploaded()
    yard.builder.go.set()
    async for chunk in await yard.runner.run_upload(key):
        if b"Build succeeded" in chunk:
            assert (await yard.record(key)).status == "succeeded"


async def test_builds_wait_for_one_another_and_say_so(yard: Yard) -> None:
    keys = [await yard.uploaded() for _ in range(3)]
    streams = [await yard.runner.run_upload(key) for key in keys]
    first = await anext(streams[0])
    assert first == b"step one\nstep two\n"
    assert await anext(streams[1]) == b"Waiting for another build to finish\n"
    yard.builder.go.set()
    logs = [await text(stream) for stream in streams]
    assert all("Build succeeded" in log for log in logs)
    assert yard.builder.most_at_once == 1


async def test_a_reader_that_leaves_stops_nothing(yard: Yard) -> None:
    key = await yard.uploaded()
    stream = await yard.runner.run_upload(key)
    await anext(stream)
    await stream.aclose()  # type: ignore[attr-defined]
    yard.builder.go.set()
    await yard.runner.settled()
    assert (await yard.record(key)).status == "succeeded"


async def test_a_build_has_a_time_limit(yard: Yard) -> None:
    runner = yard.another(limit_s=0.01)
    key = await yard.uploaded()
    log = await text(await runner.run_upload(key))
    assert log.endswith("Build failed: it took longer than 0.000166667 minutes\n")
    assert (await yard.record(key)).status == "failed"


async def test_an_archive_that_is_gone_fails_the_build(yard: Yard) -> None:
    key = await yard.uploaded()
    await yard.uploads.discard(key)
    log = await text(await yard.runner.run_upload(key))
    assert log == "Build failed: its archive is not on this machine any more\n"


async def test_a_registrys_image_is_pulled(yard: Yard) -> None:
    build = await yard.studio.ask(builds.create_build, NewBuild(None))
    await yard.start(build.build_id, "registry")
    yard.builder.go.set()
    log = await text(await yard.runner.run_registry(build.build_key, "a/b:c", "example.test", "x"))
    assert log.startswith("pulling a/b:c from example.test\n")
    assert (await yard.record(build.build_key)).status == "succeeded"


async def test_a_restart_fails_what_ran_and_says_so_in_its_log(yard: Yard) -> None:
    key = await yard.uploaded()
    waiting = await yard.uploaded(start=False)
    stream = await yard.runner.run_upload(key)
    await anext(stream)
    yard.runner._claims.drop(key)  # as the kernel does when a server is killed
    await yard.another().open()  # as another life of the server would
    done = await yard.record(key)
    assert (done.status, done.finished_at) == ("failed", yard.studio.clock.now)
    log = await text(yard.another().read_log(key))
    assert log.startswith("step one\nstep two\nBuild failed: Innkeeper was restarted")
    assert yard.builder.cleared == [key]
    assert (await yard.record(waiting)).status == "created"
    assert yard.uploads.archive(waiting) is not None
    yard.builder.go.set()
    assert (await text(stream)).endswith("its record had ended before\n")
    assert yard.builder.deleted == [f"image-{key}"]


async def test_servers_that_share_a_directory_leave_each_others_builds_alone(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build_runner, "LOOK_S", 0.01)
    monkeypatch.setattr(build_claims, "_LOOK_S", 0.01)
    here, there = yard.another(alone=False), yard.another(alone=False)
    keys = [await yard.uploaded() for _ in range(2)]
    yard.studio.clock.move(3600)
    stream = await here.run_upload(keys[0])
    assert await anext(stream) == b"step one\nstep two\n"
    waiting = await there.run_upload(keys[1])
    assert await anext(waiting) == b"Waiting for another build to finish\n"
    await there.open(joins=True)
    await there.sweep()
    await here.sweep()
    assert [(await yard.record(key)).status for key in keys] == ["running", "running"]
    assert len(yard.files()) == 2
    # Deleted through the server that does not run it.
    build_id = (await yard.record(keys[0])).build_id
    await yard.studio.ask(builds.delete_build, build_id)
    await there.discard(keys[0], None)
    assert "Build failed: the build was deleted" in await text(stream)
    yard.builder.go.set()
    assert "Build succeeded" in await text(waiting)
    assert yard.builder.most_at_once == 1
    await here.settled()
    await there.settled()
    assert yard.files() == []
    # What a server that was killed left behind is found by the sweep of another.
    lost = await yard.uploaded()
    claims = BuildClaims(yard.path / "builds")
    claims.take(lost)
    yard.studio.clock.move(3600)
    await there.sweep()
    assert (await yard.record(lost)).status == "running"
    os.close(claims._held.pop(lost))
    await there.sweep()
    assert (await yard.record(lost)).status == "failed"
    assert sorted(p.name for p in (yard.path / "builds").glob("*.claim")) == []


async def test_closing_stops_what_runs_which_then_has_failed(yard: Yard) -> None:
    keys = [await yard.uploaded() for _ in range(2)]
    streams = [await yard.runner.run_upload(key) for key in keys]
    await anext(streams[0])
    await yard.runner.close()
    for key, stream in zip(keys, streams, strict=True):
        assert "Build failed: Innkeeper was stopped" in await text(stream)
        assert (await yard.record(key)).status == "failed"


async def test_a_deleted_build_stops_and_gives_everything_back(yard: Yard) -> None:
    key = await yard.uploaded()
    build = await yard.record(key)
    stream = await yard.runner.run_upload(key)
    await anext(stream)
    await yard.studio.ask(builds.delete_build, build.build_id)
    await yard.runner.discard(key, None)
    assert "Build failed: the build was deleted" in await text(stream)
    await yard.runner.settled()
    assert yard.files() == []
    assert await text(yard.runner.read_log(key)) == ""


async def test_a_deleted_builds_image_goes_and_if_need_be_later(yard: Yard) -> None:
    key = await yard.uploaded()
    yard.builder.go.set()
    await text(await yard.runner.run_upload(key))
    build = await yard.record(key)
    await yard.studio.ask(builds.delete_build, build.build_id)
    yard.builder.away = True
    await yard.runner.discard(key, build.image_ref)
    await yard.runner.settled()
    assert (await yard.record(key)).image_ref == f"image-{key}"
    yard.builder.away = False
    await yard.runner.sweep()
    await yard.runner.sweep()
    assert yard.builder.deleted == [f"image-{key}"]
    assert (await yard.record(key)).image_ref is None


async def test_an_image_stays_while_a_process_uses_it(yard: Yard) -> None:
    key = await yard.uploaded()
    yard.builder.go.set()
    await text(await yard.runner.run_upload(key))
    build = await yard.record(key)
    deployment = await yard.studio.deploy(build_id=build.build_id)
    assert deployment.build_key == key
    studio = yard.studio
    process_id = await studio.store.write(
        lambda tx: processes.new_process(
            tx, studio.caller.org_id, deployment, "Tokyo", None, studio.context(), "for a test"
        )
    )
    await yard.studio.ask(builds.delete_build, build.build_id)
    await yard.runner.discard(key, build.image_ref)
    await yard.runner.settled()
    assert yard.builder.deleted == []

    def ends(tx: Any) -> None:
        tx.run("processes.mark_terminated", process_id=process_id, at=1, failed=0, reason="done")
        tx.run("processes.mark_removed", process_id=process_id)

    await studio.store.write(ends)
    await yard.runner.sweep()
    assert yard.builder.deleted == [f"image-{key}"]


async def test_uploads_that_nobody_ran_are_swept_after_their_links_ended(yard: Yard) -> None:
    await yard.uploaded(start=False)
    yard.studio.clock.move(24 * 3600)
    await yard.runner.sweep()
    assert len(yard.files()) == 1
    yard.studio.clock.move(2 * 3600)
    await yard.runner.sweep()
    assert yard.files() == []


async def test_a_log_is_bounded_folds_long_lines_and_keeps_its_end(tmp_path: Path) -> None:
    log = BuildLog(tmp_path / "a.log", bytes_max=40_000)
    log.line("x" * 20_000 + "\r\ny\ud800")
    for _ in range(10):
        log.line("z" * 9_000)
    log.line("small")
    log.end("Build failed: told\nyou")
    log.line("a thread that had not heard yet")
    lines = (await text(log.follow())).splitlines()
    assert [len(line) for line in lines[:3]] == [16_384, 20_000 - 16_384, 2]
    assert "longer than is kept" in lines[-3]
    assert lines[-2:] == ["Build failed: told", "you"]
    assert (tmp_path / "a.log").stat().st_size < 41_000
