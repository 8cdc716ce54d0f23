"""The records of builds (behaviour.md 1.3, 2)."""

from datetime import timedelta
from typing import Any

import pytest

from innkeeper.core.errors import Invalid, NotFound, StateConflict
from innkeeper.usecases import builds
from innkeeper.usecases.builds import NewBuild


async def test_a_new_build_has_an_id_and_nothing_else_yet(desk: Any) -> None:
    build = await desk.ask(builds.create_build, NewBuild(5_000_000, "v1"))
    assert build.build_id.startswith("bld-")
    assert (build.status, build.kind, build.build_tag) == ("created", "upload", "v1")
    assert (build.image_size, build.upload_size, build.uploaded) == (0, 5_000_000, False)
    assert (build.started_at, build.finished_at, build.content_hash) == (None, None, None)
    assert (await desk.ask(builds.create_build, NewBuild(None))).kind == "registry"


@pytest.mark.parametrize("size", [0, -1, 1.5, 10 * 1024**3 + 1, 1e300])
async def test_a_bad_size_is_refused(desk: Any, size: float) -> None:
    with pytest.raises(Invalid, match=r"body\.buildSizeInBytes"):
        await desk.ask(builds.create_build, NewBuild(size))


@pytest.mark.parametrize("build_id", ["", "a/b", "a\n", "ä", "x" * 101, "..", ".", "registry"])
async def test_a_bad_id_is_refused(desk: Any, build_id: str) -> None:
    with pytest.raises(Invalid, match=r"body\.buildId"):
        await desk.ask(builds.create_build, NewBuild(1, None, build_id))


async def test_a_chosen_id_is_used_once_in_its_org_even_after_a_deletion(
    desk: Any, stranger: Any
) -> None:
    await desk.ask(builds.create_build, NewBuild(1, None, "v1.0_a-b"))
    with pytest.raises(StateConflict, match="already exists"):
        await desk.ask(builds.create_build, NewBuild(None, None, "v1.0_a-b"))
    await desk.ask(builds.delete_build, "v1.0_a-b")
    with pytest.raises(StateConflict, match="deleted build"):
        await desk.ask(builds.create_build, NewBuild(1, None, "v1.0_a-b"))
    with pytest.raises(NotFound):
        await desk.ask(builds.get_build, "v1.0_a-b", caller=stranger)


async def test_a_build_runs_once_and_only_with_its_archive(desk: Any) -> None:
    build = await desk.ask(builds.create_build, NewBuild(1))
    with pytest.raises(StateConflict, match="complete its upload"):
        await desk.ask(builds.start_build, build.build_id, "upload")
    with pytest.raises(StateConflict, match="created for run"):
        await desk.ask(builds.start_build, build.build_id, "registry")
    assert await desk.tx(builds.mark_uploaded, build.build_key, "ab")
    running = await desk.ask(builds.start_build, build.build_id, "upload")
    assert (running.status, running.started_at, running.content_hash) == (
        "running",
        desk.studio.clock.now,
        "ab",
    )
    with pytest.raises(StateConflict, match="already been run"):
        await desk.ask(builds.start_build, build.build_id, "upload")
    assert not await desk.tx(builds.mark_uploaded, build.build_key, "cd")
    with pytest.raises(NotFound):
        await desk.ask(builds.start_build, "bld-unknown", "upload")


async def test_the_end_of_a_build_is_recorded_once(desk: Any) -> None:
    build = await desk.succeeded_build()
    assert (build.status, build.image_ref, build.image_size) == ("succeeded", "image", 7)
    later = desk.studio.clock.now + timedelta(hours=1)
    again = await desk.tx(builds.finish_build, build.build_key, later, None, 0)
    assert again == build
    assert await desk.tx(builds.finish_build, "unknown", later, None, 0) is None


async def test_a_registry_build_needs_no_archive(desk: Any) -> None:
    build = await desk.ask(builds.create_build, NewBuild(None))
    with pytest.raises(StateConflict, match="runRegistry"):
        await desk.ask(builds.start_build, build.build_id, "upload")
    assert (await desk.ask(builds.start_build, build.build_id, "registry")).status == "running"


async def test_the_list_is_newest_first_without_deleted_builds(desk: Any) -> None:
    made = [await desk.ask(builds.create_build, NewBuild(1)) for _ in range(3)]
    await desk.ask(builds.delete_build, made[1].build_id)
    assert await desk.ask(builds.list_builds, None) == [made[2], made[0]]
    with pytest.raises(NotFound, match="it was deleted"):
        await desk.ask(builds.get_build, made[1].build_id)
    with pytest.raises(NotFound):
        await desk.ask(builds.delete_build, made[1].build_id)
    assert await desk.tx(builds.find_by_key, made[1].build_key) is None
    assert await desk.tx(builds.find_by_key, made[0].build_key) == made[0]


async def test_a_deleted_builds_image_is_remembered_until_it_is_gone(desk: Any) -> None:
    build = await desk.succeeded_build()
    assert await desk.tx(builds.images_to_remove) == []
    await desk.ask(builds.delete_build, build.build_id)
    (left,) = await desk.tx(builds.images_to_remove)
    assert left.image_ref == "image"
    await desk.tx(builds.forget_image, build.build_key)
    assert await desk.tx(builds.images_to_remove) == []


async def test_archives_are_wanted_until_the_build_has_run_or_is_too_old(desk: Any) -> None:
    waiting = await desk.ask(builds.create_build, NewBuild(1))
    await desk.succeeded_build()
    deleted = await desk.ask(builds.create_build, NewBuild(1))
    await desk.ask(builds.delete_build, deleted.build_id)
    before = waiting.created_at - timedelta(milliseconds=1)
    assert await desk.tx(builds.awaiting_run, before) == {waiting.build_key}
    assert await desk.tx(builds.awaiting_run, waiting.created_at) == set()


@pytest.mark.parametrize(
    ("size", "chunk", "sizes"),
    [(10, 4, [4, 4, 2]), (8, 4, [4, 4]), (1, 100, [1]), (100, 100, [100])],
)
def test_an_archive_is_cut_into_whole_chunks_and_a_rest(
    size: int, chunk: int, sizes: list[int]
) -> None:
    parts = builds.upload_parts(size, chunk)
    assert [part.size for part in parts] == sizes
    assert [part.number for part in parts] == list(range(1, len(sizes) + 1))


def test_a_huge_archive_has_larger_parts_instead_of_too_many() -> None:
    parts = builds.upload_parts(100_000_001, 10)
    assert len(parts) <= builds.PARTS_MAX
    assert sum(part.size for part in parts) == 100_000_001
