"""The old versions of apps, deployments, rooms, processes and discovery: views of the same records (1.2)."""

import socket
from typing import Any, cast

import pytest

from innkeeper.testing.live import eventually
from innkeeper.testing.live_studio import Json, LiveStudio
from innkeeper.testing.official_sdk import Sdk, refused
from innkeeper.testing.players import address_of

V1_REGIONS = {
    "Seattle", "Los_Angeles", "Washington_DC", "Chicago", "London", "Frankfurt", "Mumbai",
    "Singapore", "Tokyo", "Sydney", "Sao_Paulo",
}  # fmt: skip
PORT = {"name": "tcp", "port": 7777, "transportType": "tcp"}
CONFIG: Json = {
    "roomsPerProcess": 2,
    "env": [{"name": "MODE", "value": "a=b"}],
    "containerPort": 7777,
    "transportType": "udp",
    "additionalContainerPorts": [PORT],
}
# What a deployment says alike in every version.
ALIKE = (
    "createdAt", "createdBy", "env", "defaultContainerPort", "additionalContainerPorts",
    "roomsPerProcess", "requestedCPU", "requestedMemoryMB", "idleTimeoutEnabled",
)  # fmt: skip


@pytest.fixture
def app_id(studio: LiveStudio, build_id: str) -> str:
    """An app with two rooms to a process, deployed through V3."""
    made = studio.app()
    studio.deploy(made, build_id, roomsPerProcess=2)
    return made


# ---------------------------------------------------------------- apps


def test_an_app_of_v1_is_the_app_of_v2(studio: LiveStudio, runtime: str, build_id: str) -> None:
    wanted = {"appName": f"old-{runtime}", "authConfiguration": {"anonymous": {}}}
    made, (reply,) = studio.sdk.answered("appsV1.createAppV1Deprecated", wanted)
    app_id = made["appId"]
    assert reply.status == 201
    assert studio.sdk("appsV2.getApp", app_id) == made
    assert studio.sdk("appsV1.getAppInfoV1Deprecated", app_id) == made
    with refused(422, "appName"):
        studio.sdk("appsV1.createAppV1Deprecated", wanted)
    static = {"region": "Tokyo", "minProcesses": 0, "targetProcesses": 0, "maxProcesses": 2}
    config = {"serviceConfig": {"staticProcessAllocation": [static]}}
    studio.sdk("appsV2.patchApp", config, app_id)
    change = {"appName": f"new-{runtime}", "authConfiguration": {"nickname": {}}}
    updated = studio.sdk("appsV1.updateAppV1Deprecated", change, app_id)
    assert updated["appName"] == change["appName"]
    assert updated["authConfiguration"] == change["authConfiguration"]
    # V1 cannot say what it wants of serviceConfig, so it leaves it alone.
    assert updated["serviceConfig"] == config["serviceConfig"]
    assert studio.sdk("appsV2.getApp", app_id) == updated

    def listed() -> dict[str, Json]:
        return {app["appId"]: app for app in studio.sdk("appsV1.getAppsV1Deprecated")}

    assert "deployment" not in listed()[app_id]
    deployment = studio.deploy(app_id, build_id)
    shown = listed()[app_id]["deployment"]
    assert (shown["deploymentId"], shown["buildId"], shown["build"]["buildId"]) == (1, 1, 1)
    assert shown["createdAt"] == deployment["createdAt"]
    assert shown["build"]["buildTag"] == "the-game"
    value, (reply,) = studio.sdk.answered("appsV1.deleteAppV1Deprecated", app_id)
    assert (value, reply.status) == (None, 204)
    assert app_id not in listed()
    for call in ("appsV2.getApp", "appsV1.getAppInfoV1Deprecated", "appsV1.deleteAppV1Deprecated"):
        with refused(404, app_id):
            studio.sdk(call, app_id)


# ---------------------------------------------------------------- deployments


def test_a_deployment_of_v1_is_the_deployment_of_v3(
    studio: LiveStudio, app_id: str, build_id: str
) -> None:
    call = "deploymentsV1.createDeploymentV1Deprecated"
    made, (reply,) = studio.sdk.answered(call, 1, {**CONFIG, "planName": "small"}, app_id)
    assert (reply.status, made["deploymentId"], made["buildId"]) == (201, 2, 1)
    assert (made["planName"], made["requestedCPU"], made["requestedMemoryMB"]) == ("small", 1, 2048)
    assert (made["containerPort"], made["transportType"]) == (7777, "udp")
    assert made["idleTimeoutEnabled"] is True
    newest = studio.sdk("deploymentsV3.getLatestDeployment", app_id)
    assert newest["buildId"] == build_id
    assert {name: made[name] for name in ALIKE} == {name: newest[name] for name in ALIKE}
    assert studio.sdk("deploymentsV1.getDeploymentInfoV1Deprecated", 2, app_id) == made
    assert studio.sdk("deploymentsV1.getLatestDeploymentV1Deprecated", app_id) == made
    listed = studio.sdk("deploymentsV1.getDeploymentsV1Deprecated", app_id)
    assert [d["deploymentId"] for d in listed] == [2, 1]
    # What V3 made has no plan; the smallest that would hold it is shown.
    assert (listed[1]["planName"], listed[1]["requestedCPU"]) == ("tiny", 0.25)
    room = studio.room(app_id, deploymentId="2")
    studio.active(app_id, room["roomId"])
    process = studio.process(app_id, room["processId"])
    assert process["deploymentId"] == newest["deploymentId"]


def test_a_deployment_of_v2_is_the_deployment_of_v3(studio: LiveStudio, app_id: str) -> None:
    call = "deploymentsV2.createDeploymentV2Deprecated"
    size = {"requestedCPU": 0.29, "requestedMemoryMB": 600, "idleTimeoutEnabled": False}
    made, (reply,) = studio.sdk.answered(call, 1, {**CONFIG, **size}, app_id)
    assert (reply.status, made["deploymentId"], made["buildId"]) == (201, 2, 1)
    newest = studio.sdk("deploymentsV3.getLatestDeployment", app_id)
    assert {name: made[name] for name in ALIKE} == {name: newest[name] for name in ALIKE}
    assert (made["requestedCPU"], made["idleTimeoutEnabled"]) == (0.29, False)
    assert studio.sdk("deploymentsV2.getDeploymentInfoV2Deprecated", 2, app_id) == made
    assert studio.sdk("deploymentsV2.getLatestDeploymentV2Deprecated", app_id) == made
    listed = studio.sdk("deploymentsV2.getDeploymentsV2Deprecated", app_id)
    assert [d["deploymentId"] for d in listed] == [2, 1]


OLD_CREATES = (
    ("deploymentsV1.createDeploymentV1Deprecated", {"planName": "tiny"}),
    (
        "deploymentsV2.createDeploymentV2Deprecated",
        {"requestedCPU": 0.5, "requestedMemoryMB": 512, "idleTimeoutEnabled": True},
    ),
)


@pytest.mark.parametrize(("call", "size"), OLD_CREATES)
def test_old_deployments_obey_the_same_rules(
    studio: LiveStudio, app_id: str, stranger: Sdk, call: str, size: Json
) -> None:
    wanted = {**CONFIG, **size}
    for change, field in (
        ({"env": [{"name": "HATHORA_APP_ID", "value": "x"}]}, "HATHORA_APP_ID"),
        ({"additionalContainerPorts": [PORT, PORT]}, "additionalContainerPorts[1]"),
        ({"roomsPerProcess": 10001}, "roomsPerProcess"),
    ):
        with refused(422, field):
            studio.sdk(call, 1, {**wanted, **change}, app_id)
    with refused(404, "2"):
        studio.sdk(call, 2, wanted, app_id)
    with refused(404, app_id):
        stranger(call, 1, wanted, app_id)
    studio.sdk("buildsV1.createBuildDeprecated", {}, app_id)
    with refused(400, "succeeded"):
        studio.sdk(call, 2, wanted, app_id)
    empty = studio.app()
    for version in ("V1", "V2"):
        with refused(404):
            studio.sdk(f"deployments{version}.getLatestDeployment{version}Deprecated", empty)
        assert studio.sdk(f"deployments{version}.getDeployments{version}Deprecated", empty) == []
        with refused(404):
            studio.sdk(f"deployments{version}.getDeploymentInfo{version}Deprecated", 2, app_id)


# ---------------------------------------------------------------- rooms


def test_a_room_of_v1_is_the_room_of_v2(studio: LiveStudio, app_id: str, anyone: Sdk) -> None:
    wanted = {"region": "Frankfurt", "roomConfig": "map"}
    room_id, (reply,) = studio.sdk.answered("roomsV1.createRoomDeprecated", wanted, app_id)
    assert reply.status == 201
    assert isinstance(room_id, str)
    room = studio.sdk("roomsV2.getRoomInfo", room_id, app_id)
    assert studio.sdk("roomsV1.getRoomInfoDeprecated", room_id, app_id) == room
    assert (room["roomConfig"], room["status"]) == ("map", "active")
    process_id = room["currentAllocation"]["processId"]
    before = anyone("roomsV1.getConnectionInfoDeprecated", room_id, app_id)
    assert set(before) == {"status", "roomId"} or before["status"] == "active"
    newest = studio.active(app_id, room_id)["exposedPort"]
    assert anyone("roomsV1.getConnectionInfoDeprecated", room_id, app_id) == {
        "status": "active",
        "roomId": room_id,
        **{name: newest[name] for name in ("host", "port", "transportType")},
    }
    # And back: V2's room takes the second slot, and V1 sees both.
    other = studio.room(app_id, region="Frankfurt")
    assert other["processId"] == process_id
    call = "roomsV1.getActiveRoomsForProcessDeprecated"
    listed = studio.sdk(call, process_id, app_id)
    assert {r["roomId"] for r in listed} == {room_id, other["roomId"]}
    assert listed == studio.sdk("roomsV2.getActiveRoomsForProcess", process_id, app_id)

    value, (reply,) = studio.sdk.answered("roomsV1.suspendRoomDeprecated", room_id, app_id)
    assert (value, reply.status) == (None, 204)
    assert studio.sdk("roomsV2.getRoomInfo", room_id, app_id)["currentAllocation"] is None
    # A player of V1 who asks has it allocated again.
    again = anyone("roomsV1.getConnectionInfoDeprecated", room_id, app_id)
    assert again["status"] == "active"
    assert len(studio.sdk("roomsV1.getRoomInfoDeprecated", room_id, app_id)["allocations"]) == 2
    value, (reply,) = studio.sdk.answered("roomsV1.destroyRoomDeprecated", room_id, app_id)
    assert (value, reply.status) == (None, 204)
    with refused(404, room_id):
        anyone("roomsV1.getConnectionInfoDeprecated", room_id, app_id)
    with refused(404, room_id):
        studio.sdk("roomsV1.destroyRoomDeprecated", room_id, app_id)
    call = "roomsV1.getInactiveRoomsForProcessDeprecated"
    ended = studio.sdk(call, process_id, app_id)
    assert [(r["roomId"], r["status"]) for r in ended] == [(room_id, "destroyed")]


def test_v1_rooms_are_checked_like_any(
    studio: LiveStudio, app_id: str, stranger: Sdk, runtime: str
) -> None:
    name, wanted = f"old_Room-{runtime}", {"region": "Seattle"}
    assert studio.sdk("roomsV1.createRoomDeprecated", wanted, app_id, name) == name
    with refused(400, name):
        studio.sdk("roomsV1.createRoomDeprecated", wanted, app_id, name)
    with refused(422, "roomId"):
        studio.sdk("roomsV1.createRoomDeprecated", wanted, app_id, "a b")
    with refused(422, "region"):
        studio.sdk("roomsV1.createRoomDeprecated", {"region": "Atlantis"}, app_id)
    with refused(404, "deployment"):
        studio.sdk("roomsV1.createRoomDeprecated", wanted, studio.app())
    calls = ("getRoomInfoDeprecated", "destroyRoomDeprecated", "suspendRoomDeprecated")
    for call in calls:
        with refused(404):
            stranger(f"roomsV1.{call}", name, app_id)
        with refused(404, "nowhere"):
            studio.sdk(f"roomsV1.{call}", "nowhere", app_id)


# ---------------------------------------------------------------- processes


def test_a_process_of_v2_is_the_process_of_v3(studio: LiveStudio, app_id: str) -> None:
    call = "processesV2.createProcessV2Deprecated"
    made, (reply,) = studio.sdk.answered(call, "London", app_id)
    process_id = made["processId"]
    assert (reply.status, made["deploymentId"], made["status"]) == (201, 1, "starting")
    running = studio.reaches(app_id, process_id, "running")
    seen = studio.sdk("processesV2.getProcessInfoV2Deprecated", process_id, app_id)
    assert seen == {**{name: running[name] for name in seen}, "deploymentId": 1}
    room = studio.room(app_id, region="London")
    assert room["processId"] == process_id
    other = studio.sdk("processesV3.createProcess", "Tokyo", app_id)["processId"]

    def listed(status: Any = None, region: Any = None) -> list[str]:
        call = "processesV2.getLatestProcessesV2Deprecated"
        return [p["processId"] for p in studio.sdk(call, app_id, status, region)]

    def counted(status: Any = None, region: Any = None) -> int:
        call = "processesV2.getProcessesCountExperimentalV2Deprecated"
        return int(studio.sdk(call, app_id, status, region)["count"])

    studio.reaches(app_id, other, "running")
    assert listed() == [other, process_id]
    assert listed(["running"], ["London"]) == [process_id]
    assert (counted(), counted(None, ["Tokyo"]), counted(["stopped"])) == (2, 1, 0)
    call = "processesV2.stopProcessV2Deprecated"
    value, (reply,) = studio.sdk.answered(call, process_id, app_id)
    assert (value, reply.status) == (None, 204)
    ended = studio.reaches(app_id, process_id, "stopped")
    assert ended["summaryExitReason"] == "Stopped by API request"
    assert (listed(["stopped"]), counted(), counted(["stopped"])) == ([process_id], 1, 1)
    seen = studio.sdk("processesV2.getProcessInfoV2Deprecated", process_id, app_id)
    assert (seen["status"], seen["exposedPort"]) == ("stopped", running["exposedPort"])


def test_a_process_as_v1_shows_it(studio: LiveStudio, app_id: str) -> None:
    room = studio.room(app_id, region="Tokyo")
    process_id = room["processId"]
    call = "processesV1.getProcessInfoDeprecated"
    early = studio.sdk(call, process_id, app_id)
    assert early["startedAt"] is not None or early["roomSlotsAvailable"] == 0
    port = studio.active(app_id, room["roomId"])["exposedPort"]
    newest = studio.process(app_id, process_id)
    seen = studio.sdk(call, process_id, app_id)
    assert (seen["host"], seen["port"]) == (port["host"], port["port"])
    assert seen["exposedPort"] == port
    assert (seen["startingAt"], seen["startedAt"]) == (newest["createdAt"], newest["startedAt"])
    assert (seen["deploymentId"], seen["draining"]) == (1, False)
    assert (seen["roomsPerProcess"], seen["roomsAllocated"], seen["roomSlotsAvailable"]) == (
        2,
        1,
        1,
    )
    assert seen["activeConnections"] >= 0
    assert seen["egressedBytes"] >= 0

    studio.sdk("roomsV2.destroyRoom", room["roomId"], app_id)
    freed = studio.sdk(call, process_id, app_id)
    assert (freed["roomsAllocated"], freed["roomSlotsAvailable"]) == (0, 2)
    assert freed["roomsAllocatedUpdatedAt"] > seen["roomsAllocatedUpdatedAt"]

    again = studio.room(app_id, region="Tokyo")
    other = studio.sdk("processesV3.createProcess", "London", app_id)["processId"]
    studio.reaches(app_id, other, "running")
    listed = studio.sdk("processesV1.getRunningProcesses", app_id)
    assert [p["processId"] for p in listed] == [other, process_id]
    assert [[r["roomId"] for r in p["rooms"]] for p in listed] == [[], [again["roomId"]]]
    assert [p["totalRooms"] for p in listed] == [0, 1]
    only = studio.sdk("processesV1.getRunningProcesses", app_id, "Tokyo")
    assert [p["processId"] for p in only] == [process_id]

    studio.sdk("processesV3.stopProcess", process_id, app_id)
    studio.reaches(app_id, process_id, "stopped")
    assert [p["processId"] for p in studio.sdk("processesV1.getRunningProcesses", app_id)] == [
        other
    ]
    stopped, (reply,) = studio.sdk.answered("processesV1.getStoppedProcesses", app_id)
    assert [p["processId"] for p in stopped] == [process_id]
    assert stopped[0]["terminatedAt"] is not None
    assert (stopped[0]["host"], stopped[0]["roomSlotsAvailable"]) == (port["host"], 0)
    # Older clients than this one look for rooms on them, too.
    assert b'"rooms":[],"totalRooms":0' in (reply.body or b"")
    assert studio.sdk("processesV1.getStoppedProcesses", app_id, "London") == []


def test_v1_tells_of_players_as_they_come_and_go(studio: LiveStudio, build_id: str) -> None:
    app_id = studio.app()
    # By TCP alone: of UDP, host processes cannot tell who is there.
    studio.deploy(app_id, build_id, transportType="tcp", additionalContainerPorts=[])
    room = studio.room(app_id)
    port = studio.active(app_id, room["roomId"])["exposedPort"]

    def reaches(count: int) -> Json:
        def probe() -> Json | None:
            (process,) = studio.sdk("processesV1.getRunningProcesses", app_id)
            return cast(Json, process) if process["activeConnections"] == count else None

        return eventually(probe, 15, f"V1 tells of {count} connections")

    before = reaches(0)
    with socket.create_connection(address_of(port), timeout=5):
        during = reaches(1)
        assert during["activeConnectionsUpdatedAt"] > before["activeConnectionsUpdatedAt"]
    after = reaches(0)
    assert after["activeConnectionsUpdatedAt"] > during["activeConnectionsUpdatedAt"]


def test_unknown_and_foreign_processes(studio: LiveStudio, app_id: str, stranger: Sdk) -> None:
    process_id = studio.sdk("processesV2.createProcessV2Deprecated", "London", app_id)["processId"]
    for call in (
        "processesV1.getProcessInfoDeprecated",
        "processesV2.getProcessInfoV2Deprecated",
        "processesV2.stopProcessV2Deprecated",
    ):
        with refused(404, "nowhere"):
            studio.sdk(call, "nowhere", app_id)
        with refused(404):
            stranger(call, process_id, app_id)
    for call in ("processesV1.getRunningProcesses", "processesV1.getStoppedProcesses"):
        with refused(404):
            stranger(call, app_id)
        with refused(422, "region"):
            studio.sdk(call, app_id, "Atlantis")
    with refused(404):
        studio.sdk("processesV2.createProcessV2Deprecated", "London", studio.app())


# ---------------------------------------------------------------- discovery


def test_v1_names_the_regions_of_its_time(anyone: Sdk) -> None:
    newest = anyone("discoveryV2.getPingServiceEndpoints")
    oldest = anyone("discoveryV1.getPingServiceEndpointsDeprecated")
    assert {endpoint["region"] for endpoint in oldest} == V1_REGIONS
    assert oldest == [endpoint for endpoint in newest if endpoint["region"] in V1_REGIONS]
