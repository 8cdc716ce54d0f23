"""BuildsV1 and V2 on the wire, beside V3 (behaviour.md 1.2, 2.2, 2.3)."""

import hashlib
from dataclasses import replace
from typing import Any

import httpx
import pytest

from innkeeper.core.errors import BuildFailed

ARCHIVE = b"not really a tar, " * 3
FILE = {"file": ("application.tgz", ARCHIVE, "application/gzip")}
DEPLOYED = {
    "requestedCPU": 1,
    "requestedMemoryMB": 512,
    "roomsPerProcess": 1,
    "env": [],
    "containerPort": 1,
    "transportType": "udp",
    "idleTimeoutEnabled": False,
}


def at(shop: Any, number: int = 1) -> dict[str, str]:
    return {"appId": shop.app, "buildId": str(number)}


async def made(shop: Any, operation: str = "CreateBuildDeprecated", **sent: Any) -> dict[str, Any]:
    reply = await shop.call(operation, {"appId": shop.app}, **sent)
    assert reply.status_code == 201, reply.text
    build: dict[str, Any] = reply.json()
    return build


async def ids(shop: Any) -> list[str]:
    """V3's ids, newest first."""
    return [build["buildId"] for build in (await shop.call("GetBuilds")).json()["builds"]]


async def test_the_first_command_lines_way_from_an_archive_to_a_deployment(shop: Any) -> None:
    build = await made(shop)  # no body at all, as it sent it
    assert (build["buildId"], build["appId"], build["status"]) == (1, shop.app, "created")
    assert (build["buildTag"], build["regionalContainerTags"], build["imageSize"]) == (None, [], 0)
    run = await shop.call("RunBuildDeprecated", at(shop), files=FILE)
    assert run.status_code == 200
    assert run.headers["content-type"] == "text/plain"
    assert "got 54 bytes" in run.text
    assert run.text.splitlines()[-1].startswith("Build succeeded: bld-")
    after = (await shop.call("GetBuildInfoDeprecated", at(shop))).json()
    assert (after["status"], after["imageSize"]) == ("succeeded", 4711)
    assert after["startedAt"] is not None
    # The same build in V3, with what was seen of its archive.
    (build_id,) = await ids(shop)
    newest = (await shop.call("GetBuild", {"buildId": build_id})).json()
    assert newest["contentHash"] == hashlib.sha256(ARCHIVE).hexdigest()
    assert (newest["createdAt"], newest["finishedAt"]) == (after["createdAt"], after["finishedAt"])
    config = {**DEPLOYED, "planName": "small"}
    deployed = await shop.call("CreateDeploymentV1Deprecated", at(shop), body=config)
    assert (deployed.json()["buildId"], deployed.json()["deploymentId"]) == (1, 1)
    again = await shop.call("RunBuildDeprecated", at(shop), files=FILE)
    assert again.status_code == 400
    assert "already been run" in again.json()["message"]
    assert shop.files() == []


@pytest.mark.parametrize(
    "sent", [{}, {"content": b""}, {"files": {"other": b"x"}}, {"files": FILE}]
)
async def test_v2_runs_with_a_file_and_without_one(shop: Any, sent: dict[str, Any]) -> None:
    await made(shop, "CreateBuildV2Deprecated", body={"buildTag": "v2"})
    run = await shop.call("RunBuildV2Deprecated", at(shop), **sent)
    if sent.get("files") == FILE:
        assert run.headers["content-type"] == "application/octet-stream"
        assert "Build succeeded" in run.text
    else:
        assert run.status_code == 400
        assert "archive" in run.json()["message"]
        assert (await shop.call("GetBuildInfoV2Deprecated", at(shop))).json()["status"] == "created"


async def test_v2_takes_the_archive_by_a_browsers_form(shop: Any) -> None:
    build = await made(shop, "CreateBuildWithUploadUrlV2Deprecated", body={"buildTag": "form"})
    assert (build["buildId"], build["buildTag"]) == (1, "form")
    fields = {field["key"]: field["value"] for field in build["uploadBodyParams"]}
    headers = {"authorization": ""}
    done = await shop.http.post(build["uploadUrl"], data=fields, files=FILE, headers=headers)
    assert (done.status_code, done.content) == (204, b"")
    # Once more the same does no harm; another archive would.
    again = await shop.http.post(build["uploadUrl"], data=fields, files=FILE, headers=headers)
    assert again.status_code == 204
    other = await shop.http.post(build["uploadUrl"], data=fields, files={"file": b"other"})
    assert (other.status_code, "<Code>NoSuchUpload</Code>" in other.text) == (404, True)
    # The official client sends an empty form with its run.
    empty = {"content-type": "multipart/form-data; boundary=x"}
    run = await shop.call("RunBuildV2Deprecated", at(shop), content=b"--x--\r\n", headers=empty)
    assert run.text.splitlines()[-1].startswith("Build succeeded")
    late = await shop.http.post(build["uploadUrl"], data=fields, files=FILE)
    assert late.status_code == 404
    assert shop.files() == []


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"signature": "0" * 64}, 403, "SignatureDoesNotMatch"),
        ({"expires": "99999999999"}, 403, "SignatureDoesNotMatch"),
        ({"key": "another"}, 403, "SignatureDoesNotMatch"),
        ({"signature": ""}, 403, "SignatureDoesNotMatch"),
        ({"file": None}, 400, "InvalidArgument"),
        ({"file": b""}, 400, "MalformedPOSTRequest"),
        ({"file": b"x" * 1001}, 400, "EntityTooLarge"),
    ],
)
async def test_a_form_that_may_not_be_used(
    shop: Any, change: dict[str, Any], status: int, code: str
) -> None:
    services = shop.house.services
    services.policy = replace(services.policy, build_size_max=1000)
    build = await made(shop, "CreateBuildWithUploadUrlV2Deprecated")
    fields = {field["key"]: field["value"] for field in build["uploadBodyParams"]}
    file = change.pop("file", ARCHIVE)
    parts: list[Any] = [(name, (None, value)) for name, value in {**fields, **change}.items()]
    parts += [] if file is None else [("file", ("a.tgz", file))]
    reply = await shop.http.post(build["uploadUrl"], files=parts)
    assert (reply.status_code, f"<Code>{code}</Code>" in reply.text) == (status, True), reply.text
    assert shop.files() == []


async def test_a_file_before_its_fields_or_after_their_time_is_not_kept(shop: Any) -> None:
    build = await made(shop, "CreateBuildWithUploadUrlV2Deprecated")
    fields = [(f["key"], (None, f["value"])) for f in build["uploadBodyParams"]]
    reply = await shop.http.post(build["uploadUrl"], files=[("file", ARCHIVE), *fields])
    assert reply.status_code == 403
    shop.studio.clock.move(25 * 3600)
    reply = await shop.http.post(build["uploadUrl"], files=[*fields, ("file", ARCHIVE)])
    assert (reply.status_code, "expired" in reply.text) == (403, True)
    assert shop.files() == []


async def test_v2_takes_the_archive_in_parts(shop: Any) -> None:
    services = shop.house.services
    services.policy = replace(services.policy, chunk_bytes_max=30)
    body = {"buildSizeInBytes": len(ARCHIVE), "buildId": "mine", "buildTag": "parts"}
    build = await made(shop, "CreateWithMultipartUploadsV2Deprecated", body=body)
    assert (build["buildId"], build["maxChunkSize"]) == (1, 30)
    etags = []
    for p in build["uploadParts"]:
        content = ARCHIVE[30 * (p["partNumber"] - 1) : 30 * p["partNumber"]]
        etags.append((await shop.http.put(p["putRequestUrl"], content=content)).headers["etag"])
    listed = "".join(
        f"<Part><PartNumber>{n}</PartNumber><ETag>{etag}</ETag></Part>"
        for n, etag in enumerate(etags, 1)
    )
    xml = f"<CompleteMultipartUpload>{listed}</CompleteMultipartUpload>"
    done = await shop.http.post(build["completeUploadPostRequestUrl"], content=xml)
    assert done.status_code == 200, done.text
    assert "succeeded" in (await shop.call("RunBuildV2Deprecated", at(shop))).text
    assert await ids(shop) == ["mine"]
    again = await shop.call(
        "CreateWithMultipartUploadsV2Deprecated", {"appId": shop.app}, body=body
    )
    assert again.status_code == 400


async def test_an_app_lists_the_builds_it_counts(shop: Any) -> None:
    mine = await shop.studio.build("of-the-org")
    assert (await shop.call("GetBuildsDeprecated", {"appId": shop.app})).json() == []
    shop.studio.clock.move(1)
    await made(shop)
    body = {**DEPLOYED, "buildId": mine}
    for _ in range(2):
        await shop.call("CreateDeployment", {"appId": shop.app}, body=body)
    for operation in ("GetBuildsDeprecated", "GetBuildsV2Deprecated"):
        listed = (await shop.call(operation, {"appId": shop.app})).json()
        assert [build["buildId"] for build in listed] == [2, 1]
    assert (await shop.call("GetBuildInfoV2Deprecated", at(shop, 2))).json()["imageSize"] == 1
    latest = (await shop.call("GetLatestDeploymentV2Deprecated", {"appId": shop.app})).json()
    assert (latest["buildId"], latest["deploymentId"]) == (2, 2)
    # Another app counts for itself.
    other = await shop.call("CreateApp", body={"appName": "other", "authConfiguration": {}})
    there = {"appId": other.json()["appId"]}
    assert (await shop.call("GetBuildsDeprecated", there)).json() == []
    assert (await shop.call("GetBuildInfoDeprecated", {**there, "buildId": "1"})).status_code == 404
    reply = await shop.call("CreateDeployment", there, body=body)
    number = reply.json()["deploymentId"]
    seen = await shop.call("GetDeploymentInfoV1Deprecated", {**there, "deploymentId": "1"})
    assert (number[:4], seen.json()["buildId"]) == ("dep-", 1)


@pytest.mark.parametrize("operation", ["DeleteBuildDeprecated", "DeleteBuildV2Deprecated"])
async def test_a_deleted_build_is_gone_in_every_version(shop: Any, operation: str) -> None:
    await made(shop)
    await shop.call("RunBuildDeprecated", at(shop), files=FILE)
    (build_id,) = await ids(shop)
    gone = await shop.call(operation, at(shop))
    assert (gone.status_code, gone.content) == (204, b"")
    await shop.runner.settled()
    assert len(shop.builder.deleted) == 1
    for again in (operation, "GetBuildInfoDeprecated", "RunBuildDeprecated"):
        assert (await shop.call(again, at(shop))).status_code == 404
    assert (await shop.call("GetBuild", {"buildId": build_id})).status_code == 404
    assert (await made(shop))["buildId"] == 2
    assert [
        b["buildId"] for b in (await shop.call("GetBuildsDeprecated", {"appId": shop.app})).json()
    ] == [2]


@pytest.mark.parametrize(
    ("sent", "status", "word"),
    [
        ({}, 422, "form-data"),
        ({"body": {}}, 422, "form-data"),
        ({"files": {"other": b"x"}}, 422, "body.file"),
        ({"files": {"file": b""}}, 422, "empty"),
        ({"files": {"file": b"x" * 1001}}, 413, "1000"),
        ({"content": b"--x\r\ncut", "headers": {"content-type": "multipart/form-data; boundary=x"}},
         422, "body"),
    ],
)  # fmt: skip
async def test_what_a_run_brings_is_checked(
    shop: Any, sent: dict[str, Any], status: int, word: str
) -> None:
    services = shop.house.services
    services.policy = replace(services.policy, build_size_max=1000)
    await made(shop)
    reply = await shop.call("RunBuildDeprecated", at(shop), **sent)
    assert (reply.status_code, word in reply.json()["message"]) == (status, True), reply.text
    assert (await shop.call("GetBuildInfoDeprecated", at(shop))).json()["status"] == "created"
    assert shop.files() == []
    # Nothing is lost: the run can be asked for again.
    run = await shop.call("RunBuildDeprecated", at(shop), files=FILE)
    assert "Build succeeded" in run.text


async def test_a_failed_build_says_so_in_its_log(shop: Any) -> None:
    shop.builder.fault = BuildFailed("no Dockerfile")
    await made(shop)
    run = await shop.call("RunBuildDeprecated", at(shop), files=FILE)
    assert run.text.splitlines()[-1] == "Build failed: no Dockerfile"
    assert (await shop.call("GetBuildInfoDeprecated", at(shop))).json()["status"] == "failed"
    refused = await shop.call(
        "CreateDeploymentV1Deprecated", at(shop), body={**DEPLOYED, "planName": "tiny"}
    )
    assert refused.status_code == 400


async def test_a_run_begins_when_its_archive_is_here(shop: Any) -> None:
    await made(shop)
    request = httpx.Request("POST", "http://api.test", files=FILE)
    body = request.read()

    async def slowly() -> Any:
        yield body[:20]
        shop.studio.clock.move(600)
        yield body[20:]

    headers = {"content-type": request.headers["content-type"]}
    run = await shop.call("RunBuildDeprecated", at(shop), content=slowly(), headers=headers)
    assert "Build succeeded" in run.text
    build = (await shop.call("GetBuildInfoDeprecated", at(shop))).json()
    assert (build["createdAt"][11:16], build["startedAt"][11:16]) == ("12:00", "12:10")


@pytest.mark.parametrize("number", ["0", "2", "-1", "1.5", "one", "9" * 15, "9" * 40, "dep-1"])
async def test_numbers_that_name_nothing(shop: Any, number: str) -> None:
    await made(shop)
    values = {"appId": shop.app, "buildId": number}
    for operation in ("GetBuildInfoDeprecated", "RunBuildV2Deprecated", "DeleteBuildDeprecated"):
        reply = await shop.call(operation, values)
        assert reply.status_code in (404, 422), reply.text


@pytest.mark.parametrize(
    "body", [b"[]", b"null", b'{"buildTag": 5}', b'{"buildTag": "' + b"x" * 1001 + b'"}']
)
async def test_a_body_that_is_sent_must_be_right(shop: Any, body: bytes) -> None:
    for operation in (
        "CreateBuildDeprecated",
        "CreateBuildV2Deprecated",
        "CreateBuildWithUploadUrlV2Deprecated",
    ):
        reply = await shop.call(operation, {"appId": shop.app}, content=body)
        assert reply.status_code == 422
    assert await ids(shop) == []
