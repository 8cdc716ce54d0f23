"""BuildsV3 on the wire, as the official command line uses it (behaviour.md 2.4, 2.5)."""

import hashlib
from dataclasses import replace
from typing import Any

import pytest

from innkeeper.core.errors import BuildFailed

ARCHIVE = b"not really a tar, " * 3


def xml_of(etags: list[str]) -> str:
    parts = "\n".join(
        f"  <Part>\n<PartNumber>{n}</PartNumber><ETag>{etag}</ETag></Part>"
        for n, etag in enumerate(etags, 1)
    )
    return f"<CompleteMultipartUpload>\n{parts}\n</CompleteMultipartUpload>"


async def uploaded(shop: Any, **more: Any) -> dict[str, Any]:
    """A build whose archive was sent in parts of 20 bytes, as the official client does."""
    policy = shop.house.services.policy
    shop.house.services.policy = replace(policy, chunk_bytes_max=20)
    created = await shop.call("CreateBuild", body={"buildSizeInBytes": len(ARCHIVE), **more})
    assert created.status_code == 201
    build: dict[str, Any] = created.json()
    chunk, etags = build["maxChunkSize"], []
    for part in build["uploadParts"]:
        start = chunk * (part["partNumber"] - 1)
        sent = await shop.http.put(
            part["putRequestUrl"],
            content=ARCHIVE[start : start + chunk],
            headers={"content-type": "application/octet-stream", "authorization": ""},
        )
        assert sent.status_code == 200, sent.text
        etags.append(sent.headers["etag"])
    done = await shop.http.post(
        build["completeUploadPostRequestUrl"],
        content=xml_of(etags),
        headers={"content-type": "application/xml", "authorization": ""},
    )
    assert done.status_code == 200, done.text
    assert b"CompleteMultipartUploadResult" in done.content
    return build


async def test_an_archive_is_uploaded_built_and_deployed(shop: Any) -> None:
    build = await uploaded(shop, buildTag="v1")
    at = {"buildId": build["buildId"]}
    assert [part["partNumber"] for part in build["uploadParts"]] == [1, 2, 3]
    before = (await shop.call("GetBuild", at)).json()
    assert (before["status"], before["imageSize"], before["startedAt"]) == ("created", 0, None)
    assert before["contentHash"] == hashlib.sha256(ARCHIVE).hexdigest()
    assert "shareUrl" not in before
    run = await shop.call("RunBuild", at)
    assert run.headers["content-type"] == "application/octet-stream"
    lines = run.text.splitlines()
    assert lines[-1] == f"Build succeeded: {build['buildId']} (4711 bytes)"
    after = (await shop.call("GetBuild", at)).json()
    assert (after["status"], after["imageSize"], after["buildTag"]) == ("succeeded", 4711, "v1")
    assert None not in (after["startedAt"], after["finishedAt"])
    assert shop.files() == []
    config = {
        "requestedCPU": 1,
        "requestedMemoryMB": 512,
        "roomsPerProcess": 1,
        "env": [],
        "containerPort": 1,
        "transportType": "udp",
        "idleTimeoutEnabled": False,
    }
    made = await shop.call("CreateDeployment", {"appId": shop.app}, body={**config, **at})
    assert made.json()["buildTag"] == "v1"
    again = await shop.call("RunBuild", at)
    assert again.status_code == 400
    assert "already been run" in again.json()["message"]


async def test_the_links_use_the_address_that_the_client_used(shop: Any) -> None:
    for headers, base in (
        ({}, "http://api.test/"),
        ({"host": "10.0.0.1:8000"}, "http://10.0.0.1:8000/"),
        ({"host": "[::1]:8000"}, "http://[::1]:8000/"),
        ({"host": 'evil"><'}, "http://play.test/"),
    ):
        reply = await shop.call("CreateBuild", body={"buildSizeInBytes": 1}, headers=headers)
        build = reply.json()
        assert build["uploadParts"][0]["putRequestUrl"].startswith(base + "innkeeper/v1/uploads/")
        assert build["completeUploadPostRequestUrl"].startswith(base)
    policy = replace(shop.house.services.policy, public_url="https://games.example/")
    shop.house.services.policy = policy
    build = (await shop.call("CreateBuild", body={"buildSizeInBytes": 1})).json()
    assert build["completeUploadPostRequestUrl"].startswith("https://games.example/innkeeper/")


async def test_a_failed_build_says_why_and_its_status_is_final(shop: Any) -> None:
    build = await uploaded(shop)
    shop.builder.fault = BuildFailed("line 3: RUN needs a container engine")
    run = await shop.call("RunBuild", {"buildId": build["buildId"]})
    last = run.text.splitlines()[-1]
    assert last == "Build failed: line 3: RUN needs a container engine"
    after = (await shop.call("GetBuild", {"buildId": build["buildId"]})).json()
    assert after["status"] == "failed"
    assert shop.files() == []


async def test_a_build_without_its_archive_does_not_run(shop: Any) -> None:
    build = (await shop.call("CreateBuild", body={"buildSizeInBytes": 5})).json()
    reply = await shop.call("RunBuild", {"buildId": build["buildId"]})
    assert reply.status_code == 400
    assert "complete its upload" in reply.json()["message"]
    missing = await shop.call("RunBuild", {"buildId": "bld-none"})
    assert missing.status_code == 404


async def test_a_registrys_image_is_built_without_keeping_the_credential(shop: Any) -> None:
    made = await shop.call("CreateBuildRegistry", body={"buildId": "img-1", "buildTag": "x"})
    assert (made.status_code, made.json()["buildId"]) == (201, "img-1")
    body = {"image": "games/arena:1", "registryUrl": "example.test", "auth": "user:password"}
    wrong = await shop.call("RunBuild", {"buildId": "img-1"})
    assert wrong.status_code == 400
    run = await shop.call("RunBuildRegistry", {"buildId": "img-1"}, body=body)
    assert run.text.splitlines()[-1] == "Build succeeded: img-1 (42 bytes)"
    assert shop.builder.pulled == [("games/arena:1", "example.test", "user:password")]
    kept = b"".join(path.read_bytes() for path in shop.root.rglob("*") if path.is_file())
    assert b"user:password" not in kept


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "body.image"),
        ({"image": "--privileged"}, "body.image"),
        ({"image": "a b"}, "body.image"),
        ({"image": "a", "registryUrl": "file:///etc"}, "body.registryUrl"),
        ({"image": "a", "registryUrl": "host\n"}, "body.registryUrl"),
        ({"image": "a", "auth": "x" * 20000}, "body.auth"),
    ],
)
async def test_a_bad_image_is_422_and_the_build_can_still_run(
    shop: Any, body: dict[str, Any], field: str
) -> None:
    await shop.call("CreateBuildRegistry", body={"buildId": "img"})
    reply = await shop.call("RunBuildRegistry", {"buildId": "img"}, body=body)
    assert reply.status_code == 422
    assert field in reply.json()["message"]
    assert (await shop.call("GetBuild", {"buildId": "img"})).json()["status"] == "created"


async def test_without_an_engine_a_registrys_image_is_400_and_says_so(shop: Any) -> None:
    services = shop.house.services
    services.policy = replace(services.policy, registry_builds=False)
    await shop.call("CreateBuildRegistry", body={"buildId": "img"})
    reply = await shop.call("RunBuildRegistry", {"buildId": "img"}, body={"image": "a"})
    assert reply.status_code == 400
    assert "container engine" in reply.json()["message"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 422),
        ({"buildSizeInBytes": 0}, 422),
        ({"buildSizeInBytes": -5}, 422),
        ({"buildSizeInBytes": 2.5}, 422),
        ({"buildSizeInBytes": "7"}, 422),
        ({"buildSizeInBytes": 10 * 1024**3 + 1}, 422),
        ({"buildSizeInBytes": 1e300}, 422),
        ({"buildSizeInBytes": 1, "buildId": "a b"}, 422),
        ({"buildSizeInBytes": 1, "buildId": ""}, 422),
        ({"buildSizeInBytes": 1, "buildId": "taken"}, 400),
        ({"buildSizeInBytes": 1, "buildTag": "x" * 1001}, 422),
    ],
)
async def test_a_bad_build_is_refused(shop: Any, body: dict[str, Any], status: int) -> None:
    await shop.call("CreateBuildRegistry", body={"buildId": "taken"})
    assert (await shop.call("CreateBuild", body=body)).status_code == status


async def test_a_deleted_build_is_gone_and_its_id_stays_taken(shop: Any) -> None:
    build = await uploaded(shop, buildId="mine")
    await shop.call("RunBuild", {"buildId": "mine"})
    gone = await shop.call("DeleteBuild", {"buildId": "mine"})
    assert (gone.status_code, gone.json()) == (200, {})
    await shop.runner.settled()
    assert len(shop.builder.deleted) == 1
    for operation in ("GetBuild", "DeleteBuild", "RunBuild"):
        assert (await shop.call(operation, {"buildId": "mine"})).status_code == 404
    assert (await shop.call("GetBuilds")).json() == {"builds": []}
    again = await shop.call("CreateBuild", body={"buildSizeInBytes": 1, "buildId": "mine"})
    assert again.status_code == 400
    assert build["buildId"] == "mine"


async def test_a_build_that_was_deleted_before_its_run_leaves_no_file(shop: Any) -> None:
    build = await uploaded(shop)
    assert len(shop.files()) == 1
    await shop.call("DeleteBuild", {"buildId": build["buildId"]})
    await shop.runner.settled()
    assert shop.files() == []
    late = await shop.http.put(build["uploadParts"][0]["putRequestUrl"], content=b"x" * 20)
    assert late.status_code == 404
    assert shop.files() == []


async def test_the_list_is_newest_first(shop: Any) -> None:
    for build_id in ("one", "two", "three"):
        shop.studio.clock.move(1)
        await shop.call("CreateBuildRegistry", body={"buildId": build_id})
    listed = (await shop.call("GetBuilds")).json()["builds"]
    assert [build["buildId"] for build in listed] == ["three", "two", "one"]


async def test_the_log_has_a_page_that_shows_text_as_text(shop: Any) -> None:
    build = await uploaded(shop)
    await shop.call("RunBuild", {"buildId": build["buildId"]})
    link = (await shop.call("GetBuild", {"buildId": build["buildId"]})).json()["shareUrl"]
    page = await shop.http.get(link, headers={"authorization": ""})
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "54 bytes &amp; &lt;b&gt;more&lt;/b&gt;" in page.text
    assert "Build succeeded" in page.text
    for other in (link[:-1] + ("0" if link[-1] != "0" else "1"), link.partition("?")[0]):
        assert (await shop.http.get(other)).status_code == 404
    await shop.call("DeleteBuild", {"buildId": build["buildId"]})
    assert (await shop.http.get(link)).status_code == 404
