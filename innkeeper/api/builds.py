"""BuildsV3: shapes first, rows last (behaviour.md 2). V1 and V2 are in ``app_builds.py``, what the links
lead to in ``uploads.py``.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from msgspec import UNSET, UnsetType

from innkeeper.api import wire_generated as wire
from innkeeper.api.build_links import Links, base_of, base_seen
from innkeeper.api.operation import Operation, Stream
from innkeeper.api.request import Request
from innkeeper.api.services import Services
from innkeeper.core.accounts import Caller
from innkeeper.core.catalog import Build, BuildKind
from innkeeper.interfaces import Context, Tx
from innkeeper.usecases import builds
from innkeeper.usecases.builds import NewBuild, RegistryImage


@dataclass(frozen=True, slots=True)
class Addressed:
    """What an operation asks for, and the base URL that the client used for asking."""

    wanted: Any
    seen: str


@dataclass(frozen=True, slots=True)
class Linked:
    """Builds, and what makes their links. ``expires``: seconds since the epoch; ``chunk``: bytes."""

    builds: list[Build]
    links: Links
    expires: int = 0
    chunk: int = 0


def read_new_upload(request: Request) -> Addressed:
    """What CreateBuild is asked for."""
    body: wire.CreateMultipartBuildParams = request.body
    wanted = NewBuild(body.buildSizeInBytes, given(body.buildTag), given(body.buildId))
    return Addressed(wanted, base_seen(request))


def read_new_registry(request: Request) -> Addressed:
    """What CreateBuildRegistry is asked for."""
    body: wire.CreateBuildV3Params = request.body
    wanted = NewBuild(None, given(body.buildTag), given(body.buildId))
    return Addressed(wanted, base_seen(request))


def read_list(request: Request) -> Addressed:
    """GetBuilds asks for nothing but links."""
    return Addressed(None, base_seen(request))


def read_one(request: Request) -> Addressed:
    """The build of the path."""
    return Addressed(request.path["buildId"], base_seen(request))


def read_build_id(request: Request) -> str:
    """The build of the path."""
    build_id: str = request.path["buildId"]
    return build_id


def read_registry_run(request: Request) -> tuple[str, RegistryImage]:
    """The build of the path, and the image to pull."""
    body: wire.RegistryConfig = request.body
    image = RegistryImage(body.image, given(body.registryUrl), given(body.auth))
    return request.path["buildId"], image


def given(value: str | UnsetType) -> str | None:
    """``None`` for what was left out."""
    return None if value is UNSET else value


def run_create(tx: Tx, caller: Caller, asked: Addressed, context: Context) -> Linked:
    """Make a build, and say where its archive is sent."""
    build = builds.create_build(tx, caller, asked.wanted, context)
    return linked_for_upload(tx, build, asked, context)


def linked_for_upload(tx: Tx, build: Build, asked: Addressed, context: Context) -> Linked:
    """A new build with all that its upload needs."""
    ttl = timedelta(seconds=context.policy.upload_url_ttl_s)
    expires = int((context.now + ttl).timestamp())
    chunk = builds.chunk_size(build.upload_size, context.policy.chunk_bytes_max)
    return Linked([build], _links(tx, asked, context), expires, chunk)


def run_list(tx: Tx, caller: Caller, asked: Addressed, context: Context) -> Linked:
    """The org's builds."""
    return Linked(builds.list_builds(tx, caller, None, context), _links(tx, asked, context))


def run_get(tx: Tx, caller: Caller, asked: Addressed, context: Context) -> Linked:
    """One build."""
    build = builds.get_build(tx, caller, asked.wanted, context)
    return Linked([build], _links(tx, asked, context))


def _links(tx: Tx, asked: Addressed, context: Context) -> Links:
    return Links(base_of(context.policy, asked.seen), builds.url_secret(tx))


async def run_upload(
    services: Services, caller: Caller, build_id: str, context: Context
) -> AsyncIterator[bytes]:
    """Build the uploaded archive; its log."""

    async def begin() -> AsyncIterator[bytes]:
        build = await _started(services, caller, build_id, "upload", context)
        return await services.build_runner.run_upload(build.build_key)

    # A caller that leaves between the record and the run must not keep the run from beginning.
    return await asyncio.shield(asyncio.create_task(begin()))


async def run_registry(
    services: Services, caller: Caller, wanted: tuple[str, RegistryImage], context: Context
) -> AsyncIterator[bytes]:
    """Pull the image; the log."""
    build_id, image = wanted
    builds.check_image(image)

    async def begin() -> AsyncIterator[bytes]:
        build = await _started(services, caller, build_id, "registry", context)
        return await services.build_runner.run_registry(
            build.build_key, image.image, image.registry_url, image.auth
        )

    return await asyncio.shield(asyncio.create_task(begin()))


async def _started(
    services: Services, caller: Caller, build_id: str, kind: BuildKind, context: Context
) -> Build:
    return await services.store.write(
        lambda tx: builds.start_build(tx, caller, build_id, kind, context)
    )


async def run_delete(services: Services, caller: Caller, build_id: str, context: Context) -> None:
    """Take a build away, then give its space back."""
    build = await services.store.write(
        lambda tx: builds.delete_build(tx, caller, build_id, context)
    )
    await services.build_runner.discard(build.build_key, build.image_ref)


def common_facts(build: Build) -> dict[str, Any]:
    """What a build of every version shows under the same names."""
    return {
        "status": build.status,
        "imageSize": build.image_size,
        "createdAt": build.created_at,
        "createdBy": build.created_by,
        "startedAt": build.started_at,
        "finishedAt": build.finished_at,
        "deletedAt": build.deleted_at,
        "expiredAt": UNSET if build.expired_at is None else build.expired_at,
    }


def _shared(build: Build, links: Links | None) -> dict[str, Any]:
    """What every shape of a build has; a link to the log once there is one."""
    logged = links is not None and build.status != "created"
    return {
        "buildId": build.build_id,
        "orgId": build.org_id,
        **common_facts(build),
        "buildTag": UNSET if build.build_tag is None else build.build_tag,
        "contentHash": UNSET if build.content_hash is None else build.content_hash,
        "shareUrl": links.log(build.build_key) if links is not None and logged else UNSET,
    }


def write_build(build: Build, links: Links | None = None) -> wire.BuildV3:
    """A build."""
    return wire.BuildV3(**_shared(build, links))


def write_one(linked: Linked) -> wire.BuildV3:
    """A build with its link."""
    return write_build(linked.builds[0], linked.links)


def write_page(linked: Linked) -> wire.BuildsV3Page:
    """The org's builds."""
    return wire.BuildsV3Page(builds=[write_build(build, linked.links) for build in linked.builds])


def write_created(linked: Linked) -> wire.CreatedBuildV3WithMultipartUrls:
    """A new build, and where its archive is sent."""
    shared = _shared(linked.builds[0], linked.links)
    return wire.CreatedBuildV3WithMultipartUrls(**shared, **upload_of(linked))


def upload_of(linked: Linked) -> dict[str, Any]:
    """Where the parts of a new build's archive are sent."""
    (build,), links = linked.builds, linked.links
    parts = builds.upload_parts(build.upload_size, linked.chunk)
    return {
        "uploadParts": [
            wire.BuildPart(
                partNumber=part.number,
                putRequestUrl=links.part(build.build_key, part, linked.expires),
            )
            for part in parts
        ],
        "maxChunkSize": linked.chunk,
        "completeUploadPostRequestUrl": links.complete(build.build_key, len(parts), linked.expires),
    }


def write_deleted(_: None) -> wire.DeletedBuild:
    """An empty object, where older versions answer nothing at all."""
    return wire.DeletedBuild()


_READ, _WRITE = "builds:read", "builds:read-write"

OPERATIONS = (
    Operation("CreateBuild", read_new_upload, run_create, write_created, scope=_WRITE),
    Operation("CreateBuildRegistry", read_new_registry, run_create, write_one, scope=_WRITE),
    Operation("RunBuild", read_build_id, run_upload, Stream, "async", _WRITE),
    Operation("RunBuildRegistry", read_registry_run, run_registry, Stream, "async", _WRITE),
    Operation("GetBuilds", read_list, run_list, write_page, "read", _READ),
    Operation("GetBuild", read_one, run_get, write_one, "read", _READ),
    Operation("DeleteBuild", read_build_id, run_delete, write_deleted, "async", _WRITE),
)
