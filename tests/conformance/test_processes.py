"""ProcessesV3 without metrics: start, stop, lists, counts (behaviour.md 4)."""

import re
import time

import pytest

from innkeeper.testing.live_studio import Json, LiveStudio
from innkeeper.testing.official_sdk import Sdk, refused
from innkeeper.testing.players import ask_udp

MOMENTS = ("createdAt", "scheduledAt", "bootedAt", "startedAt", "stoppingAt", "terminatedAt")


@pytest.fixture
def app_id(studio: LiveStudio, build_id: str) -> str:
    made = studio.app()
    studio.deploy(made, build_id, roomsPerProcess=2)
    return made


def in_order(process: Json) -> bool:
    present = [process[name] for name in MOMENTS if process[name] is not None]
    return present == sorted(present)


def test_a_process_from_its_creation_to_its_end(studio: LiveStudio, app_id: str) -> None:
    made, (reply,) = studio.sdk.answered("processesV3.createProcess", "London", app_id)
    assert reply.status == 201
    assert re.fullmatch(
        r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", made["processId"]
    )
    assert (made["status"], made["region"], made["appId"]) == ("starting", "London", app_id)
    assert (made["roomsAllocated"], made["roomsPerProcess"]) == (0, 2)
    assert made["startedAt"] is made["stoppingAt"] is made["terminatedAt"] is None
    assert "summaryExitReason" not in made

    running = studio.reaches(app_id, made["processId"], "running")
    assert running["exposedPort"]["transportType"] == "udp"
    assert None not in [running[name] for name in MOMENTS[:4]]
    assert in_order(running)
    room = studio.room(app_id, region="London")
    assert (room["processId"], room["status"]) == (made["processId"], "active")

    value, (reply,) = studio.sdk.answered("processesV3.stopProcess", made["processId"], app_id)
    assert (value, reply.status) == (None, 204)
    stopping = studio.process(app_id, made["processId"])
    assert stopping["status"] in ("stopping", "stopped")
    assert stopping["stoppingAt"] is not None
    with refused(404, room["roomId"]):
        studio.sdk("roomsV2.getConnectionInfo", room["roomId"], app_id)
    studio.sdk("processesV3.stopProcess", made["processId"], app_id)
    stopped = studio.reaches(app_id, made["processId"], "stopped")
    assert stopped["summaryExitReason"] == "Stopped by API request"
    assert stopped["stoppingAt"] == stopping["stoppingAt"]
    assert stopped["startedAt"] == running["startedAt"]
    assert in_order(stopped)
    assert stopped["exposedPort"] == running["exposedPort"]
    assert stopped["roomsAllocated"] == 0
    info = studio.sdk("roomsV2.getRoomInfo", room["roomId"], app_id)
    assert info["status"] == "destroyed"
    assert studio.sdk.answered("processesV3.stopProcess", made["processId"], app_id)[0] is None
    assert studio.process(app_id, made["processId"]) == stopped


def test_stop_before_it_started(studio: LiveStudio, build_id: str) -> None:
    app_id = studio.app()
    studio.deploy(app_id, build_id, env={"BIND_DELAY_MS": 3000})
    process_id = studio.sdk("processesV3.createProcess", "Tokyo", app_id)["processId"]
    studio.sdk("processesV3.stopProcess", process_id, app_id)
    ended = studio.reaches(app_id, process_id, "stopped", "failed")
    assert ended["status"] == "stopped"
    assert ended["startedAt"] is None
    assert ended["summaryExitReason"] == "Stopped by API request"


def test_a_game_that_ignores_the_request_is_killed_after_its_grace(
    studio: LiveStudio, build_id: str
) -> None:
    app_id = studio.app()
    studio.deploy(app_id, build_id, env={"IGNORE_TERM": 1})
    room = studio.room(app_id)
    studio.active(app_id, room["roomId"])
    begun = time.monotonic()
    studio.sdk("processesV3.stopProcess", room["processId"], app_id)
    ended = studio.reaches(app_id, room["processId"], "stopped")
    assert 1.5 < time.monotonic() - begun < 8
    assert ended["summaryExitReason"] == "Stopped by API request"
    assert "ignoring signal 15" in studio.logs(app_id, room["processId"])


def test_the_latest_ten_and_their_filters(studio: LiveStudio, app_id: str) -> None:
    made = [
        studio.sdk("processesV3.createProcess", region, app_id)["processId"]
        for region in ("London", "Tokyo", "London", "Sydney")
    ]
    studio.sdk("processesV3.stopProcess", made[0], app_id)
    studio.reaches(app_id, made[0], "stopped")
    for process_id in made[1:]:
        studio.reaches(app_id, process_id, "running")

    def listed(status: object = None, region: object = None, before: object = None) -> list[str]:
        found = studio.sdk("processesV3.getLatestProcesses", app_id, status, region, before)
        return [p["processId"] for p in found]

    def counted(status: object = None, region: object = None, before: object = None) -> int:
        call = "processesV3.getProcessesCountExperimental"
        return int(studio.sdk(call, app_id, status, region, before)["count"])

    assert listed() == made[::-1]
    assert listed(["running"]) == made[:0:-1]
    assert listed(["running", "stopped"], ["London"]) == [made[2], made[0]]
    assert listed(None, ["Tokyo", "Sydney"]) == [made[3], made[1]]
    assert listed(["failed"]) == []
    # Without a status only what has not ended is counted.
    assert counted() == 3
    assert counted(["stopped"]) == 1
    assert counted(["running", "stopped"]) == 4
    assert counted(None, ["London"]) == 1
    with refused(422, "status"):
        listed(["sleeping"])
    with refused(422, "region"):
        listed(None, ["Atlantis"])


def test_the_list_is_ten_long_and_goes_on_before_a_moment(
    studio: LiveStudio, build_id: str
) -> None:
    app_id = studio.app()
    # They end at once, so that twelve cost nothing.
    studio.deploy(app_id, build_id, env={"NEVER_BIND": 1})
    made = []
    for _ in range(12):
        made.append(studio.sdk("processesV3.createProcess", "Dubai", app_id))
        studio.sdk("processesV3.stopProcess", made[-1]["processId"], app_id)
    ids = [p["processId"] for p in made]
    page = studio.sdk("processesV3.getLatestProcesses", app_id)
    assert [p["processId"] for p in page] == ids[:1:-1]
    created = [p["createdAt"] for p in page]
    assert created == sorted(created, reverse=True)


def test_each_region_is_this_machine(studio: LiveStudio, app_id: str, anyone: Sdk) -> None:
    endpoints = anyone("discoveryV2.getPingServiceEndpoints")
    regions = {e["region"] for e in endpoints}
    assert len(regions) == len(endpoints) == 14
    for endpoint in endpoints:
        assert endpoint["host"]
        assert 1 <= endpoint["port"] <= 65535
    # UDP is echoed at the port of the WebSocket echo.
    assert ask_udp((endpoints[0]["host"], endpoints[0]["port"]), "ping 1") == "ping 1"
    with refused(422, "region"):
        studio.sdk("processesV3.createProcess", "Atlantis", app_id)


def test_unknown_and_foreign_processes(studio: LiveStudio, app_id: str, stranger: Sdk) -> None:
    process_id = studio.sdk("processesV3.createProcess", "London", app_id)["processId"]
    other = studio.app()
    for call in ("processesV3.getProcess", "processesV3.stopProcess"):
        with refused(404, "nowhere"):
            studio.sdk(call, "nowhere", app_id)
        with refused(404, process_id):
            studio.sdk(call, process_id, other)
        with refused(404):
            stranger(call, process_id, app_id)
    with refused(404):
        studio.sdk("processesV3.createProcess", "London", other)
    assert studio.process(app_id, process_id)["stoppingAt"] is None
