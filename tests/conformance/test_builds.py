"""BuildsV3: an archive's way to a build, and a build's end (behaviour.md 2)."""

import hashlib
import math
import re

import httpx
import pytest

from innkeeper.testing.live import LiveServer
from innkeeper.testing.live_studio import LiveStudio, archive, completion
from innkeeper.testing.official_sdk import Sdk, refused


def test_the_life_of_a_build(studio: LiveStudio, game: bytes, org_id: str) -> None:
    size = {"buildSizeInBytes": len(game), "buildTag": "v1"}
    made, (reply,) = studio.sdk.answered("buildsV3.createBuild", size)
    assert reply.status == 201
    assert re.fullmatch(r"bld-[0-9a-f-]{36}", made["buildId"])
    assert (made["status"], made["imageSize"], made["orgId"]) == ("created", 0, org_id)
    assert made["startedAt"] is made["finishedAt"] is made["deletedAt"] is None
    numbers = [part["partNumber"] for part in made["uploadParts"]]
    assert numbers == list(range(1, math.ceil(len(game) / made["maxChunkSize"]) + 1))
    assert len(numbers) > 1, "the test's archive must need several parts"
    with refused(400, "upload"):
        studio.sdk("buildsV3.runBuild", made["buildId"])

    done = studio.send(made, game)
    assert done.status_code == 200
    assert "CompleteMultipartUploadResult" in done.text

    log = studio.sdk("buildsV3.runBuild", made["buildId"]).splitlines()
    build = studio.sdk("buildsV3.getBuild", made["buildId"])
    assert log[-1] == f"Build succeeded: {made['buildId']} ({build['imageSize']} bytes)"
    assert build["status"] == "succeeded"
    assert build["imageSize"] > 0
    assert build["createdAt"] <= build["startedAt"] <= build["finishedAt"]
    assert build["contentHash"] == hashlib.sha256(game).hexdigest()
    assert build["buildTag"] == "v1"
    with refused(400):
        studio.sdk("buildsV3.runBuild", made["buildId"])


def test_the_build_log_comes_as_a_stream_and_the_status_is_final_at_its_end(
    studio: LiveStudio, game: bytes
) -> None:
    build_id = studio.upload(game)["buildId"]
    lines = list(studio.sdk.follow("buildsV3.runBuild", build_id).lines())
    assert studio.sdk("buildsV3.getBuild", build_id)["status"] == "succeeded"
    assert lines[-1].startswith("Build succeeded")


def test_own_ids_and_tags(studio: LiveStudio) -> None:
    size = {"buildSizeInBytes": 10}
    made = studio.sdk("buildsV3.createBuild", {**size, "buildId": "release_1.2-rc"})
    assert made["buildId"] == "release_1.2-rc"
    assert "buildTag" not in made
    with refused(400, "release_1.2-rc"):
        studio.sdk("buildsV3.createBuild", {**size, "buildId": "release_1.2-rc"})
    for bad in ("", "a b", "a/b", "ä", "x" * 101, "line\n"):
        with refused(422, "buildId"):
            studio.sdk("buildsV3.createBuild", {**size, "buildId": bad})
    with refused(422, "buildTag"):
        studio.sdk("buildsV3.createBuild", {**size, "buildTag": "x" * 1001})
    assert studio.sdk("buildsV3.deleteBuild", "release_1.2-rc") == {}
    with refused(400):
        studio.sdk("buildsV3.createBuild", {**size, "buildId": "release_1.2-rc"})


@pytest.mark.parametrize("size", [0, -1, 0.5, 9 * 1024**2, 10**15])
def test_sizes_that_cannot_be(studio: LiveStudio, size: float) -> None:
    with refused(422, "buildSizeInBytes"):
        studio.sdk("buildsV3.createBuild", {"buildSizeInBytes": size})


def test_the_list_is_newest_first(studio: LiveStudio) -> None:
    made = [
        studio.sdk("buildsV3.createBuild", {"buildSizeInBytes": n + 1})["buildId"] for n in range(3)
    ]
    listed = [b["buildId"] for b in studio.sdk("buildsV3.getBuilds")["builds"]]
    assert [b for b in listed if b in made] == made[::-1]


def test_a_deleted_build(studio: LiveStudio, game: bytes) -> None:
    build_id = studio.build(game)["buildId"]
    app_id = studio.app()
    studio.deploy(app_id, build_id)
    room = studio.room(app_id)
    studio.active(app_id, room["roomId"])
    value, (reply,) = studio.sdk.answered("buildsV3.deleteBuild", build_id)
    assert (value, reply.status) == ({}, 200)
    with refused(404, build_id):
        studio.sdk("buildsV3.getBuild", build_id)
    with refused(404, build_id):
        studio.sdk("buildsV3.deleteBuild", build_id)
    assert build_id not in {b["buildId"] for b in studio.sdk("buildsV3.getBuilds")["builds"]}
    # What runs lives on; a new process cannot be made of it.
    assert studio.active(app_id, room["roomId"])["status"] == "active"
    with refused(404, build_id):
        studio.room(app_id)
    with refused(404, build_id):
        studio.deploy(app_id, build_id)


def test_a_part_may_be_sent_again_and_the_last_one_counts(studio: LiveStudio, game: bytes) -> None:
    made = studio.sdk("buildsV3.createBuild", {"buildSizeInBytes": len(game)})
    first = made["uploadParts"][0]
    junk = b"x" * min(int(made["maxChunkSize"]), len(game))
    sent = httpx.put(first["putRequestUrl"], content=junk, trust_env=False)
    assert sent.headers["etag"] == f'"{hashlib.md5(junk).hexdigest()}"'
    assert studio.send(made, game).status_code == 200
    studio.sdk("buildsV3.runBuild", made["buildId"])
    assert studio.sdk("buildsV3.getBuild", made["buildId"])["status"] == "succeeded"


def test_a_list_of_parts_that_does_not_fit(studio: LiveStudio, game: bytes) -> None:
    made = studio.sdk("buildsV3.createBuild", {"buildSizeInBytes": len(game)})
    chunk, tags = int(made["maxChunkSize"]), []
    for part in made["uploadParts"]:
        number = part["partNumber"]
        body = game[(number - 1) * chunk : number * chunk]
        sent = httpx.put(part["putRequestUrl"], content=body, trust_env=False)
        tags.append((number, sent.headers["etag"]))
    wrong = [(1, '"00000000000000000000000000000000"'), *tags[1:]]
    for listed in (wrong, tags[:-1], []):
        url = made["completeUploadPostRequestUrl"]
        answer = httpx.post(url, content=completion(listed), trust_env=False)
        assert answer.status_code == 400
        assert "<Code>" in answer.text
    with refused(400):
        studio.sdk("buildsV3.runBuild", made["buildId"])


def test_upload_urls_carry_their_own_authorisation(studio: LiveStudio) -> None:
    one, two = (
        studio.sdk("buildsV3.createBuild", {"buildSizeInBytes": 10})["uploadParts"][0][
            "putRequestUrl"
        ]
        for _ in range(2)
    )
    path, _, query = one.partition("?")
    forged = [path, one[:-1], f"{path}?{two.partition('?')[2]}", f"{two.partition('?')[0]}?{query}"]
    forged += [one.replace("size=10", "size=11"), one.replace("expires=1", "expires=2")]
    for url in forged:
        assert url != one
        assert httpx.put(url, content=b"x" * 10, trust_env=False).status_code == 403, url


def test_a_failed_build_says_why(studio: LiveStudio) -> None:
    broken = archive({"Dockerfile": b"FROM scratch\nCOPY nothing-here /\n"})
    build = studio.build(broken)
    assert build["status"] == "failed"
    last = build["log"].splitlines()[-1]
    assert last.startswith("Build failed: ")
    assert "nothing-here" in build["log"]
    assert build["finishedAt"] is not None
    with refused(400, build["buildId"]):
        studio.deploy(studio.app(), build["buildId"])


def test_host_processes_name_the_line_that_needs_an_engine(
    studio: LiveStudio, runtime: str
) -> None:
    if runtime != "process":
        pytest.skip("an engine runs RUN")
    build = studio.build(archive({"Dockerfile": b'FROM scratch\n\nRUN make game\nCMD ["/x"]\n'}))
    assert build["status"] == "failed"
    assert "line 3" in build["log"]
    assert "RUN" in build["log"]


def test_registry_builds(studio: LiveStudio, runtime: str) -> None:
    made, (reply,) = studio.sdk.answered("buildsV3.createBuildRegistry", {"buildTag": "r1"})
    assert (reply.status, made["status"], made["buildTag"]) == (201, "created", "r1")
    image = {"image": "nobody/nothing:1", "registryUrl": "127.0.0.1:1", "auth": "user:secret-word"}
    if runtime == "process":
        with refused(400, "engine"):
            studio.sdk("buildsV3.runBuildRegistry", made["buildId"], image)
        return
    log = studio.sdk("buildsV3.runBuildRegistry", made["buildId"], image)
    assert studio.sdk("buildsV3.getBuild", made["buildId"])["status"] == "failed"
    assert log.splitlines()[-1].startswith("Build failed: ")
    assert "secret-word" not in log


def test_unknown_and_foreign_builds(studio: LiveStudio, stranger: Sdk, build_id: str) -> None:
    for sdk, name in ((studio.sdk, "bld-unknown"), (stranger, build_id)):
        for call in ("buildsV3.getBuild", "buildsV3.runBuild", "buildsV3.deleteBuild"):
            with refused(404, name):
                sdk(call, name)


def test_an_unfinished_upload_is_no_secret_kept_on_disk(
    studio: LiveStudio, live: LiveServer
) -> None:
    made = studio.sdk("buildsV3.createBuild", {"buildSizeInBytes": 11})
    marker = b"an-odd-body"
    sent = httpx.put(made["uploadParts"][0]["putRequestUrl"], content=marker, trust_env=False)
    assert sent.status_code == 200
    studio.sdk("buildsV3.deleteBuild", made["buildId"])
    left = [p for p in live.data_dir.rglob("*") if p.is_file() and p.stat().st_size == len(marker)]
    assert not [p for p in left if p.read_bytes() == marker]
