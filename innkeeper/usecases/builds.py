"""Builds: an archive or a registry's image, and what became of it (behaviour.md 2).

What is on disk and in the runtime belongs to the build runner; here are the records, which decide.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime

from innkeeper.core.accounts import Caller
from innkeeper.core.catalog import Build, BuildKind
from innkeeper.core.errors import Invalid, NotFound, StateConflict
from innkeeper.core.moments import from_ms, maybe_from_ms, to_ms
from innkeeper.interfaces import Context, ReceivedArchive, Row, Tx

_BUILD_ID = re.compile(r"[a-zA-Z0-9._-]{1,100}", re.ASCII)
# They would not survive in a URL's path, or name another operation there.
_RESERVED_IDS = frozenset({".", "..", "registry"})
# The most parts an upload has; a larger build gets larger parts (behaviour.md 0.2).
PARTS_MAX = 10_000
TAG_LENGTH_MAX = 1000
AUTH_LENGTH_MAX = 16 * 1024
_IMAGE = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._/:@-]{0,499}", re.ASCII)
_REGISTRY = re.compile(
    r"(https?://)?[a-zA-Z0-9][a-zA-Z0-9.-]{0,252}(:[0-9]{1,5})?(/[a-zA-Z0-9._/-]{0,200})?", re.ASCII
)


@dataclass(frozen=True, slots=True)
class NewBuild:
    """What creates a build. ``size`` is the archive's, in bytes; ``None``: a registry's image, or with
    ``kind`` an archive whose size will be seen when it comes.
    """

    size: float | None
    build_tag: str | None = None
    build_id: str | None = None
    kind: BuildKind | None = None


@dataclass(frozen=True, slots=True)
class UploadPart:
    """One part of an archive: its number, counted from 1, and its exact size in bytes."""

    number: int
    size: int


@dataclass(frozen=True, slots=True)
class RegistryImage:
    """What to pull. Without ``registry_url``, the default public registry is meant (behaviour.md 2.5).

    ``auth`` is a credential, which is used once and kept nowhere.
    """

    image: str
    registry_url: str | None = None
    auth: str | None = field(default=None, repr=False)


def create_build(tx: Tx, caller: Caller, wanted: NewBuild, context: Context) -> Build:
    """Make a build (behaviour.md 2.4, 2.5).

    Raises :class:`Invalid` for a bad size, tag or id, :class:`StateConflict` for an id the org has
    used.
    """
    _check_size(wanted.size, context.policy.build_size_max)
    check_tag("body.buildTag", wanted.build_tag)
    build_id = _build_id(tx, caller.org_id, wanted.build_id, context)
    tx.run(
        "builds.insert",
        build_key=context.ids.uuid(),
        build_id=build_id,
        org_id=caller.org_id,
        build_tag=wanted.build_tag,
        kind=wanted.kind or ("registry" if wanted.size is None else "upload"),
        upload_size=int(wanted.size or 0),
        created_at=to_ms(context.now),
        created_by=caller.name,
    )
    return require_build(tx, caller.org_id, build_id)


def get_build(tx: Tx, caller: Caller, build_id: str, context: Context) -> Build:
    """One build. Raises :class:`NotFound`, for a deleted one too."""
    return require_build(tx, caller.org_id, build_id)


def list_builds(tx: Tx, caller: Caller, wanted: None, context: Context) -> list[Build]:
    """The org's builds, newest first, without the deleted ones."""
    return [build_from(row) for row in tx.all("builds.live_of_org", org_id=caller.org_id)]


def start_build(tx: Tx, caller: Caller, build_id: str, kind: BuildKind, context: Context) -> Build:
    """Record that a build runs from now on; it does so once (behaviour.md 2.1).

    Raises :class:`NotFound`, and :class:`StateConflict` where it has run, is of the other kind or
    has no archive yet.
    """
    build = require_build(tx, caller.org_id, build_id)
    if build.kind != kind:
        other = "runRegistry" if build.kind == "registry" else "run"
        raise StateConflict(f'Build "{build_id}" was created for {other}')
    if kind == "registry" and not context.policy.registry_builds:
        raise StateConflict(
            "Images of a registry need a container engine (Docker or Podman); here games run as plain"
            " host processes. Upload an archive, or serve with --runtime container"
        )
    if build.status != "created":
        raise StateConflict(f'Build "{build_id}" has already been run: it is {build.status}')
    if kind == "upload" and not build.uploaded:
        raise StateConflict(f'Build "{build_id}" has no archive: complete its upload first')
    tx.run("builds.mark_running", build_key=build.build_key, started_at=to_ms(context.now))
    return require_build(tx, caller.org_id, build_id)


def delete_build(tx: Tx, caller: Caller, build_id: str, context: Context) -> Build:
    """Take a build away; what runs it lives on (behaviour.md 1.3).

    Returns it, so that its space can be freed.

    Raises :class:`NotFound`, the second time too.
    """
    build = require_build(tx, caller.org_id, build_id)
    tx.run("builds.mark_deleted", build_key=build.build_key, deleted_at=to_ms(context.now))
    return build


def require_build(tx: Tx, org_id: str, build_id: str) -> Build:
    """An org's build that is not deleted. Raises :class:`NotFound`."""
    row = tx.one("builds.by_id", org_id=org_id, build_id=build_id)
    if row is None:
        raise NotFound("Build", build_id)
    if row["deleted_at"] is not None:
        raise NotFound("Build", build_id, "it was deleted")
    return build_from(row)


def find_by_key(tx: Tx, build_key: str) -> Build | None:
    """A build that is not deleted, by our own key."""
    row = tx.one("builds.by_key", build_key=build_key)
    return None if row is None or row["deleted_at"] is not None else build_from(row)


def upload_parts(size: int, chunk: int) -> list[UploadPart]:
    """How an archive of ``size`` bytes is cut: every part but the last has :func:`chunk_size`
    bytes.
    """
    chunk = chunk_size(size, chunk)
    count = -(-size // chunk)
    return [UploadPart(n, min(chunk, size - chunk * (n - 1))) for n in range(1, count + 1)]


def chunk_size(size: int, chunk: int) -> int:
    """``maxChunkSize`` of an archive: the setting, or more where that would make too many parts."""
    return max(chunk, -(-size // PARTS_MAX))


def mark_uploaded(tx: Tx, build_key: str, content_hash: str) -> bool:
    """Record that the archive is complete; false where the build has run or gone meanwhile."""
    return tx.run("builds.mark_uploaded", build_key=build_key, content_hash=content_hash) == 1


def mark_received(tx: Tx, build_key: str, archive: ReceivedArchive) -> bool:
    """Record an archive that came in one piece; false where the build has run or gone meanwhile."""
    changed = tx.run(
        "builds.mark_received",
        build_key=build_key,
        content_hash=archive.content_hash,
        upload_size=archive.size,
    )
    return changed == 1


def finish_build(
    tx: Tx, build_key: str, now: datetime, image_ref: str | None, image_size: int
) -> Build | None:
    """Record how a build ended: with an image, or (``None``) failed. Returns it, deleted or not.

    Says nothing where the build is not running (any more): the first record stands.
    """
    at = to_ms(now)
    if image_ref is None:
        tx.run("builds.mark_failed", build_key=build_key, finished_at=at)
    else:
        tx.run(
            "builds.mark_succeeded",
            build_key=build_key,
            image_ref=image_ref,
            image_size=image_size,
            finished_at=at,
        )
    row = tx.one("builds.by_key", build_key=build_key)
    return None if row is None else build_from(row)


def fail_interrupted(
    tx: Tx, now: datetime, started_by: datetime, running: Collection[str] = ()
) -> list[Build]:
    """Fail the builds that are said to run and do not: a restart ended them (behaviour.md 2.1).

    Returns them as they are now. ``running`` are the keys of those that do run.
    """
    ended = []
    for build in running_builds(tx):
        late = build.started_at is not None and build.started_at > started_by
        if build.build_key not in running and not late:
            failed = finish_build(tx, build.build_key, now, None, 0)
            assert failed is not None
            ended.append(failed)
    return ended


def running_builds(tx: Tx) -> list[Build]:
    """Builds that are said to run, oldest first."""
    return [build_from(row) for row in tx.all("builds.running")]


def logged_builds(tx: Tx) -> set[str]:
    """Keys of builds whose log is still readable."""
    return {row["build_key"] for row in tx.all("builds.kept_logs")}


def images_to_remove(tx: Tx) -> list[Build]:
    """Deleted builds whose image still takes disk space, and which no process uses any more."""
    return [build_from(row) for row in tx.all("builds.images_to_remove")]


def forget_image(tx: Tx, build_key: str) -> None:
    """Record that a deleted build's image is gone."""
    tx.run("builds.forget_image", build_key=build_key)


def awaiting_run(tx: Tx, created_after: datetime) -> set[str]:
    """Keys of builds whose parts or archive are still wanted."""
    rows = tx.all("builds.awaiting_run", created_after=to_ms(created_after))
    return {row["build_key"] for row in rows}


def check_image(image: RegistryImage) -> None:
    """Raise :class:`Invalid` for what cannot be the name of an image or of a registry."""
    if not _IMAGE.fullmatch(image.image):
        raise Invalid("body.image", "must be the name of an image, such as games/arena:1.2")
    if image.registry_url is not None and not _REGISTRY.fullmatch(image.registry_url):
        raise Invalid("body.registryUrl", "must be a host with an optional port and path")
    if image.auth is not None and len(image.auth) > AUTH_LENGTH_MAX:
        raise Invalid("body.auth", f"must have at most {AUTH_LENGTH_MAX} characters")


def url_secret(tx: Tx) -> str:
    """What signs the links of builds."""
    row = tx.one("installation.first")
    assert row is not None, "every start makes sure of the installation"
    secret: str = row["url_secret"]
    return secret


def check_tag(field: str, tag: str | None) -> None:
    """Raise :class:`Invalid` for a tag that is too long, or that a store cannot keep."""
    if tag is not None and len(tag) > TAG_LENGTH_MAX:
        raise Invalid(field, f"must have at most {TAG_LENGTH_MAX} characters")
    if tag is not None and "\0" in tag:
        raise Invalid(field, "must not hold a NUL character")


def build_from(row: Row) -> Build:
    """The build in a row of the table."""
    return Build(
        build_key=row["build_key"],
        build_id=row["build_id"],
        org_id=row["org_id"],
        build_tag=row["build_tag"],
        kind=row["kind"],
        status=row["status"],
        upload_size=row["upload_size"],
        uploaded=bool(row["uploaded"]),
        image_size=row["image_size"],
        image_ref=row["image_ref"],
        content_hash=row["content_hash"],
        created_at=from_ms(row["created_at"]),
        created_by=row["created_by"],
        started_at=maybe_from_ms(row["started_at"]),
        finished_at=maybe_from_ms(row["finished_at"]),
        deleted_at=maybe_from_ms(row["deleted_at"]),
        expired_at=maybe_from_ms(row["expired_at"]),
    )


def _check_size(size: float | None, most: int) -> None:
    field = "body.buildSizeInBytes"
    if size is None:
        return
    if size > most:
        raise Invalid(field, f"must be at most {most}")
    if size < 1 or size != int(size):
        raise Invalid(field, "must be a whole number of at least 1")


def _build_id(tx: Tx, org_id: str, wanted: str | None, context: Context) -> str:
    if wanted is None:
        return context.ids.prefixed("bld")
    if not _BUILD_ID.fullmatch(wanted):
        raise Invalid("body.buildId", "must have 1 to 100 characters out of a-z A-Z 0-9 . _ -")
    if wanted in _RESERVED_IDS:
        raise Invalid("body.buildId", f'is reserved: "{wanted}"')
    row = tx.one("builds.by_id", org_id=org_id, build_id=wanted)
    if row is not None:
        used = "was used by a deleted build" if row["deleted_at"] is not None else "already exists"
        raise StateConflict(f'buildId "{wanted}" {used}')
    return wanted
