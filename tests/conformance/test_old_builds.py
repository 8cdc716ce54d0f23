"""BuildsV1 and BuildsV2: builds counted by their app, sent in each old way (behaviour.md 2.2, 2.3)."""

import httpx
import pytest

from innkeeper.testing.live import ADMIN_TOKEN, LiveServer
from innkeeper.testing.live_studio import LiveStudio, archive
from innkeeper.testing.official_sdk import Sdk, file_of, refused


def newest(studio: LiveStudio, tag: str) -> str:
    """V3's id of the build with this tag."""
    builds = studio.sdk("buildsV3.getBuilds")["builds"]
    (build_id,) = [str(b["buildId"]) for b in builds if b.get("buildTag") == tag]
    return build_id


def test_a_build_of_v1_from_its_number_to_a_room(studio: LiveStudio, game: bytes) -> None:
    app_id = studio.app()
    tag = f"old-{app_id}"
    made, (reply,) = studio.sdk.answered(
        "buildsV1.createBuildDeprecated", {"buildTag": tag}, app_id
    )
    assert reply.status == 201
    assert (made["buildId"], made["appId"], made["status"]) == (1, app_id, "created")
    assert made["regionalContainerTags"] == []
    file = {"file": file_of("application.tgz", game)}
    log, (reply,) = studio.sdk.answered("buildsV1.runBuildDeprecated", 1, file, app_id)
    assert reply.headers["content-type"] == "text/plain"
    assert log.splitlines()[-1].startswith("Build succeeded: bld-")
    build = studio.sdk("buildsV1.getBuildInfoDeprecated", 1, app_id)
    assert (build["status"], build["buildTag"]) == ("succeeded", tag)
    # The same record in V2 and in V3.
    assert studio.sdk("buildsV2.getBuildInfoV2Deprecated", 1, app_id) == build
    build_id = newest(studio, tag)
    seen = studio.sdk("buildsV3.getBuild", build_id)
    for name in ("status", "imageSize", "createdAt", "createdBy", "startedAt", "finishedAt"):
        assert seen[name] == build[name], name
    with refused(400, "already"):
        studio.sdk("buildsV1.runBuildDeprecated", 1, file, app_id)
    # It runs: deployed through V1, played through V2.
    config = {"planName": "tiny", "roomsPerProcess": 1, "env": [], "containerPort": 7777,
              "transportType": "udp"}  # fmt: skip
    studio.sdk("deploymentsV1.createDeploymentV1Deprecated", 1, config, app_id)
    assert studio.active(app_id, studio.room(app_id)["roomId"])["exposedPort"]["port"]
    assert studio.sdk("deploymentsV3.getLatestDeployment", app_id)["buildId"] == build_id


def test_the_first_command_line_sends_no_body(studio: LiveStudio) -> None:
    app_id = studio.app()
    with studio.server.http() as http:
        for version, number in (("v1", 1), ("v2", 2)):
            reply = http.post(f"/builds/{version}/{app_id}/create")
            assert (reply.status_code, reply.json()["buildId"]) == (201, number)
            # Some clients say JSON and send nothing.
            headers = {"content-type": "application/json"}
            assert http.get(f"/builds/{version}/{app_id}/list", headers=headers).status_code == 200
    # It takes the first of a list for the latest.
    listed = studio.sdk("buildsV1.getBuildsDeprecated", app_id)
    assert [build["buildId"] for build in listed] == [2, 1]


def test_a_v1_run_needs_its_file_and_survives_a_bad_one(
    studio: LiveStudio, live: LiveServer, game: bytes
) -> None:
    app_id = studio.app()
    studio.sdk("buildsV1.createBuildDeprecated", {}, app_id)
    url = f"{live.url}/builds/v1/{app_id}/run/1"
    headers = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
    for sent in ({}, {"files": {"other": b"x"}}, {"files": {"file": b""}}):
        assert httpx.post(url, headers=headers, trust_env=False, **sent).status_code == 422
    large = {"file": ("a.tgz", bytes(8 * 1024**2 + 1))}
    assert httpx.post(url, headers=headers, files=large, trust_env=False).status_code == 413
    assert studio.sdk("buildsV1.getBuildInfoDeprecated", 1, app_id)["status"] == "created"
    file = {"file": file_of("a.tgz", game)}
    assert "Build succeeded" in studio.sdk("buildsV1.runBuildDeprecated", 1, file, app_id)


def test_v2_runs_with_a_file(studio: LiveStudio, game: bytes) -> None:
    app_id = studio.app()
    made = studio.sdk("buildsV2.createBuildV2Deprecated", {"buildTag": "v2"}, app_id)
    assert (made["buildId"], made["buildTag"]) == (1, "v2")
    with refused(400, "archive"):
        studio.sdk("buildsV2.runBuildV2Deprecated", 1, {}, app_id)
    file = {"file": file_of("a.tgz", game)}
    lines = list(studio.sdk.follow("buildsV2.runBuildV2Deprecated", 1, file, app_id).lines())
    assert lines[-1].startswith("Build succeeded")
    assert studio.sdk("buildsV2.getBuildInfoV2Deprecated", 1, app_id)["status"] == "succeeded"


def test_v2_takes_the_archive_by_a_browsers_form(studio: LiveStudio, game: bytes) -> None:
    app_id = studio.app()
    call = "buildsV2.createBuildWithUploadUrlV2Deprecated"
    made = studio.sdk(call, {"buildTag": "form"}, app_id)
    fields = {field["key"]: field["value"] for field in made["uploadBodyParams"]}
    file = {"file": ("a.tgz", game)}
    wrong = {**fields, "signature": "0" * 64}
    refusal = httpx.post(made["uploadUrl"], data=wrong, files=file, trust_env=False)
    assert refusal.status_code == 403
    done = httpx.post(made["uploadUrl"], data=fields, files=file, trust_env=False)
    assert (done.status_code, done.content) == (204, b"")
    # The client of 2.25 sends an empty form along.
    log = studio.sdk("buildsV2.runBuildV2Deprecated", made["buildId"], {}, app_id)
    assert log.splitlines()[-1].startswith("Build succeeded")
    late = httpx.post(made["uploadUrl"], data=fields, files=file, trust_env=False)
    assert late.status_code == 404


def test_v2_takes_the_archive_in_parts(studio: LiveStudio, game: bytes) -> None:
    app_id = studio.app()
    wanted = {"buildSizeInBytes": len(game), "buildTag": "parts", "buildId": f"own-{app_id}"}
    call = "buildsV2.createWithMultipartUploadsV2Deprecated"
    made, (reply,) = studio.sdk.answered(call, wanted, app_id)
    assert (reply.status, made["buildId"]) == (201, 1)
    assert len(made["uploadParts"]) > 1
    assert studio.send(made, game).status_code == 200
    with studio.server.http() as http:  # with no body at all
        run = http.post(f"/builds/v2/{app_id}/run/1")
    assert run.headers["content-type"] == "application/octet-stream"
    assert "Build succeeded" in run.text
    assert studio.sdk("buildsV3.getBuild", wanted["buildId"])["status"] == "succeeded"
    with refused(400, wanted["buildId"]):
        studio.sdk(call, wanted, app_id)


def test_an_app_counts_the_builds_it_made_or_deployed(studio: LiveStudio, build_id: str) -> None:
    app_id, other = studio.app(), studio.app()
    assert studio.sdk("buildsV2.getBuildsV2Deprecated", app_id) == []
    studio.sdk("buildsV2.createBuildV2Deprecated", {}, app_id)
    for _ in range(2):
        studio.deploy(app_id, build_id)
        studio.deploy(other, build_id)
    listed = studio.sdk("buildsV2.getBuildsV2Deprecated", app_id)
    assert [build["buildId"] for build in listed] == [2, 1]
    assert listed == studio.sdk("buildsV1.getBuildsDeprecated", app_id)
    assert (listed[0]["buildTag"], listed[0]["appId"]) == ("the-game", app_id)
    (theirs,) = studio.sdk("buildsV1.getBuildsDeprecated", other)
    assert (theirs["buildId"], theirs["createdAt"]) == (1, listed[0]["createdAt"])


@pytest.mark.parametrize("version", ["1", "2"])
def test_a_deleted_build_is_gone_in_every_version(
    studio: LiveStudio, game: bytes, version: str
) -> None:
    app_id = studio.app()
    build_id = studio.build(game)["buildId"]
    studio.deploy(app_id, build_id)
    room = studio.room(app_id)
    studio.active(app_id, room["roomId"])
    call = {"1": "buildsV1.deleteBuildDeprecated", "2": "buildsV2.deleteBuildV2Deprecated"}[version]
    value, (reply,) = studio.sdk.answered(call, 1, app_id)
    assert (value, reply.status) == (None, 204)
    with refused(404, build_id):
        studio.sdk("buildsV3.getBuild", build_id)
    for again in (call, "buildsV1.getBuildInfoDeprecated", "buildsV2.getBuildInfoV2Deprecated"):
        with refused(404, "1"):
            studio.sdk(again, 1, app_id)
    assert studio.sdk("buildsV1.getBuildsDeprecated", app_id) == []
    # What runs lives on, and its deployment is still there to see.
    assert studio.active(app_id, room["roomId"])["status"] == "active"
    latest = studio.sdk("deploymentsV1.getLatestDeploymentV1Deprecated", app_id)
    assert latest["buildId"] == 1
    with refused(404):
        studio.room(app_id)


def test_a_failed_build_says_why(studio: LiveStudio) -> None:
    app_id = studio.app()
    studio.sdk("buildsV1.createBuildDeprecated", {}, app_id)
    broken = archive({"Dockerfile": b"FROM scratch\nCOPY nothing-here /\n"})
    file = {"file": file_of("a.tgz", broken)}
    log = studio.sdk("buildsV1.runBuildDeprecated", 1, file, app_id)
    assert log.splitlines()[-1].startswith("Build failed: ")
    assert studio.sdk("buildsV1.getBuildInfoDeprecated", 1, app_id)["status"] == "failed"


def test_unknown_and_foreign_builds(studio: LiveStudio, stranger: Sdk) -> None:
    app_id, other = studio.app(), studio.app()
    studio.sdk("buildsV1.createBuildDeprecated", {}, app_id)
    for call in (
        "buildsV1.getBuildInfoDeprecated",
        "buildsV1.deleteBuildDeprecated",
        "buildsV2.getBuildInfoV2Deprecated",
        "buildsV2.deleteBuildV2Deprecated",
    ):
        for sdk, app, number in (
            (studio.sdk, app_id, 2),
            (studio.sdk, other, 1),
            (stranger, app_id, 1),
        ):
            with refused(404):
                sdk(call, number, app)
    for call in ("buildsV1.getBuildsDeprecated", "buildsV2.getBuildsV2Deprecated"):
        with refused(404):
            stranger(call, app_id)
    assert studio.sdk("buildsV1.getBuildInfoDeprecated", 1, app_id)["status"] == "created"
