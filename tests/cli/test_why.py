"""``innkeeper why`` and ``innkeeper webhooks``, against a stub of the API."""

import json
import time
from typing import Any

import pytest

from tests.cli.conftest import StubApi

APPS = [{"appName": "tag", "appId": "app-1"}, {"appName": "duel", "appId": "app-2"}]
PROCESS = "1a2b3c4d-2222-4333-8444-555555555555"
PATH = "/innkeeper/v1/apps"


def event(at: str, text: str) -> dict[str, str]:
    return {"id": "0-1", "at": at, "kind": "room.created", "text": text}


STORY: dict[str, Any] = {
    "appId": "app-2",
    "roomId": "abc",
    "processId": PROCESS,
    "status": "destroyed",
    "now": "Room abc ended 1 min ago: process ended: Exited with code 3.",
    "advice": ["The game ended by itself with an error. " + "Its last words are below. " * 6],
    "whole": True,
    "events": [
        event(
            "2026-01-31T23:59:58.250Z",
            "Process 1a2b3c4d was recorded: room abc found no free slot.",
        ),
        event("2026-01-31T23:59:58.500Z", "Room abc was created: a new process was made."),
        event("2026-02-01T00:03:18.500Z", "Room abc ended: process ended: Exited with code 3."),
    ],
    "lastLines": ["listening", "\x1b[31mpanic\tat the\x07 disco"],
}


@pytest.fixture
def stub_of_two(stub: StubApi, monkeypatch: pytest.MonkeyPatch) -> StubApi:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    stub.on("GET /apps/v2/apps", {"applications": APPS})
    return stub


def test_the_story_of_a_room_in_whichever_app_it_is(stub_of_two: StubApi) -> None:
    stub_of_two.on(f"GET {PATH}/app-2/rooms/abc/story", STORY)
    result = stub_of_two.run("why", "abc")
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert lines[0] == STORY["now"]
    assert lines[1].startswith("  > The game ended by itself with an error.")
    assert lines[2].startswith("    ")
    assert max(map(len, lines)) <= 100
    at = lines.index("Saturday, 31 January 2026, UTC")
    assert lines[at + 1].startswith("  23:59:58.250                 Process 1a2b3c4d was recorded:")
    assert lines[at + 2].startswith("  23:59:58.500        +0.25 s  Room abc was created:")
    assert lines[at + 3] == "Sunday, 01 February 2026, UTC"
    assert lines[at + 4].startswith("  00:03:18.500    +3 min 20 s  Room abc ended:")
    assert lines[-3:] == [
        "The last lines of process 1a2b3c4d:",
        "  | listening",
        "  | ?[31mpanic  at the? disco",
    ]


def test_times_are_local(stub_of_two: StubApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    stub_of_two.on(f"GET {PATH}/app-2/rooms/abc/story", STORY)
    result = stub_of_two.run("why", "abc", "--app", "duel")
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    assert "Sunday, 01 February 2026, JST" in result.output
    assert "  08:59:58.250" in result.output


def test_json_is_the_answer_as_it_is(stub_of_two: StubApi) -> None:
    stub_of_two.on(f"GET {PATH}/app-2/rooms/abc/story", STORY)
    result = stub_of_two.run("why", "abc", "--json")
    assert json.loads(result.output) == STORY


def test_a_process_by_its_id_or_the_beginning_of_it(stub_of_two: StubApi) -> None:
    story = {name: value for name, value in STORY.items() if name != "roomId"}
    stub_of_two.on(f"GET {PATH}/app-1/processes/{PROCESS}/story", story)
    latest = "/processes/v3/apps/{}/processes/latest"
    stub_of_two.on(f"GET {latest.format('app-1')}", [{"processId": PROCESS}])
    stub_of_two.on(f"GET {latest.format('app-2')}", [])
    for name in (PROCESS, "1a2b"):
        result = stub_of_two.run("why", name)
        assert result.exit_code == 0, result.output
        assert result.output.startswith(STORY["now"])


def test_what_never_was_and_what_is_refused(stub_of_two: StubApi) -> None:
    latest = "/processes/v3/apps/{}/processes/latest"
    for app_id in ("app-1", "app-2"):
        stub_of_two.on(f"GET {latest.format(app_id)}", [])
    result = stub_of_two.run("why", "never")
    assert result.exit_code == 1
    assert "no room and no process of any app has the id never" in result.output
    stub_of_two.on(f"GET {PATH}/app-1/rooms/abc/story", {"message": "Missing scope: x"}, 401)
    result = stub_of_two.run("why", "abc")
    assert result.exit_code == 1
    assert "Missing scope: x [401]" in result.output
    assert stub_of_two.run("why").exit_code == 2


HOOK = {
    "webhookId": "hook-1",
    "status": "failing",
    "url": "https://studio.example/e",
    "kinds": ["room.created", "room.destroyed"],
    "lagSeconds": 125.5,
    "lastError": "answered 500 in 0.10 s",
}


def test_webhooks_are_added_listed_tried_and_removed(stub: StubApi) -> None:
    stub.on("GET /apps/v2/apps", {"applications": APPS})
    path = "/innkeeper/v1/webhooks"
    stub.on(f"POST {path}", {"webhook": HOOK, "secret": "whsec_x"}, 201)
    options = ["--app", "duel", "--kind", "room.created"]
    result = stub.run("webhooks", "add", "https://studio.example/e", *options)
    assert result.output == "webhook hook-1\nsecret (shown once): whsec_x\n"
    assert stub.bodies(f"POST {path}") == [
        {"url": "https://studio.example/e", "appId": "app-2", "kinds": ["room.created"]}
    ]
    stub.on(f"GET {path}", {"webhooks": [HOOK]})
    heading, row = stub.run("webhooks", "list").output.splitlines()
    assert " ".join(heading.split()) == "WEBHOOK STATUS BEHIND URL APP KINDS LAST ERROR"
    assert row.split()[:5] == ["hook-1", "failing", "2m", "https://studio.example/e", "all"]
    assert row.endswith("answered 500 in 0.10 s")
    stub.on(f"POST {path}/hook-1/ping", {"delivered": True, "message": "answered 204 in 0.01 s"})
    stub.on(f"POST {path}/hook-1/ping", {"delivered": False, "message": "no answer within 10 s"})
    good, bad = stub.run("webhooks", "ping", "hook-1"), stub.run("webhooks", "ping", "hook-1")
    assert (good.exit_code, good.output) == (0, "taken: answered 204 in 0.01 s\n")
    assert (bad.exit_code, bad.output) == (1, "Error: not taken: no answer within 10 s\n")
    stub.on(f"POST {path}/hook-1/enable", HOOK)
    assert stub.run("webhooks", "enable", "hook-1").output == "webhook hook-1 enabled\n"
    stub.on(f"DELETE {path}/hook-1", b"", 204)
    assert stub.run("webhooks", "remove", "hook-1").exit_code == 0
