"""What is sent is checked against the contract, and a refusal names the field in a sentence."""

import json
from typing import Any

import pytest

from innkeeper.api import contract
from innkeeper.api.reading import Reader, query_texts, value_at
from innkeeper.core.errors import Invalid

GOOD_DEPLOYMENT: dict[str, Any] = {
    "idleTimeoutEnabled": True,
    "env": [{"name": "A", "value": "1"}],
    "roomsPerProcess": 1,
    "transportType": "udp",
    "containerPort": 7777,
    "requestedMemoryMB": 1024,
    "requestedCPU": 0.5,
    "buildId": "bld-1",
}


def reader(operation_id: str) -> Reader:
    loaded = contract.load()
    return Reader(loaded, loaded.operations[operation_id])


def refusal(operation_id: str, body: Any) -> tuple[str, str]:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    with pytest.raises(Invalid) as caught:
        reader(operation_id).body(raw)
    return caught.value.field, caught.value.problem


@pytest.mark.parametrize(
    ("change", "field", "problem"),
    [
        ({"roomsPerProcess": 0}, "body.roomsPerProcess", "must be between 1 and 10000"),
        ({"roomsPerProcess": "16"}, "body.roomsPerProcess", "must be a whole number"),
        ({"roomsPerProcess": 1.5}, "body.roomsPerProcess", "must be a whole number"),
        ({"roomsPerProcess": True}, "body.roomsPerProcess", "must be a whole number"),
        ({"containerPort": 70000}, "body.containerPort", "must be between 1 and 65535"),
        ({"transportType": "sctp"}, "body.transportType", "must be one of tcp, udp, tls"),
        ({"requestedCPU": "1"}, "body.requestedCPU", "must be a number"),
        ({"idleTimeoutEnabled": 1}, "body.idleTimeoutEnabled", "must be true or false"),
        ({"env": {}}, "body.env", "must be a list"),
        ({"env": [{"name": "A", "value": "1"}, {"name": "B"}]}, "body.env[1].value", "is missing"),
        (
            {"env": [{"name": "1A", "value": ""}]},
            "body.env[0].name",
            "must be letters, digits and _, and not begin with a digit",
        ),
        ({"buildId": None}, "body.buildId", "must be a string"),
        ({"env": [{"name": "A", "value": ""}] * 101}, "body.env", "must have at most 100 items"),
    ],
)
def test_a_bad_body_is_refused_with_the_field(change: Any, field: str, problem: str) -> None:
    assert refusal("CreateDeployment", GOOD_DEPLOYMENT | change) == (field, problem)


def test_a_missing_field() -> None:
    body = {name: value for name, value in GOOD_DEPLOYMENT.items() if name != "buildId"}
    assert refusal("CreateDeployment", body) == ("body.buildId", "is missing")


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"", "is missing"),
        (b"[]", "must be an object"),
        (b"null", "must be an object"),
        (b"{", "must be JSON: Input data was truncated"),
        (b"{'region': 1}", "must be JSON: "),
        (b'{"region":"Tokyo"} x', "must be JSON: "),
        (b"\xff\xfe", "must be JSON"),
        (b'{"roomConfig":"\xff","region":"Tokyo"}', "must be JSON in UTF-8"),
        (b'{"roomConfig":"\\ud800","region":"Tokyo"}', "must be JSON: "),
        (b'{"a":' + b"[" * 100_000, "is nested too deeply"),
        (b'{"roomConfig":' + b"[" * 100_000, "must be JSON"),
    ],
)
def test_what_is_not_json_is_refused(body: bytes, problem: str) -> None:
    field, found = refusal("CreateRoom", body)
    assert field == "body"
    assert found.startswith(problem) or "nested too deeply" in found


@pytest.mark.parametrize(
    ("body", "place"),
    [
        (b'{"roomConfig":"\\u0000","region":"Tokyo"}', "body.roomConfig"),
        (b'{"clientIPs":["a","\\u0000"],"region":"Tokyo"}', "body.clientIPs[1]"),
        (b'{"region":"Tokyo","more":{"\\u0000":1}}', "body.more"),
    ],
)
def test_a_nul_is_refused_where_it_stands(body: bytes, place: str) -> None:
    assert refusal("CreateRoom", body) == (place, "must not hold a NUL character")


def test_a_backslash_before_u0000_is_text() -> None:
    body = reader("CreateRoom").body(b'{"roomConfig":"\\\\u0000","region":"Tokyo"}')
    assert body.roomConfig == "\\u0000"


def test_unions_are_explained() -> None:
    field, problem = refusal("CreateOrgToken", {"name": "n", "scopes": 5})
    assert (field, problem) == ("body.scopes", "must be a list or a string")
    field, problem = refusal("CreateOrgToken", {"name": "n", "scopes": ["nope"]})
    assert field == "body.scopes[0]"
    assert problem.startswith("must be one of billing:read-write, ")
    assert refusal("CreateOrgToken", {"name": "n", "scopes": "boss"})[1] == "must be one of admin"


def test_query_defaults_numbers_and_truths() -> None:
    logs = reader("GetLogsForProcess")
    assert logs.query(b"") == {"follow": False, "tailLines": 100}
    assert logs.query(b"follow=true&tailLines=7&other=1") == {"follow": True, "tailLines": 7}


@pytest.mark.parametrize(
    ("query", "field", "problem"),
    [
        (b"tailLines=0", "query.tailLines", "must be between 1 and 5000"),
        (b"tailLines=5001", "query.tailLines", "must be between 1 and 5000"),
        (b"tailLines=1e3", "query.tailLines", "must be a whole number"),
        (b"tailLines=%D9%A3", "query.tailLines", "must be a whole number"),
        (b"tailLines=", "query.tailLines", "must be a whole number"),
        (b"follow=yes", "query.follow", "must be true or false"),
        (b"follow=%ff", "query", "must be percent-encoded UTF-8"),
        (b"&".join([b"a=1"] * 201), "query", "must have at most 200 fields"),
    ],
)
def test_a_bad_query_is_refused(query: bytes, field: str, problem: str) -> None:
    with pytest.raises(Invalid) as caught:
        reader("GetLogsForProcess").query(query)
    assert (caught.value.field, caught.value.problem) == (field, problem)


@pytest.mark.parametrize(
    ("query", "statuses"),
    [
        (b"status=running&status=stopped", ["running", "stopped"]),
        (b"status=running,stopped", ["running", "stopped"]),
        (b"status=running%2Cstopped", ["running", "stopped"]),
        (b"status=running", ["running"]),
        (b"status=", []),
    ],
)
def test_lists_come_as_repeated_keys_and_as_comma_lists(query: bytes, statuses: list[str]) -> None:
    assert reader("GetLatestProcesses").query(query) == {"status": statuses}


def test_an_unknown_value_in_a_list() -> None:
    with pytest.raises(Invalid, match=r"query.region must be one of Seattle, Los_Angeles"):
        reader("GetLatestProcesses").query(b"region=Tokyo,Atlantis")


def test_numbers_are_finite() -> None:
    metrics = reader("GetProcessMetrics")
    assert metrics.query(b"start=1.5e3")["start"] == 1500.0
    for text in (b"start=nan", b"start=inf", b"start=1e999", b"start=0x10", b"start=1_0"):
        with pytest.raises(Invalid, match="must be a number"):
            metrics.query(text)


def test_path_values_are_checked() -> None:
    rooms = reader("GetRoomInfo")
    assert rooms.path({"appId": "a", "roomId": "r-1"}) == {"appId": "a", "roomId": "r-1"}
    for room_id, problem in (
        ("x" * 101, "must be between 1 and 100 characters long"),
        ("a b", "may hold only letters, digits, - and _"),
        ("ok\n", "may hold only letters, digits, - and _"),
    ):
        with pytest.raises(Invalid) as caught:
            rooms.path({"appId": "a", "roomId": room_id})
        assert (caught.value.field, caught.value.problem) == ("path.roomId", problem)


def test_numbers_in_paths() -> None:
    old = reader("GetBuildInfoDeprecated")
    assert old.path({"appId": "a", "buildId": "7"})["buildId"] == 7
    with pytest.raises(Invalid, match=r"path.buildId must be a whole number"):
        old.path({"appId": "a", "buildId": "seven"})


def test_the_value_at_a_field_is_shown_and_bounded() -> None:
    body = json.dumps({"env": [{"name": "1A"}], "long": "x" * 5000}).encode()
    assert value_at("body.env[0].name", {}, {}, body) == "1A"
    assert value_at("query.tailLines", {}, query_texts(b"tailLines=0"), b"") == "0"
    assert value_at("path.region", {"region": "x"}, {}, b"") == "x"
    assert len(value_at("body.long", {}, {}, body)) < 250
    for field in ("body.env[9].name", "body.none", "body.long.deeper", "nowhere", "body[0]"):
        assert value_at(field, {}, {}, body) is None
    assert value_at("body", {}, {}, b"{") is None
