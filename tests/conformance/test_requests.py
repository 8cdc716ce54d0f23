"""What any client may send: refused by name, never a 5xx, one shape of error (behaviour.md 0.3, 9)."""

from typing import Any

import pytest

from innkeeper.testing.contract_check import check_reply
from innkeeper.testing.live import LiveServer
from innkeeper.testing.live_studio import LiveStudio

JSON = {"Content-Type": "application/json"}


def test_pages_without_a_token(live: LiveServer) -> None:
    with live.http(token=None) as http:
        assert http.get("/healthz").status_code == 200
        assert http.get("/readyz").status_code == 200
        assert "innkeeper" in http.get("/metrics").text


def test_unknown_paths_and_wrong_methods(live: LiveServer) -> None:
    with live.http() as http:
        for path in ("/", "/apps/v2", "/apps/v9/apps", "/rooms/v2/a/create/b/c", "/%ff", "//"):
            answer = http.get(path)
            assert answer.status_code == 404, path
            assert set(answer.json()) == {"message"}, path
        answer = http.put("/apps/v2/apps")
        assert answer.status_code == 405
        assert "GET" in answer.headers["allow"]
        assert answer.json()["message"]


def test_browsers_may_call(live: LiveServer) -> None:
    with live.http(token=None) as http:
        asked = http.options(
            "/rooms/v2/app-x/connectioninfo/r",
            headers={
                "Origin": "https://game.test",
                "Access-Control-Request-Method": "GET",
                "Access-Control-Request-Headers": "authorization",
            },
        )
        assert asked.status_code in (200, 204)
        assert asked.headers["access-control-allow-origin"] == "*"
        allowed = asked.headers["access-control-allow-headers"].lower()
        assert "authorization" in allowed
        assert "content-type" in allowed
        answer = http.get("/discovery/v2/ping", headers={"Origin": "https://game.test"})
        assert answer.headers["access-control-allow-origin"] == "*"
        missing = http.get("/rooms/v2/a/connectioninfo/r", headers={"Origin": "https://game.test"})
        assert missing.headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", "body"),
        (b"{", "body"),
        (b"[]", "body"),
        (b"null", "body"),
        (b'"text"', "body"),
        (b"\xff\xfe", "body"),
        (b"{}", "region"),
        (b'{"region": null}', "region"),
        (b'{"region": 3}', "region"),
        (b'{"region": "Tokyo\\n"}', "region"),
        (b'{"region": "Tokyo", "roomConfig": 3}', "roomConfig"),
        (b'{"region": "Tokyo", "clientIPs": "x"}', "clientIPs"),
        (b'{"region": "Tokyo", "deploymentId": []}', "deploymentId"),
        (b'{"region": "Tokyo", "roomConfig": "\\ud800"}', "body"),
        (b"[" * 100_000, "body"),
    ],
    ids=lambda v: repr(v)[:40],
)
def test_a_body_that_breaks_the_contract_names_the_field(
    studio: LiveStudio, live: LiveServer, build_id: str, body: bytes, field: str
) -> None:
    app_id = studio.app()
    studio.deploy(app_id, build_id)
    with live.http() as http:
        answer = http.post(f"/rooms/v2/{app_id}/create", content=body, headers=JSON)
    assert answer.status_code == 422, answer.text
    assert field in answer.json()["message"]
    check_reply("CreateRoom", 422, answer.headers, answer.content)
    assert studio.sdk("processesV3.getProcessesCountExperimental", app_id) == {"count": 0}


def test_unknown_fields_and_parameters_are_ignored(
    studio: LiveStudio, live: LiveServer, build_id: str
) -> None:
    app_id = studio.app()
    studio.deploy(app_id, build_id)
    with live.http() as http:
        answer = http.post(
            f"/rooms/v2/{app_id}/create?newer=1", json={"region": "Tokyo", "newer": {"a": [1]}}
        )
        assert answer.status_code == 201
        # Some clients send a comma list in place of repeated keys.
        found = http.get(
            f"/processes/v3/apps/{app_id}/processes/latest?status=starting,running&region=Tokyo"
        )
        assert [p["processId"] for p in found.json()] == [answer.json()["processId"]]


@pytest.mark.parametrize(
    ("query", "field"),
    [("before=soon", "before"), ("status=sleeping", "status"), ("region=Tokyo&region=X", "region")],
)
def test_parameters_are_checked(
    studio: LiveStudio, live: LiveServer, query: str, field: str
) -> None:
    with live.http() as http:
        answer = http.get(f"/processes/v3/apps/{studio.app()}/processes/latest?{query}")
    assert answer.status_code == 422
    assert field in answer.json()["message"]


def test_a_body_that_is_too_large_is_refused(studio: LiveStudio, live: LiveServer) -> None:
    with live.http() as http:
        body = b'{"region": "' + b"x" * 20_000_000 + b'"}'
        answer = http.post(f"/rooms/v2/{studio.app()}/create", content=body, headers=JSON)
    assert answer.status_code == 413
    assert answer.json()["message"]


def test_the_order_of_checks(studio: LiveStudio, live: LiveServer) -> None:
    """401, then 404 of the app, then 422 (behaviour.md 9)."""
    with live.http(token=None) as http:
        assert http.post("/rooms/v2/app-nowhere/create", json={}).status_code == 401
    with live.http() as http:
        assert http.post("/rooms/v2/app-nowhere/create", json={}).status_code == 404
        assert http.post(f"/rooms/v2/{studio.app()}/create", json={}).status_code == 422


def test_what_is_not_built_yet_says_so(live: LiveServer) -> None:
    with live.http() as http:
        answer = http.get("/fleets/v1/fleets")
    assert answer.status_code in (200, 501)
    assert isinstance(answer.json(), dict)


HARD: list[Any] = [
    "a" * 300,
    "%00",
    "..",
    "%2e%2e",
    "%2F",
    "%0A",
    "ä",
    "'; --",
    "\u202e",
    "%FF",
    "app-",
]


@pytest.mark.parametrize("text", HARD, ids=[repr(t)[:20] for t in HARD])
def test_odd_path_segments_are_just_not_found(live: LiveServer, text: str) -> None:
    with live.http() as http:
        for path in (
            f"/apps/v2/apps/{text}",
            f"/rooms/v2/{text}/info/{text}",
            f"/builds/v3/builds/{text}",
            f"/processes/v3/apps/{text}/processes/{text}",
            f"/logs/v1/{text}/process/{text}",
        ):
            answer = http.get(path)
            assert 400 <= answer.status_code < 500, (path, answer.status_code)
            assert answer.json()["message"]
