"""The thin clients of the API, against a stub of it."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import StubApi

APP: dict[str, Any] = {"appName": "tag", "appId": "app-1", "orgId": "org-1"}
PORT = {"name": "default", "host": "h", "port": 20001, "transportType": "udp"}
PROCESS = "11111111-2222-4333-8444-555555555555"


def one_app(stub: StubApi, *more: dict[str, Any]) -> None:
    stub.on("GET /apps/v2/apps", {"applications": [APP, *more]})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    (tmp_path / "game").write_bytes(bytes(range(256)) * 40)
    return tmp_path


def ready_to_build(stub: StubApi, status: str = "succeeded", chunk: int = 100) -> None:
    parts = [
        {"partNumber": number, "putRequestUrl": f"{stub.url}/part/{number}?signature=s"}
        for number in (2, 1)
    ]
    created = {
        "buildId": "bld-1",
        "maxChunkSize": chunk,
        "uploadParts": parts,
        "completeUploadPostRequestUrl": f"{stub.url}/complete?signature=s",
    }
    stub.on("POST /builds/v3/builds", created, 201)
    stub.on("PUT /part/1", b"", etag='"one"')
    stub.on("PUT /part/2", b"", etag='"two"')
    stub.on("POST /complete", b"<CompleteMultipartUploadResult/>")
    stub.on("POST /builds/v3/builds/bld-1/run", b"Step 1: FROM scratch\nlast words\n")
    stub.on("GET /builds/v3/builds/bld-1", {"status": status})
    deployment = {"deploymentId": "dep-1", "buildId": "bld-1"}
    stub.on("POST /deployments/v3/apps/app-1/deployments", deployment, 201)


def test_deploy_uploads_builds_and_deploys(stub: StubApi, folder: Path) -> None:
    one_app(stub)
    ready_to_build(stub)
    options = ["--app", "tag", "--port", "7777", "--tag", "v1"]
    options += ["--env", "URL=http://x/?a=b", "--env", "EMPTY=", "--extra-port", "chat:80/tcp"]

    result = stub.run("deploy", str(folder), *options)

    assert result.exit_code == 0, result.output
    assert "  last words\n" in result.output
    assert "deployment dep-1 of build bld-1 in app-1" in result.output
    [asked] = stub.bodies("POST /deployments/v3/apps/app-1/deployments")
    assert asked["env"] == [
        {"name": "URL", "value": "http://x/?a=b"},
        {"name": "EMPTY", "value": ""},
    ]
    assert asked["additionalContainerPorts"] == [
        {"name": "chat", "port": 80, "transportType": "tcp"}
    ]
    assert (asked["containerPort"], asked["transportType"]) == (7777, "udp")


def test_an_upload_sends_each_part_once_without_our_token(stub: StubApi, folder: Path) -> None:
    one_app(stub)
    ready_to_build(stub)

    stub.run("deploy", str(folder), "--app", "tag", "--port", "7777")

    [size] = [body["buildSizeInBytes"] for body in stub.bodies("POST /builds/v3/builds")]
    one, two = (a for a in stub.asked if a.path.startswith("/part/"))
    assert (one.path, two.path) == ("/part/1?signature=s", "/part/2?signature=s")
    assert len(one.body) == 100
    assert len(one.body + two.body) == min(size, 200)
    [complete] = (a for a in stub.asked if a.path.startswith("/complete"))
    assert b'<PartNumber>2</PartNumber><ETag>"two"</ETag>' in complete.body
    for asked in (one, two, complete):
        assert "authorization" not in {name.lower() for name in asked.headers}


def test_deploy_makes_the_app_it_names(stub: StubApi, folder: Path) -> None:
    stub.on("GET /apps/v2/apps", {"applications": []})
    stub.on("POST /apps/v2/apps", APP, 201)
    ready_to_build(stub)

    result = stub.run("deploy", str(folder), "--app", "tag", "--port", "7777")

    assert "made app tag (app-1)" in result.output
    assert stub.bodies("POST /apps/v2/apps")[0]["appName"] == "tag"


def test_a_failed_build_is_no_deployment(stub: StubApi, folder: Path) -> None:
    one_app(stub)
    ready_to_build(stub, status="failed")

    result = stub.run("deploy", str(folder), "--app", "tag", "--port", "7777")

    assert result.exit_code == 1
    assert "build bld-1 failed" in result.output
    assert not stub.bodies("POST /deployments/v3/apps/app-1/deployments")


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--env", "NOVALUE"], "'NOVALUE' is not NAME=VALUE"),
        (["--extra-port", "chat:80"], "'chat:80' is not NAME:PORT/TRANSPORT"),
        (["--port", "0"], "0 is not in the range"),
        (["--transport", "quic"], "'quic' is not one of"),
    ],
)
def test_wrong_options_are_explained(
    stub: StubApi, folder: Path, options: list[str], problem: str
) -> None:
    result = stub.run("deploy", str(folder), "--app", "tag", "--port", "7777", *options)

    assert result.exit_code == 2
    assert problem in result.output
    assert not stub.asked


MADE = {"roomId": "r1", "processId": PROCESS, "status": "starting", "additionalExposedPorts": []}
ACTIVE = {**MADE, "status": "active", "exposedPort": PORT}


def test_room_create_waits_until_players_can_join(stub: StubApi) -> None:
    one_app(stub)
    stub.on("POST /rooms/v2/app-1/create", ACTIVE, 201)

    result = stub.run("room", "create", "--region", "Tokyo", "--config", '{"map":1}')

    assert result.stdout.splitlines() == [f"room r1 on process {PROCESS}", "default: h:20001/udp"]
    assert result.stderr == "waiting until players can join, at most 120s\n"
    asked = stub.asked[-1]
    assert asked.path == "/rooms/v2/app-1/create?wait=120s"
    assert json.loads(asked.body) == {"region": "Tokyo", "roomConfig": '{"map":1}'}


def test_room_create_waits_as_long_as_told_and_says_what_is_not_ready(stub: StubApi) -> None:
    one_app(stub)
    stub.on("POST /rooms/v2/app-1/create", MADE, 201)

    result = stub.run("room", "create", "--wait", "2s", "--room-id", "r1")

    assert stub.asked[-1].path == "/rooms/v2/app-1/create?roomId=r1&wait=2s"
    assert (result.exit_code, result.stdout) == (1, "")
    assert "room r1 is made, and not ready yet: it is starting; `innkeeper why r1`" in result.stderr


def test_room_create_need_not_wait(stub: StubApi) -> None:
    one_app(stub)
    stub.on("POST /rooms/v2/app-1/create", MADE, 201)

    assert stub.run("room", "create", "--no-wait").output == f"room r1 on process {PROCESS}\n"
    assert stub.asked[-1].path == "/rooms/v2/app-1/create"


def test_a_room_that_fails_to_start_is_told_as_the_api_tells_it(stub: StubApi) -> None:
    one_app(stub)
    message = 'Room "r1" ended before it was ready: it crashed'
    stub.on("POST /rooms/v2/app-1/create", {"message": message}, 409)

    result = stub.run("room", "create")

    assert (result.exit_code, f"{message} [409]" in result.output) == (1, True)


def test_room_info_and_destroy(stub: StubApi) -> None:
    one_app(stub)
    stub.on("GET /rooms/v2/app-1/info/r1", {"roomId": "r1", "roomConfig": "ü"})
    stub.on("POST /rooms/v2/app-1/destroy/r1", b"", 204)

    assert '"roomConfig": "ü"' in stub.run("room", "info", "r1").output
    assert stub.run("room", "destroy", "r1").output == "room r1 destroyed\n"


@pytest.mark.parametrize(
    ("room_id", "sent"),
    [("../../apps?x=1", "..%2F..%2Fapps%3Fx%3D1"), (".", "%2E"), ("..", "%2E%2E")],
)
def test_an_id_cannot_leave_its_segment(stub: StubApi, room_id: str, sent: str) -> None:
    one_app(stub)

    stub.run("room", "destroy", room_id, "--app", "tag")

    assert stub.asked[-1].path == f"/rooms/v2/app-1/destroy/{sent}"


def process(**changed: Any) -> dict[str, Any]:
    return {
        "processId": PROCESS,
        "status": "running",
        "region": "Chicago",
        "roomsAllocated": 1,
        "roomsPerProcess": 4,
        "exposedPort": PORT,
        "createdAt": "2026-01-01T00:00:00.000Z",
        **changed,
    }


def test_ps_lists_what_runs(stub: StubApi) -> None:
    one_app(stub)
    stub.on("GET /processes/v3/apps/app-1/processes/latest", [process()])

    lines = stub.run("ps").output.splitlines()

    assert lines[0].split()[:4] == ["PROCESS", "APP", "STATUS", "REGION"]
    assert lines[1].split()[:6] == [PROCESS, "tag", "running", "Chicago", "1/4", "h:20001/udp"]
    assert "status=starting&status=running" in stub.asked[-1].path


def test_ps_passes_on_no_control_characters(stub: StubApi) -> None:
    one_app(stub)
    ended = process(summaryExitReason="Crashed\x1b[2J", exposedPort=None)
    stub.on("GET /processes/v3/apps/app-1/processes/latest", [ended])

    output = stub.run("ps", "-a").output

    assert "Crashed?[2J" in output
    assert "status=" not in stub.asked[-1].path


def test_drain_finds_its_process_and_says_what_becomes_of_it(stub: StubApi) -> None:
    one_app(stub)
    stub.on("GET /processes/v3/apps/app-1/processes/latest", [process()])
    stub.on(f"POST /innkeeper/v1/apps/app-1/processes/{PROCESS}/drain", b"", 204)

    result = stub.run("drain", "1111")

    assert result.output == f"process {PROCESS} takes no new rooms, and stops when it is empty\n"


def test_a_warm_pool_is_changed_region_by_region(stub: StubApi) -> None:
    one_app(stub)
    path = "/innkeeper/v1/apps/app-1/warm-pools"
    tokyo, london = {"region": "Tokyo", "processes": 2}, {"region": "London", "processes": 1}
    stub.on(f"GET {path}", {"warmPools": [tokyo, london]})
    stub.on(f"PUT {path}", {"warmPools": [london, {"region": "Tokyo", "processes": 5}]})

    assert stub.run("warm-pool").output == "Tokyo: 2\nLondon: 1\n"
    assert stub.run("warm-pool", "Tokyo", "5").output == "London: 1\nTokyo: 5\n"
    assert stub.bodies(f"PUT {path}") == [
        {"warmPools": [london, {"region": "Tokyo", "processes": 5}]}
    ]
    assert "give both REGION and PROCESSES" in stub.run("warm-pool", "Tokyo").output


def test_logs_finds_a_process_by_the_beginning_of_its_id(stub: StubApi) -> None:
    one_app(stub)
    stub.on("GET /processes/v3/apps/app-1/processes/latest", [process()])
    stub.on(f"GET /logs/v1/app-1/process/{PROCESS}", "first\nlast ü\n".encode())

    result = stub.run("logs", "1111", "-f", "-n", "5")

    assert result.output == "first\nlast ü\n"
    assert stub.asked[-1].path.endswith("?tailLines=5&follow=true")


def test_logs_finds_an_old_process_by_its_whole_id(stub: StubApi) -> None:
    one_app(stub, {"appName": "other", "appId": "app-2"})
    stub.on(f"GET /processes/v3/apps/app-2/processes/{PROCESS}", process())
    stub.on(f"GET /logs/v1/app-2/process/{PROCESS}/download", b"all of it\n")

    assert stub.run("logs", PROCESS, "--whole").output == "all of it\n"


def test_logs_of_nobody(stub: StubApi) -> None:
    one_app(stub)
    stub.on("GET /processes/v3/apps/app-1/processes/latest", [])

    assert "none of the latest processes begins with 9" in stub.run("logs", "9").output
    assert f"no process {PROCESS}" in stub.run("logs", PROCESS).output


def test_several_apps_need_a_name(stub: StubApi) -> None:
    one_app(stub, {"appName": "other", "appId": "app-2"})

    result = stub.run("room", "info", "r1")

    assert (result.exit_code, "name an app with --app; there are: other, tag" in result.output) == (
        1,
        True,
    )


def test_a_refused_token_says_where_to_give_one(stub: StubApi) -> None:
    stub.on("GET /apps/v2/apps", {"message": "Invalid token"}, 401)

    assert "Error: Invalid token [401] (see --token)" in stub.run("ps").output


def test_an_answer_that_is_no_json_is_shown_as_it_is(stub: StubApi) -> None:
    stub.on("GET /apps/v2/apps", b"<h1>Bad gateway</h1>", 502)

    assert "Error: <h1>Bad gateway</h1> [502]" in stub.run("ps").output


def test_without_a_token_the_kept_one_is_used(stub: StubApi, tmp_path: Path) -> None:
    (tmp_path / "admin-token").write_text("kept-token-kept-token\n")
    one_app(stub)
    stub.on("GET /processes/v3/apps/app-1/processes/latest", [])

    stub.run("ps", "--data-dir", str(tmp_path), token=None)

    assert stub.asked[0].headers["authorization"] == "Bearer kept-token-kept-token"


def test_nobody_at_home_is_said_plainly(stub: StubApi) -> None:
    result = stub.run("ps", "--url", "http://127.0.0.1:1")

    assert result.exit_code == 1
    assert "nothing answers at http://127.0.0.1:1" in result.output


def test_a_url_that_is_none_is_said_plainly(stub: StubApi) -> None:
    assert "--url ftp://x" in stub.run("ps", "--url", "ftp://x").output
