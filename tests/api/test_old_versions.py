"""Old versions as views of the same records: what is made in one is seen in the other (behaviour.md 1.2)."""

from dataclasses import replace
from typing import Any

import pytest

from innkeeper.core.catalog import REGIONS, plan_for
from innkeeper.core.processes import Exit
from innkeeper.usecases import lifecycle

V1_CONFIG = {
    "planName": "tiny",
    "roomsPerProcess": 2,
    "env": [{"name": "MODE", "value": "a=b"}],
    "containerPort": 7777,
    "transportType": "udp",
    "additionalContainerPorts": [{"name": "web", "port": 80, "transportType": "tcp"}],
}


async def answered(shop: Any, operation: str, **values: Any) -> Any:
    """A successful answer's value; the app is the studio's."""
    sent = {name: values.pop(name) for name in ("params",) if name in values}
    body = {"body": values.pop("body")} if "body" in values else {}
    reply = await shop.call(operation, {"appId": shop.app, **values}, **sent, **body)
    assert reply.status_code < 300, reply.text
    return reply.json() if reply.content else None


async def starts(shop: Any, process_id: str) -> None:
    """What a pass records of a process whose port was bound."""
    process = await answered(shop, "GetProcess", processId=process_id)
    deployment_id = process["deploymentId"]
    store, clock = shop.studio.store, shop.studio.clock
    await store.write(lambda tx: lifecycle.record_attempt(tx, process_id, clock.now))
    clock.move(1)
    await store.write(lambda tx: lifecycle.record_booted(tx, process_id, clock.now))
    clock.move(1)
    await store.write(lambda tx: lifecycle.record_started(tx, process_id, deployment_id, clock.now))


async def ends(shop: Any, process_id: str) -> None:
    context = shop.studio.context()
    exit_ = Exit(0, None, False, context.now)
    await shop.studio.store.write(
        lambda tx: lifecycle.record_terminated(tx, process_id, exit_, context)
    )


# ---------------------------------------------------------------- apps


async def test_an_app_of_v1_is_the_app_of_v2(shop: Any) -> None:
    config = {"appName": "arena", "authConfiguration": {"anonymous": {}}}
    made = await shop.call("CreateAppV1Deprecated", body=config)
    assert made.status_code == 201
    app = made.json()
    at = {"appId": app["appId"]}
    assert (await shop.call("GetApp", at)).json() == app
    assert (await shop.call("GetAppInfoV1Deprecated", at)).json() == app
    static = {"region": "Tokyo", "minProcesses": 0, "targetProcesses": 1, "maxProcesses": 2}
    patch = {"serviceConfig": {"staticProcessAllocation": [static]}}
    assert (await shop.call("PatchApp", at, body=patch)).status_code == 200
    # V1 knows no serviceConfig: its update leaves it alone.
    change = {"appName": "arena-2", "authConfiguration": {"nickname": {}}}
    updated = (await shop.call("UpdateAppV1Deprecated", at, body=change)).json()
    assert updated["serviceConfig"] == {"staticProcessAllocation": [static]}
    assert (await shop.call("GetApp", at)).json() == updated
    assert (updated["appName"], updated["authConfiguration"]) == ("arena-2", {"nickname": {}})
    listed = (await shop.call("GetAppsV1Deprecated")).json()
    assert {item["appId"]: "deployment" in item for item in listed} == {
        shop.app: False,
        app["appId"]: False,
    }
    gone = await shop.call("DeleteAppV1Deprecated", at)
    assert (gone.status_code, gone.content) == (204, b"")
    for operation in ("GetApp", "GetAppInfoV1Deprecated", "DeleteAppV1Deprecated"):
        assert (await shop.call(operation, at)).status_code == 404


async def test_v1_lists_an_app_with_the_numbers_of_its_deployment_and_build(shop: Any) -> None:
    build_id = await shop.studio.build()
    for _ in range(2):
        deployment = await shop.studio.deploy(build_id=build_id)
    (listed,) = await answered(shop, "GetAppsV1Deprecated")
    inner = listed["deployment"]
    assert (inner["deploymentId"], inner["buildId"], inner["build"]["buildId"]) == (2, 1, 1)
    assert inner["build"]["status"] == "succeeded"
    newest = (await answered(shop, "GetApps"))["applications"][0]["deployment"]
    assert newest["deploymentId"] == deployment.deployment_id
    assert newest["createdAt"] == inner["createdAt"]


async def test_v1_can_turn_the_load_balancer_off_and_keeps_the_rest(shop: Any) -> None:
    static = {"region": "Tokyo", "minProcesses": 0, "targetProcesses": 1, "maxProcesses": 2}
    await answered(shop, "PatchApp", body={"serviceConfig": {"staticProcessAllocation": [static]}})
    change = {"appName": "x", "authConfiguration": {}, "loadBalancer": {"enabled": False}}
    updated = await answered(shop, "UpdateAppV1Deprecated", body=change)
    assert updated["serviceConfig"] == {
        "staticProcessAllocation": [static],
        "loadBalancer": {"enabled": False},
    }


# ---------------------------------------------------------------- deployments


async def test_a_deployment_of_v1_is_the_deployment_of_v3(shop: Any) -> None:
    build_id = await shop.studio.build()
    await shop.studio.deploy(build_id=build_id)
    reply = await shop.call(
        "CreateDeploymentV1Deprecated", {"appId": shop.app, "buildId": "1"}, body=V1_CONFIG
    )
    assert reply.status_code == 201
    made = reply.json()
    assert (made["deploymentId"], made["buildId"], made["planName"]) == (2, 1, "tiny")
    assert (made["requestedCPU"], made["requestedMemoryMB"]) == (0.5, 1024)
    assert (made["containerPort"], made["transportType"]) == (7777, "udp")
    assert made["idleTimeoutEnabled"] is True
    newest = await answered(shop, "GetLatestDeployment")
    assert newest["buildId"] == build_id
    same = ("createdAt", "createdBy", "env", "defaultContainerPort", "additionalContainerPorts",
            "roomsPerProcess", "requestedCPU", "requestedMemoryMB", "idleTimeoutEnabled")  # fmt: skip
    for version in ("V1", "V2"):
        seen = await answered(shop, f"GetLatestDeployment{version}Deprecated")
        assert [seen[name] for name in same] == [newest[name] for name in same]
        assert seen == await answered(
            shop, f"GetDeploymentInfo{version}Deprecated", deploymentId="2"
        )
        listed = await answered(shop, f"GetDeployments{version}Deprecated")
        assert [d["deploymentId"] for d in listed] == [2, 1]
    assert await answered(shop, "GetDeployment", deploymentId="2") == newest


async def test_a_deployment_of_v2_names_its_build_by_number(shop: Any) -> None:
    await shop.studio.deploy(build_id=await shop.studio.build("mine"))
    config = {
        **V1_CONFIG,
        "requestedCPU": 0.29,
        "requestedMemoryMB": 600,
        "idleTimeoutEnabled": False,
    }
    made = await answered(shop, "CreateDeploymentV2Deprecated", buildId="1", body=config)
    assert (made["deploymentId"], made["buildId"], made["requestedCPU"]) == (2, 1, 0.29)
    newest = await answered(shop, "GetLatestDeployment")
    assert (newest["buildId"], newest["idleTimeoutEnabled"]) == ("mine", False)
    seen = await answered(shop, "GetLatestDeploymentV1Deprecated")
    assert (seen["planName"], seen["requestedMemoryMB"]) == ("tiny", 600)


@pytest.mark.parametrize(
    ("size", "plan"),
    [
        ((250, 512), "tiny"),
        ((500, 1024), "tiny"),
        ((510, 1024), "small"),
        ((250, 1025), "small"),
        ((250, 4096), "medium"),
        ((2000, 4096), "medium"),
        ((4000, 8192), "large"),
        ((8000, 512), "large"),
        ((250, 16384), "large"),
    ],
)
def test_the_smallest_plan_that_fits(size: tuple[int, int], plan: str) -> None:
    assert plan_for(*size) == plan


@pytest.mark.parametrize(
    ("build", "change", "status"),
    [
        ("2", {}, 404),
        ("bld-1", {}, 422),
        ("1", {"planName": "huge"}, 422),
        ("1", {"planName": None}, 422),
        ("1", {"roomsPerProcess": 0}, 422),
        ("1", {"containerPort": 70000}, 422),
        ("1", {"env": [{"name": "HATHORA_APP_ID", "value": "x"}]}, 422),
    ],
)
async def test_old_deployments_obey_the_same_bounds(
    shop: Any, build: str, change: dict[str, Any], status: int
) -> None:
    await shop.studio.deploy()
    values = {"appId": shop.app, "buildId": build}
    body = {**V1_CONFIG, **change}
    reply = await shop.call("CreateDeploymentV1Deprecated", values, body=body)
    assert reply.status_code == status, reply.text


@pytest.mark.parametrize("number", ["2", "0", "-1", "dep-1", "9" * 30])
async def test_old_reads_find_deployments_by_number_only(shop: Any, number: str) -> None:
    await shop.studio.deploy()
    for version in ("V1", "V2"):
        values = {"appId": shop.app, "deploymentId": number}
        reply = await shop.call(f"GetDeploymentInfo{version}Deprecated", values)
        assert reply.status_code == 404


async def test_without_a_deployment_there_is_no_latest_one(shop: Any) -> None:
    for version in ("V1", "V2"):
        operation = f"GetLatestDeployment{version}Deprecated"
        assert (await shop.call(operation, {"appId": shop.app})).status_code == 404
        assert await answered(shop, f"GetDeployments{version}Deprecated") == []


# ---------------------------------------------------------------- rooms


async def test_a_room_of_v1_is_the_room_of_v2(shop: Any) -> None:
    await shop.studio.deploy(rooms_per_process=2)
    body = {"region": "Tokyo", "roomConfig": "map"}
    room_id = await answered(shop, "CreateRoomDeprecated", body=body)
    assert isinstance(room_id, str)
    room = await answered(shop, "GetRoomInfo", roomId=room_id)
    assert await answered(shop, "GetRoomInfoDeprecated", roomId=room_id) == room
    assert (room["roomConfig"], room["status"]) == ("map", "active")
    starting = {"roomId": room_id, "status": "starting"}
    assert await answered(shop, "GetConnectionInfoDeprecated", roomId=room_id) == starting
    process_id = room["currentAllocation"]["processId"]
    await starts(shop, process_id)
    newest = await answered(shop, "GetConnectionInfo", roomId=room_id)
    port = newest["exposedPort"]
    assert await answered(shop, "GetConnectionInfoDeprecated", roomId=room_id) == {
        "roomId": room_id,
        "status": "active",
        "host": port["host"],
        "port": port["port"],
        "transportType": "udp",
    }
    # And back: a room of V2 on the same process, seen through V1.
    made = await answered(shop, "CreateRoom", body={"region": "Tokyo"})
    assert made["processId"] == process_id
    listed = await answered(shop, "GetActiveRoomsForProcessDeprecated", processId=process_id)
    assert {r["roomId"] for r in listed} == {room_id, made["roomId"]}

    assert await answered(shop, "SuspendRoomDeprecated", roomId=room_id) is None
    assert (await answered(shop, "GetRoomInfo", roomId=room_id))["status"] == "suspended"
    # A poll allocates it again, in V1 as in V2.
    again = await answered(shop, "GetConnectionInfoDeprecated", roomId=room_id)
    assert again["status"] == "active"
    assert await answered(shop, "DestroyRoomDeprecated", roomId=room_id) is None
    listed = await answered(shop, "GetInactiveRoomsForProcessDeprecated", processId=process_id)
    assert [(r["roomId"], r["status"]) for r in listed] == [(room_id, "destroyed")]
    for operation in ("GetConnectionInfoDeprecated", "DestroyRoomDeprecated"):
        reply = await shop.call(operation, {"appId": shop.app, "roomId": room_id})
        assert reply.status_code == 404


async def test_an_own_room_id_and_a_numbered_deployment_in_v1(shop: Any) -> None:
    await shop.studio.deploy()
    await shop.studio.deploy()
    body = {"region": "London", "deploymentId": "1"}
    room_id = await answered(shop, "CreateRoomDeprecated", body=body, params={"roomId": "mine_1"})
    assert room_id == "mine_1"
    values, params = {"appId": shop.app}, {"roomId": "mine_1"}
    taken = await shop.call("CreateRoomDeprecated", values, body=body, params=params)
    assert taken.status_code == 400
    process = (await answered(shop, "GetRunningProcesses"))[0]
    assert (process["deploymentId"], process["rooms"][0]["roomId"]) == (1, "mine_1")


# ---------------------------------------------------------------- processes


async def test_a_process_of_v2_is_the_process_of_v3(shop: Any) -> None:
    deployment = await shop.studio.deploy()
    values = {"appId": shop.app, "region": "Tokyo"}
    reply = await shop.call("CreateProcessV2Deprecated", values)
    assert reply.status_code == 201
    made = reply.json()
    assert (made["deploymentId"], made["status"], made["exposedPort"]) == (1, "starting", None)
    await starts(shop, made["processId"])
    newest = await answered(shop, "GetProcess", processId=made["processId"])
    assert newest["deploymentId"] == deployment.deployment_id
    seen = await answered(shop, "GetProcessInfoV2Deprecated", processId=made["processId"])
    assert seen == {**{name: newest[name] for name in seen}, "deploymentId": 1}
    assert "hosting" not in seen
    assert await answered(shop, "GetLatestProcessesV2Deprecated", params={"status": "running"}) == [
        seen
    ]
    counted = await answered(
        shop, "GetProcessesCountExperimentalV2Deprecated", params={"region": "London,Tokyo"}
    )
    assert counted == {"count": 1}
    assert await answered(shop, "StopProcessV2Deprecated", processId=made["processId"]) is None
    assert (await answered(shop, "GetProcess", processId=made["processId"]))["status"] == "stopping"


async def test_v1_tells_of_slots_and_of_when_things_changed(shop: Any) -> None:
    await shop.studio.deploy(rooms_per_process=3)
    made = await answered(shop, "CreateProcess", region="Tokyo")
    process_id = made["processId"]

    async def seen() -> Any:
        return await answered(shop, "GetProcessInfoDeprecated", processId=process_id)

    fresh = await seen()
    assert (fresh["host"], fresh["port"], fresh["exposedPort"]) == ("", 0, None)
    assert (fresh["startingAt"], fresh["startedAt"]) == (made["createdAt"], None)
    assert (fresh["roomSlotsAvailable"], fresh["roomsPerProcess"]) == (0, 3)
    moments = (
        "roomsAllocatedUpdatedAt",
        "roomSlotsAvailableUpdatedAt",
        "activeConnectionsUpdatedAt",
    )
    assert {fresh[name] for name in moments} == {made["createdAt"]}
    await starts(shop, process_id)
    running = await seen()
    assert (running["roomSlotsAvailable"], running["draining"]) == (3, False)
    assert running["roomSlotsAvailableUpdatedAt"] == running["startedAt"]
    assert (running["host"], running["port"]) == (
        running["exposedPort"]["host"],
        running["exposedPort"]["port"],
    )
    shop.studio.clock.move(60)
    room = await answered(shop, "CreateRoom", body={"region": "Tokyo"})
    allocated = await seen()
    assert (allocated["roomSlotsAvailable"], allocated["roomsAllocated"]) == (2, 1)
    changed = allocated["roomsAllocatedUpdatedAt"]
    assert changed == allocated["roomSlotsAvailableUpdatedAt"] > running["startedAt"]
    shop.studio.clock.move(60)
    await answered(shop, "DestroyRoom", roomId=room["roomId"])
    freed = await seen()
    assert (freed["roomSlotsAvailable"], freed["roomsAllocatedUpdatedAt"] > changed) == (3, True)
    assert (freed["egressedBytes"], freed["activeConnections"], freed["idleSince"]) == (0, 0, None)


async def test_v1_lists_the_ten_that_started_last_with_their_rooms_and_those_that_ended_last(
    shop: Any,
) -> None:
    await shop.studio.deploy(rooms_per_process=2)
    rooms = []
    for region in ("Tokyo", "London"):
        shop.studio.clock.move(1)
        rooms.append(await answered(shop, "CreateRoom", body={"region": region}))
    listed = await answered(shop, "GetRunningProcesses")
    assert [p["processId"] for p in listed] == [r["processId"] for r in reversed(rooms)]
    assert [[r["roomId"] for r in p["rooms"]] for p in listed] == [
        [r["roomId"]] for r in reversed(rooms)
    ]
    assert [p["totalRooms"] for p in listed] == [1, 1]
    only = await answered(shop, "GetRunningProcesses", params={"region": "Tokyo"})
    assert [p["processId"] for p in only] == [rooms[0]["processId"]]
    assert await answered(shop, "GetStoppedProcesses") == []
    for room in rooms:
        shop.studio.clock.move(1)
        await ends(shop, room["processId"])
    stopped = await answered(shop, "GetStoppedProcesses")
    assert [p["processId"] for p in stopped] == [r["processId"] for r in reversed(rooms)]
    assert {(len(p["rooms"]), p["totalRooms"]) for p in stopped} == {(0, 0)}
    assert await answered(shop, "GetRunningProcesses") == []
    assert await answered(shop, "GetStoppedProcesses", params={"region": "Sydney"}) == []
    for operation in ("GetRunningProcesses", "GetStoppedProcesses"):
        wrong = await shop.call(operation, {"appId": shop.app}, params={"region": "Atlantis"})
        assert wrong.status_code == 422
    for _ in range(11):
        await answered(shop, "CreateProcess", region="Tokyo")
    assert len(await answered(shop, "GetRunningProcesses")) == 10


# ---------------------------------------------------------------- discovery


async def test_v1_names_the_regions_of_its_time(shop: Any) -> None:
    shop.house.services.policy = replace(shop.house.services.policy, regions=REGIONS)
    newest = await answered(shop, "GetPingServiceEndpoints")
    oldest = await answered(shop, "GetPingServiceEndpointsDeprecated")
    assert (len(newest), len(oldest)) == (14, 11)
    assert [e for e in newest if e not in oldest] == [
        e for e in newest if e["region"] in ("Dallas", "Johannesburg", "Dubai")
    ]
