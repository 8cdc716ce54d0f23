"""Builds as one app counts them (behaviour.md 1.2)."""

from typing import Any

import pytest

from innkeeper.core.errors import NotFound, StateConflict
from innkeeper.interfaces import ReceivedArchive
from innkeeper.usecases import app_builds, builds, deployments
from innkeeper.usecases.app_builds import NewAppBuild
from innkeeper.usecases.builds import NewBuild

UPLOAD = NewBuild(None, "tag", kind="upload")


async def test_each_app_counts_from_one(desk: Any) -> None:
    app, other = await desk.app(), await desk.app("other")
    made = [
        await desk.ask(app_builds.create_app_build, NewAppBuild(where.app_id, UPLOAD))
        for where in (app, app, other)
    ]
    assert [numbered.number for numbered in made] == [1, 2, 1]
    assert len({numbered.build.build_id for numbered in made}) == 3
    assert (made[0].build.kind, made[0].build.build_tag) == ("upload", "tag")
    listed = await desk.ask(app_builds.list_app_builds, app.app_id)
    assert listed == [made[1], made[0]]
    # The org has them all.
    assert len(await desk.ask(builds.list_builds, None)) == 3


async def test_a_build_of_the_org_is_counted_when_it_is_first_deployed(desk: Any) -> None:
    app = await desk.app()
    await desk.ask(app_builds.create_app_build, NewAppBuild(app.app_id, UPLOAD))
    build = await desk.succeeded_build()
    with pytest.raises(NotFound):
        await desk.ask(app_builds.get_app_build, (app.app_id, 2))
    for _ in range(2):
        wanted = desk.deployment_of(app.app_id, build.build_id)
        made = await desk.ask(deployments.create_deployment, wanted)
        assert made.build_number == 2
    by_number = await desk.ask(deployments.create_deployment, desk.deployment_of(app.app_id, 2))
    assert (by_number.build_id, by_number.number) == (build.build_id, 3)
    assert (await desk.ask(app_builds.get_app_build, (app.app_id, 2))).build == build


async def test_a_refused_deployment_counts_nothing(desk: Any) -> None:
    app = await desk.app()
    created = await desk.ask(builds.create_build, NewBuild(1))
    wanted = desk.deployment_of(app.app_id, created.build_id)
    with pytest.raises(StateConflict):
        await desk.ask(deployments.create_deployment, wanted)
    assert await desk.ask(app_builds.list_app_builds, app.app_id) == []


async def test_a_deleted_build_keeps_its_number(desk: Any) -> None:
    app = await desk.app()
    wanted = NewAppBuild(app.app_id, UPLOAD)
    first = await desk.ask(app_builds.create_app_build, wanted)
    await desk.ask(builds.delete_build, first.build.build_id)
    with pytest.raises(NotFound, match="deleted"):
        await desk.ask(app_builds.get_app_build, (app.app_id, 1))
    assert (await desk.ask(app_builds.create_app_build, wanted)).number == 2


async def test_an_archive_is_awaited_until_the_run(desk: Any, stranger: Any) -> None:
    app = await desk.app()
    made = await desk.ask(app_builds.create_app_build, NewAppBuild(app.app_id, UPLOAD))
    at, key = (app.app_id, 1), made.build.build_key
    with pytest.raises(StateConflict, match="archive"):
        await desk.ask(builds.start_build, made.build.build_id, "upload")
    with pytest.raises(NotFound):
        await desk.ask(app_builds.await_archive, at, caller=stranger)
    assert (await desk.ask(app_builds.await_archive, at)) == made
    assert await desk.tx(builds.mark_received, key, ReceivedArchive(7, "00"))
    started = await desk.ask(builds.start_build, made.build.build_id, "upload")
    assert (started.upload_size, started.content_hash) == (7, "00")
    with pytest.raises(StateConflict, match="already been run"):
        await desk.ask(app_builds.await_archive, at)
    assert not await desk.tx(builds.mark_received, key, ReceivedArchive(8, "11"))


async def test_a_registrys_image_takes_no_archive(desk: Any) -> None:
    app = await desk.app()
    wanted = NewAppBuild(app.app_id, NewBuild(None))
    await desk.ask(app_builds.create_app_build, wanted)
    with pytest.raises(StateConflict, match="registry"):
        await desk.ask(app_builds.await_archive, (app.app_id, 1))


async def test_another_orgs_app_is_not_there(desk: Any, stranger: Any) -> None:
    app = await desk.app()
    wanted = NewAppBuild(app.app_id, UPLOAD)
    with pytest.raises(NotFound):
        await desk.ask(app_builds.create_app_build, wanted, caller=stranger)
    await desk.ask(app_builds.create_app_build, wanted)
    for use_case, asked in (
        (app_builds.get_app_build, (app.app_id, 1)),
        (app_builds.list_app_builds, app.app_id),
    ):
        with pytest.raises(NotFound):
            await desk.ask(use_case, asked, caller=stranger)
