"""The links of an upload: exact, signed, bounded, and XML throughout (behaviour.md 2.4)."""

import hashlib
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest

from innkeeper.api.upload_xml import BadList, read_parts
from innkeeper.core.errors import TimedOut, Unavailable


async def created(shop: Any, size: int = 5) -> dict[str, Any]:
    build: dict[str, Any] = (await shop.call("CreateBuild", body={"buildSizeInBytes": size})).json()
    return build


def changed(link: str, **query: str) -> str:
    parts = urlsplit(link)
    return parts._replace(query=urlencode({**dict(parse_qsl(parts.query)), **query})).geturl()


def code(reply: Any) -> str:
    assert reply.headers["content-type"] == "application/xml", reply.text
    found = re.search(r"<Code>(\w+)</Code>", reply.text)
    assert found, reply.text
    return found[1]


def listed(*parts: tuple[int, str]) -> str:
    inner = "".join(
        f"<Part><PartNumber>{n}</PartNumber><ETag>{etag}</ETag></Part>" for n, etag in parts
    )
    return f"<CompleteMultipartUpload>{inner}</CompleteMultipartUpload>"


async def test_a_part_has_its_md5_as_etag_and_may_be_sent_again(shop: Any) -> None:
    build = await created(shop)
    link = build["uploadParts"][0]["putRequestUrl"]
    for content in (b"first", b"again"):
        reply = await shop.http.put(link, content=content)
        assert (reply.status_code, reply.content) == (200, b"")
        assert reply.headers["etag"] == f'"{hashlib.md5(content).hexdigest()}"'
    done = build["completeUploadPostRequestUrl"]
    old = listed((1, hashlib.md5(b"first").hexdigest()))
    assert code(await shop.http.post(done, content=old)) == "InvalidPart"
    new = listed((1, reply.headers["etag"]))
    for _ in range(2):  # a client that did not get the answer asks again
        assert (await shop.http.post(done, content=new)).status_code == 200
    assert code(await shop.http.put(link, content=b"later")) == "NoSuchUpload"


@pytest.mark.parametrize("content", [b"", b"1234", b"123456"])
async def test_a_part_of_another_size_is_refused(shop: Any, content: bytes) -> None:
    build = await created(shop)
    reply = await shop.http.put(build["uploadParts"][0]["putRequestUrl"], content=content)
    assert reply.status_code == 400
    assert code(reply) in ("IncompleteBody", "EntityTooLarge")
    assert shop.files() == []


async def test_a_body_that_breaks_its_length_is_refused(shop: Any) -> None:
    build = await created(shop)
    link = build["uploadParts"][0]["putRequestUrl"]

    async def body(*pieces: bytes) -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece

    without = await shop.http.put(link, content=body(b"12345"))
    assert (without.status_code, code(without)) == (411, "MissingContentLength")
    for pieces in ((b"12",), (b"123", b"456")):
        reply = await shop.http.put(link, content=body(*pieces), headers={"content-length": "5"})
        assert (reply.status_code, code(reply)) == (400, "IncompleteBody")
    assert shop.files() == []


async def test_a_link_that_was_changed_is_403(shop: Any) -> None:
    build, other = await created(shop, 50), await created(shop, 50)
    part, done = build["uploadParts"][0]["putRequestUrl"], build["completeUploadPostRequestUrl"]
    key, other_key = (
        urlsplit(b["completeUploadPostRequestUrl"]).path.split("/")[-2] for b in (build, other)
    )
    for link in (
        changed(part, size="51"),
        changed(part, expires="99999999999"),
        changed(part, signature=""),
        changed(part, signature="é"),
        part.replace("/parts/1?", "/parts/2?"),
        part.replace(key, other_key),
        part.partition("?")[0],
    ):
        reply = await shop.http.put(link, content=b"x" * 50)
        assert (reply.status_code, code(reply)) == (403, "SignatureDoesNotMatch"), link
    for link in (changed(done, parts="2"), done.replace(key, other_key), done.partition("?")[0]):
        reply = await shop.http.post(link, content=b"")
        assert (reply.status_code, code(reply)) == (403, "SignatureDoesNotMatch"), link
    assert shop.files() == []


async def test_a_link_works_for_a_day(shop: Any) -> None:
    build = await created(shop)
    link = build["uploadParts"][0]["putRequestUrl"]
    shop.studio.clock.move(24 * 3600 - 1)
    sent = await shop.http.put(link, content=b"12345")
    assert sent.status_code == 200
    shop.studio.clock.move(1)
    late = await shop.http.put(link, content=b"12345")
    assert (late.status_code, code(late)) == (403, "AccessDenied")
    etag = sent.headers["etag"]
    done = await shop.http.post(build["completeUploadPostRequestUrl"], content=listed((1, etag)))
    assert (done.status_code, code(done)) == (403, "AccessDenied")


async def test_lists_that_do_not_fit_are_refused(shop: Any) -> None:
    policy = shop.house.services.policy
    shop.house.services.policy = replace(policy, chunk_bytes_max=3)
    build = await created(shop)
    one, two = [
        (await shop.http.put(part["putRequestUrl"], content=content)).headers["etag"]
        for part, content in zip(build["uploadParts"], (b"abc", b"de"), strict=True)
    ]
    for content, wanted in (
        (listed((1, one)), "InvalidPart"),
        (listed((2, two)), "InvalidPart"),
        (listed((1, one), (2, one)), "InvalidPart"),
        (listed((1, one), (3, two)), "InvalidPart"),
        (listed((2, two), (1, one)), "InvalidPartOrder"),
        (listed((1, one), (1, one)), "InvalidPartOrder"),
        (listed(), "MalformedXML"),
        ("", "MalformedXML"),
        ("{}", "MalformedXML"),
        ("<x/>", "MalformedXML"),
    ):
        reply = await shop.http.post(build["completeUploadPostRequestUrl"], content=content)
        assert (reply.status_code, code(reply)) == (400, wanted), content
    run = await shop.call("RunBuild", {"buildId": build["buildId"]})
    assert run.status_code == 400
    whole = listed((1, one), (2, two))
    reply = await shop.http.post(build["completeUploadPostRequestUrl"], content=whole)
    assert reply.status_code == 200


async def test_an_upload_that_stalls_or_finds_no_room_is_told_in_xml(
    shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = await created(shop)
    for fault, status, wanted in (
        (TimedOut("too slow"), 400, "RequestTimeout"),
        (Unavailable("The disk is full", 60), 503, "ServiceUnavailable"),
    ):

        async def refuse(*_: Any, fault: Exception = fault) -> str:
            raise fault

        monkeypatch.setattr(shop.house.services.uploads, "put_part", refuse)
        reply = await shop.http.put(build["uploadParts"][0]["putRequestUrl"], content=b"12345")
        assert (reply.status_code, code(reply)) == (status, wanted)
    assert reply.headers["retry-after"] == "60"


def test_lists_come_in_many_forms() -> None:
    assert read_parts(
        b'<?xml version="1.0"?><s3:CompleteMultipartUpload xmlns:s3="urn:x">\n <s3:Part>'
        b"<s3:ETag>&quot;ab&quot;</s3:ETag><s3:PartNumber> 1 </s3:PartNumber>"
        b"<ChecksumSHA256>z</ChecksumSHA256></s3:Part>\n"
        b"<Part><PartNumber>7</PartNumber><ETag>'c'</ETag></Part></s3:CompleteMultipartUpload>"
    ) == [(1, '"ab"'), (7, "'c'")]


BOMB = (
    b'<!DOCTYPE a [<!ENTITY x "xxxxxxxxxx"><!ENTITY y "&x;&x;&x;">]>'
    b"<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>&y;</ETag></Part>"
    b"</CompleteMultipartUpload>"
)


@pytest.mark.parametrize(
    "body",
    [
        BOMB,
        b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><CompleteMultipartUpload/>',
        b"<CompleteMultipartUpload>" + b"<a>" * 50,
        b"<CompleteMultipartUpload><Part><ETag>a</ETag></Part></CompleteMultipartUpload>",
        listed((0, "a")).encode(),
        listed((10001, "a")).encode(),
        listed((1, "a" * 300)).encode(),
        listed((1, "")).encode(),
        listed((1, "a")).replace("<PartNumber>1", "<PartNumber>1.5").encode(),
        listed(*((n, "a") for n in range(1, 10_002))).encode(),
        b'<?xml version="1.0" encoding="no-such"?><CompleteMultipartUpload/>',
        b"\xff\xfe\x00",
        b"<CompleteMultipartUpload>\xff</CompleteMultipartUpload>",
    ],
)
def test_hostile_lists_are_refused(body: bytes) -> None:
    with pytest.raises(BadList):
        read_parts(body)
