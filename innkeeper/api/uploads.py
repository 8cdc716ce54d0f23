"""Where the links of builds lead: archives, whole or in parts, and the page with the log (2.3, 2.4)."""

import codecs
import html
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field

from innkeeper.api import upload_xml as xml
from innkeeper.api.build_links import base_of, base_seen, expired, signed
from innkeeper.api.form_data import FormData
from innkeeper.api.operation import Operation, Raw, Stream
from innkeeper.api.request import Request
from innkeeper.api.services import Services
from innkeeper.core.catalog import Build
from innkeeper.core.errors import (
    InnkeeperError,
    Invalid,
    StateConflict,
    TimedOut,
    TooLarge,
    Unavailable,
)
from innkeeper.interfaces import Context
from innkeeper.usecases import builds

_PAGE_HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-robots-tag": "noindex",
}


@dataclass(frozen=True, slots=True)
class LinkUse:
    """A request to a link. ``allowed`` are the fields that its signature covers, after the build's key."""

    build_key: str
    allowed: tuple[str, ...]
    expires: str
    signature: str
    length: str | None
    base: str
    stream: Callable[[], AsyncIterator[bytes]] = field(repr=False)


def _link_use(request: Request, *allowed: str) -> LinkUse:
    return LinkUse(
        build_key=request.path["buildKey"],
        allowed=allowed,
        expires=request.query.get("expires", ""),
        signature=request.query.get("signature", ""),
        length=request.header("content-length"),
        base=base_seen(request),
        stream=request.stream,
    )


def read_part(request: Request) -> LinkUse:
    """A part: its number and size."""
    return _link_use(request, request.path["partNumber"], request.query.get("size", ""))


def read_completion(request: Request) -> LinkUse:
    """A completion: how many parts there are."""
    return _link_use(request, request.query.get("parts", ""))


@dataclass(frozen=True, slots=True)
class FormUse:
    """A browser's form with a whole archive: what allows it stands in the form."""

    build_key: str
    content_type: str | None
    stream: Callable[[], AsyncIterator[bytes]] = field(repr=False)


def read_form(request: Request) -> FormUse:
    """A form."""
    return FormUse(request.path["buildKey"], request.header("content-type"), request.stream)


def read_log_page(request: Request) -> LinkUse:
    """A log: nothing more than the build."""
    return _link_use(request)


async def run_put_part(services: Services, _: None, use: LinkUse, context: Context) -> Raw:
    """Keep one part; 200 with its ETag."""
    refused = await _refused(services, "part", use, context)
    if refused is not None:
        return refused
    number, size = (int(text) for text in use.allowed)
    if use.length is None:
        return xml.error(411, "MissingContentLength", "Content-Length is needed, and exact")
    if use.length != str(size):
        code = "EntityTooLarge" if len(use.length) > len(str(size)) else "IncompleteBody"
        return xml.error(400, code, f"This part has exactly {size} bytes, not {use.length[:20]}")
    if await _awaited_build(services, use.build_key) is None:
        return _no_upload()
    try:
        etag = await services.uploads.put_part(use.build_key, number, size, use.stream())
    except InnkeeperError as fault:
        return _told(fault, "IncompleteBody")
    return Raw(b"", xml.MEDIA_TYPE, 200, {"etag": etag})


async def run_form(services: Services, _: None, use: FormUse, context: Context) -> Raw:
    """Keep a whole archive, which comes after the fields that allow it; 204, as S3 has it."""
    try:
        form = FormData(use.content_type, use.stream())
        file = await form.file("file")
        refused = await _form_refused(services, use, form.fields, context)
        if refused is not None:
            return refused
        build = await _awaited_build(services, use.build_key)
        if build is None:
            return _no_upload()
        if file is None:
            return xml.error(400, "InvalidArgument", "The form has no field named file")
        if not await receive_archive(services, build.build_key, file):
            return _no_upload()
        await form.finish()
    except InnkeeperError as fault:
        return _told(fault, "MalformedPOSTRequest")
    return Raw(b"", xml.MEDIA_TYPE, 204)


async def _form_refused(
    services: Services, use: FormUse, fields: Mapping[str, str], context: Context
) -> Raw | None:
    """Why a form may not be used; ``None`` where it may."""
    secret = await services.store.read(builds.url_secret)
    expires = fields.get("expires", "")
    ours = signed(secret, fields.get("signature"), "form", use.build_key, expires)
    if not ours or fields.get("key") != use.build_key:
        return xml.error(
            403, "SignatureDoesNotMatch", "These fields were not made here, or were changed"
        )
    if expired(expires, context.now.timestamp()):
        return xml.error(403, "AccessDenied", "This form has expired; create a new build")
    return None


async def receive_archive(
    services: Services, build_key: str, archive: AsyncIterator[bytes]
) -> bool:
    """Keep a whole archive and record it; false where the build has been run or deleted meanwhile.

    Raises what :meth:`~innkeeper.interfaces.Uploads.put_archive` raises.
    """
    limit = services.policy.build_size_max
    received = await services.uploads.put_archive(build_key, limit, archive)
    recorded = await services.store.write(lambda tx: builds.mark_received(tx, build_key, received))
    if not recorded:
        await _forget_unwanted(services, build_key)
    return recorded


async def _forget_unwanted(services: Services, build_key: str) -> None:
    """After an upload that came too late. Run meanwhile: its run still needs the archive. Deleted
    meanwhile: nobody does.
    """
    if await services.store.read(lambda tx: builds.find_by_key(tx, build_key)) is None:
        await services.uploads.discard(build_key)


async def run_complete(services: Services, _: None, use: LinkUse, context: Context) -> Raw:
    """Make the archive of its parts, and record it; the same again where that was done before."""
    refused = await _refused(services, "complete", use, context)
    if refused is not None:
        return refused
    build = await _awaited_build(services, use.build_key)
    if build is None:
        return _no_upload()
    try:
        parts = xml.read_parts(await _whole(use))
        if len(parts) != int(use.allowed[0]):
            message = f"The archive has {use.allowed[0]} parts, and the list names {len(parts)}"
            return xml.error(400, "InvalidPart", message)
        digest = await services.uploads.assemble(build.build_key, parts, build.upload_size)
    except xml.BadList as fault:
        return xml.error(400, fault.code, str(fault))
    except InnkeeperError as fault:
        return _told(fault, "InvalidPart")
    recorded = await services.store.write(
        lambda tx: builds.mark_uploaded(tx, build.build_key, digest)
    )
    if not recorded:
        await _forget_unwanted(services, build.build_key)
        return _no_upload()
    location = f"{base_of(context.policy, use.base)}/innkeeper/v1/uploads/{build.build_key}"
    return xml.completed(location, build.build_key, f"{digest[:32]}-{len(parts)}")


async def run_log_page(services: Services, _: None, use: LinkUse, __: Context) -> Stream | Raw:
    """The page; 404 for a link that is not ours and for a build that is gone alike."""
    secret = await services.store.read(builds.url_secret)
    build = None
    if signed(secret, use.signature, "log", use.build_key):
        build = await services.store.read(lambda tx: builds.find_by_key(tx, use.build_key))
    if build is None:
        return Raw(
            b"There is no such build log.\n", "text/plain; charset=utf-8", 404, _PAGE_HEADERS
        )
    return Stream(_page(build, services.build_runner.read_log(use.build_key)), _PAGE_HEADERS)


async def _refused(services: Services, purpose: str, use: LinkUse, context: Context) -> Raw | None:
    """Why a link may not be used; ``None`` where it may. Nothing else is said before this."""
    secret = await services.store.read(builds.url_secret)
    if not signed(secret, use.signature, purpose, use.build_key, *use.allowed, use.expires):
        return xml.error(
            403, "SignatureDoesNotMatch", "This link was not made here, or was changed"
        )
    if expired(use.expires, context.now.timestamp()):
        return xml.error(403, "AccessDenied", "This link has expired; create a new build")
    return None


async def _awaited_build(services: Services, build_key: str) -> Build | None:
    """The build, while it still waits for its archive or its run."""
    build = await services.store.read(lambda tx: builds.find_by_key(tx, build_key))
    return build if build is not None and build.status == "created" else None


async def _whole(use: LinkUse) -> bytes:
    body = bytearray()
    async for piece in use.stream():
        body += piece
        if len(body) > xml.LIST_BYTES_MAX:
            raise xml.BadList("EntityTooLarge", "The list of parts is too long")
    return bytes(body)


def _no_upload() -> Raw:
    message = "The build is gone or has been run, or its archive is complete"
    return xml.error(404, "NoSuchUpload", message)


def _told(fault: InnkeeperError, invalid_code: str) -> Raw:
    """An error of ours in S3's words."""
    match fault:
        case Invalid():
            return xml.error(400, invalid_code, fault.message)
        case StateConflict():
            return xml.error(404, "NoSuchUpload", fault.message)
        case TooLarge():
            return xml.error(400, "EntityTooLarge", fault.message)
        case TimedOut():
            return xml.error(400, "RequestTimeout", fault.message)
        case Unavailable():
            headers = {"retry-after": str(fault.retry_after_s)}
            return xml.error(503, "ServiceUnavailable", fault.message, headers)
    raise fault


async def _page(build: Build, log: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    title = html.escape(f"Build {build.build_id}: {build.status}")
    yield (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>{title}</title><style>body{{font:14px monospace;margin:2em}}"
        "pre{white-space:pre-wrap;overflow-wrap:anywhere}</style></head>\n"
        f"<body><h1>{title}</h1>\n<pre>"
    ).encode()
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    async for piece in log:
        yield html.escape(decoder.decode(piece)).encode()
    yield html.escape(decoder.decode(b"", final=True)).encode() + b"</pre></body></html>\n"


def _as_it_is(answer: Stream | Raw) -> Stream | Raw:
    return answer


OPERATIONS = (
    Operation("PutBuildPart", read_part, run_put_part, _as_it_is, "async"),
    Operation("PostBuildArchive", read_form, run_form, _as_it_is, "async"),
    Operation("CompleteBuildUpload", read_completion, run_complete, _as_it_is, "async"),
    Operation("GetBuildLogPage", read_log_page, run_log_page, _as_it_is, "async"),
)
