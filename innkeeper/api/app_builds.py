"""BuildsV1 and V2: builds as one app counts them; shapes first, rows last (behaviour.md 2.2, 2.3)."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

from innkeeper.api import builds as newest
from innkeeper.api import wire_generated as wire
from innkeeper.api.build_links import base_seen
from innkeeper.api.builds import (
    Addressed,
    Linked,
    common_facts,
    given,
    linked_for_upload,
    upload_of,
)
from innkeeper.api.form_data import FormData, is_form
from innkeeper.api.operation import Operation, Stream, under_names
from innkeeper.api.request import Request
from innkeeper.api.services import Services
from innkeeper.api.uploads import receive_archive
from innkeeper.core.accounts import Caller
from innkeeper.core.catalog import NumberedBuild
from innkeeper.core.errors import Invalid
from innkeeper.interfaces import Context, Tx
from innkeeper.usecases import app_builds
from innkeeper.usecases.app_builds import AppBuild, NewAppBuild
from innkeeper.usecases.builds import NewBuild


@dataclass(frozen=True, slots=True)
class LinkedAppBuild:
    """A new build of an app, and what makes the links for its archive."""

    numbered: NumberedBuild
    linked: Linked


@dataclass(frozen=True, slots=True)
class OldRun:
    """A run whose body may be a form with the archive."""

    build: AppBuild
    file_needed: bool
    content_type: str | None
    stream: Callable[[], AsyncIterator[bytes]] = field(repr=False)


def read_new(request: Request) -> NewAppBuild:
    """A build whose archive comes later, of a size that nobody tells. Old clients send no body at all."""
    body: wire.CreateBuildParams | None = request.body
    tag = None if body is None else given(body.buildTag)
    return NewAppBuild(request.path["appId"], NewBuild(None, tag, kind="upload"))


def read_new_form(request: Request) -> Addressed:
    """The same, with a link to send it to."""
    return Addressed(read_new(request), base_seen(request))


def read_new_parts(request: Request) -> Addressed:
    """A build whose archive comes in parts."""
    body: wire.CreateMultipartBuildParams = request.body
    wanted = NewBuild(body.buildSizeInBytes, given(body.buildTag), given(body.buildId))
    return Addressed(NewAppBuild(request.path["appId"], wanted), base_seen(request))


def read_app_id(request: Request) -> str:
    """The app of the path."""
    app_id: str = request.path["appId"]
    return app_id


def read_number(request: Request) -> AppBuild:
    """(app id, number)."""
    return request.path["appId"], request.path["buildId"]


def read_run_v1(request: Request) -> OldRun:
    """A run that brings its archive."""
    content_type = request.header("content-type")
    return OldRun(read_number(request), True, content_type, request.stream)


def read_run_v2(request: Request) -> OldRun:
    """A run that may bring its archive."""
    content_type = request.header("content-type")
    return OldRun(read_number(request), False, content_type, request.stream)


def run_create_linked(tx: Tx, caller: Caller, asked: Addressed, context: Context) -> LinkedAppBuild:
    """Make a build of an app, and say where its archive is sent."""
    numbered = app_builds.create_app_build(tx, caller, asked.wanted, context)
    return LinkedAppBuild(numbered, linked_for_upload(tx, numbered.build, asked, context))


async def run_run(
    services: Services, caller: Caller, run: OldRun, context: Context
) -> AsyncIterator[bytes]:
    """Take the archive that comes along, then build it; the log."""
    numbered = await services.store.read(
        lambda tx: app_builds.await_archive(tx, caller, run.build, context)
    )
    if run.file_needed or is_form(run.content_type):
        await _take_file(services, numbered, run)
    # Afresh: an archive takes its time, and the build begins only now.
    return await newest.run_upload(services, caller, numbered.build.build_id, services.context())


async def _take_file(services: Services, numbered: NumberedBuild, run: OldRun) -> None:
    form = FormData(run.content_type, run.stream())
    file = await form.file("file")
    if file is not None:
        await receive_archive(services, numbered.build.build_key, file)
        await form.finish()
    elif run.file_needed:
        raise Invalid("body.file", "is missing")


async def run_delete(services: Services, caller: Caller, build: AppBuild, context: Context) -> None:
    """Take a build away from the whole org, then give its space back."""
    numbered = await services.store.read(
        lambda tx: app_builds.get_app_build(tx, caller, build, context)
    )
    await newest.run_delete(services, caller, numbered.build.build_id, context)


def _shared(numbered: NumberedBuild) -> dict[str, Any]:
    """What every old shape has."""
    build = numbered.build
    return {
        "appId": numbered.app_id,
        "buildId": numbered.number,
        "buildTag": build.build_tag,
        **common_facts(build),
        "regionalContainerTags": [],
    }


def write_app_build(numbered: NumberedBuild) -> wire.Build:
    """A build."""
    return wire.Build(**_shared(numbered))


def write_list(found: list[NumberedBuild]) -> list[wire.Build]:
    """The list as it was found."""
    return [write_app_build(numbered) for numbered in found]


def write_with_form(made: LinkedAppBuild) -> wire.BuildWithUploadUrl:
    """A new build, and the form that takes its archive: these fields, then the file."""
    links, key = made.linked.links, made.numbered.build.build_key
    fields = links.form_fields(key, made.linked.expires)
    return wire.BuildWithUploadUrl(
        **_shared(made.numbered),
        uploadUrl=links.form(key),
        uploadBodyParams=[
            wire.UploadBodyParams(key=name, value=value) for name, value in fields.items()
        ],
    )


def write_with_parts(made: LinkedAppBuild) -> wire.BuildWithMultipartUrls:
    """A new build, and where the parts of its archive are sent."""
    return wire.BuildWithMultipartUrls(**_shared(made.numbered), **upload_of(made.linked))


def write_nothing(_: object) -> None:
    """The answer has no body."""


_READ, _WRITE = "builds:read", "builds:read-write"

_V1 = (
    Operation(
        "CreateBuildDeprecated",
        read_new,
        app_builds.create_app_build,
        write_app_build,
        scope=_WRITE,
    ),
    Operation("RunBuildDeprecated", read_run_v1, run_run, Stream, "async", _WRITE),
    Operation(
        "GetBuildsDeprecated", read_app_id, app_builds.list_app_builds, write_list, "read", _READ
    ),
    Operation(
        "GetBuildInfoDeprecated",
        read_number,
        app_builds.get_app_build,
        write_app_build,
        "read",
        _READ,
    ),
    Operation("DeleteBuildDeprecated", read_number, run_delete, write_nothing, "async", _WRITE),
)

OPERATIONS = (
    *_V1,
    *under_names(
        _V1,
        {
            "CreateBuildDeprecated": "CreateBuildV2Deprecated",
            "GetBuildsDeprecated": "GetBuildsV2Deprecated",
            "GetBuildInfoDeprecated": "GetBuildInfoV2Deprecated",
            "DeleteBuildDeprecated": "DeleteBuildV2Deprecated",
        },
    ),
    Operation("RunBuildV2Deprecated", read_run_v2, run_run, Stream, "async", _WRITE),
    Operation(
        "CreateBuildWithUploadUrlV2Deprecated",
        read_new_form,
        run_create_linked,
        write_with_form,
        scope=_WRITE,
    ),
    Operation(
        "CreateWithMultipartUploadsV2Deprecated",
        read_new_parts,
        run_create_linked,
        write_with_parts,
        scope=_WRITE,
    ),
)
