"""RoomsV2: every operation, by meaning (behaviour.md 5)."""

import re

import pytest

from innkeeper.testing.live_studio import Json, LiveStudio
from innkeeper.testing.official_sdk import Sdk, refused


@pytest.fixture
def app_id(studio: LiveStudio, build_id: str) -> str:
    """An app with two rooms to a process."""
    made = studio.app()
    studio.deploy(made, build_id, roomsPerProcess=2)
    return made


def test_a_room_from_its_creation_to_its_end(studio: LiveStudio, app_id: str) -> None:
    wanted = {"region": "Frankfurt", "roomConfig": '{"map":"ice"}'}
    made, (reply,) = studio.sdk.answered("roomsV2.createRoom", wanted, app_id)
    assert reply.status == 201
    assert re.fullmatch(r"[0-9a-z]{1,13}", made["roomId"])
    assert made["status"] == "starting"
    assert "exposedPort" not in made
    assert made["additionalExposedPorts"] == []

    # Readable before anything runs: games ask for themselves while they start.
    info = studio.sdk("roomsV2.getRoomInfo", made["roomId"], app_id)
    assert (info["status"], info["roomConfig"]) == ("active", '{"map":"ice"}')
    assert info["currentAllocation"]["processId"] == made["processId"]
    assert info["allocations"] == [info["currentAllocation"]]
    assert info["currentAllocation"]["unscheduledAt"] is None

    active = studio.active(app_id, made["roomId"])
    assert active["exposedPort"]["name"] == "default"
    assert active["exposedPort"]["transportType"] == "udp"
    assert [p["name"] for p in active["additionalExposedPorts"]] == ["tcp"]
    process = studio.process(app_id, made["processId"])
    assert (process["status"], process["region"]) == ("running", "Frankfurt")
    assert process["exposedPort"] == active["exposedPort"]

    value, (reply,) = studio.sdk.answered("roomsV2.destroyRoom", made["roomId"], app_id)
    assert (value, reply.status) == (None, 204)
    with refused(404, made["roomId"]):
        studio.sdk("roomsV2.getConnectionInfo", made["roomId"], app_id)
    with refused(404):
        studio.sdk("roomsV2.destroyRoom", made["roomId"], app_id)
    ended = studio.sdk("roomsV2.getRoomInfo", made["roomId"], app_id)
    assert (ended["status"], ended["currentAllocation"]) == ("destroyed", None)
    assert ended["allocations"][0]["unscheduledAt"] is not None
    # The process goes on and may take another room.
    process = studio.process(app_id, made["processId"])
    assert (process["status"], process["roomsAllocated"]) == ("running", 0)
    again = studio.room(app_id, region="Frankfurt")
    assert (again["processId"], again["status"]) == (made["processId"], "active")
    assert again["exposedPort"] == active["exposedPort"]


def test_starting_and_active_flip_together_with_the_port(studio: LiveStudio, build_id: str) -> None:
    app_id = studio.app()
    studio.deploy(app_id, build_id, env={"BIND_DELAY_MS": 700})
    room = studio.room(app_id)
    infos: list[Json] = []
    while not infos or infos[-1]["status"] == "starting":
        infos.append(studio.sdk("roomsV2.getConnectionInfo", room["roomId"], app_id))
    assert len(infos) > 1
    assert all("exposedPort" not in i and i["additionalExposedPorts"] == [] for i in infos[:-1])
    assert "exposedPort" in infos[-1]


def test_own_room_ids_are_unique_for_ever(
    studio: LiveStudio, app_id: str, runtime: str, stranger: Sdk
) -> None:
    name = f"my_Room-{runtime}"
    assert studio.room(app_id, name)["roomId"] == name
    with refused(400, name):
        studio.room(app_id, name)
    other = studio.app()
    with refused(404):
        studio.room(other, "no-deployment-yet")
    studio.sdk("roomsV2.destroyRoom", name, app_id)
    with refused(400, name):
        studio.room(app_id, name)
    with refused(404):
        stranger("roomsV2.getRoomInfo", name, app_id)


@pytest.mark.parametrize("bad", ["a b", "ä", "x" * 101, "semi;colon", "line\n", "a/b"])
def test_room_ids_are_checked(studio: LiveStudio, app_id: str, bad: str) -> None:
    with refused(422, "roomId"):
        studio.room(app_id, bad)


def test_what_a_room_is_asked_with_is_checked(studio: LiveStudio, app_id: str) -> None:
    with refused(422, "region"):
        studio.room(app_id, region="Atlantis")
    with refused(422, "roomConfig"):
        studio.room(app_id, roomConfig="x" * 10001)
    with refused(404, "dep-nowhere"):
        studio.room(app_id, deploymentId="dep-nowhere")
    with refused(422, "clientIPs"):
        studio.room(app_id, clientIPs=["127.0.0.1"])
    assert studio.room(app_id, clientIPs=[], roomConfig="x" * 10000)["status"] == "starting"


def test_without_a_deployment_there_is_no_room(studio: LiveStudio) -> None:
    with refused(404, "deployment"):
        studio.room(studio.app())


def test_a_config_is_updated_at_once(studio: LiveStudio, app_id: str) -> None:
    room = studio.room(app_id)["roomId"]
    assert studio.sdk("roomsV2.getRoomInfo", room, app_id)["roomConfig"] is None
    config = {"roomConfig": 'any "text" ☃'}
    value, (reply,) = studio.sdk.answered("roomsV2.updateRoomConfig", room, config, app_id)
    assert (value, reply.status) == (None, 204)
    assert studio.sdk("roomsV2.getRoomInfo", room, app_id)["roomConfig"] == config["roomConfig"]
    with refused(422, "roomConfig"):
        studio.sdk("roomsV2.updateRoomConfig", room, {"roomConfig": "x" * 10001}, app_id)
    studio.sdk("roomsV2.destroyRoom", room, app_id)
    with refused(404, room):
        studio.sdk("roomsV2.updateRoomConfig", room, config, app_id)


def test_suspend_gives_the_slot_back_and_resume_takes_one(studio: LiveStudio, app_id: str) -> None:
    room = studio.room(app_id, roomConfig="kept", region="Mumbai")
    room_id, process_id = room["roomId"], room["processId"]
    studio.active(app_id, room_id)
    _, (reply,) = studio.sdk.answered("roomsV2.suspendRoomV2Deprecated", room_id, app_id)
    assert reply.status == 204
    info = studio.sdk("roomsV2.getRoomInfo", room_id, app_id)
    assert (info["status"], info["currentAllocation"], info["roomConfig"]) == (
        "suspended",
        None,
        "kept",
    )
    assert studio.process(app_id, process_id)["roomsAllocated"] == 0
    with refused(404):
        studio.sdk("roomsV2.suspendRoomV2Deprecated", room_id, app_id)

    resumed = studio.sdk("roomsV2.resumeRoom", room_id, app_id)
    assert (resumed["roomId"], resumed["processId"]) == (room_id, process_id)
    assert resumed["status"] == "active"
    info = studio.sdk("roomsV2.getRoomInfo", room_id, app_id)
    first, second = info["allocations"]
    assert first["unscheduledAt"] is not None
    assert second == info["currentAllocation"]
    again = studio.sdk("roomsV2.resumeRoom", room_id, app_id)
    assert again == resumed, "resuming an active room changes nothing"
    assert len(studio.sdk("roomsV2.getRoomInfo", room_id, app_id)["allocations"]) == 2


def test_asking_for_a_suspended_room_brings_it_back(
    studio: LiveStudio, app_id: str, anyone: Sdk
) -> None:
    room = studio.room(app_id)
    studio.active(app_id, room["roomId"])
    studio.sdk("roomsV2.suspendRoomV2Deprecated", room["roomId"], app_id)
    studio.sdk("processesV3.stopProcess", room["processId"], app_id)
    answer = anyone("roomsV2.getConnectionInfo", room["roomId"], app_id)
    assert answer["status"] == "starting"
    assert "exposedPort" not in answer
    studio.active(app_id, room["roomId"])
    info = studio.sdk("roomsV2.getRoomInfo", room["roomId"], app_id)
    assert info["currentAllocation"]["processId"] != room["processId"]


def test_a_destroyed_room_is_not_resumed(studio: LiveStudio, app_id: str) -> None:
    room = studio.room(app_id)["roomId"]
    studio.sdk("roomsV2.destroyRoom", room, app_id)
    with refused(404, room):
        studio.sdk("roomsV2.resumeRoom", room, app_id)
    with refused(404, "nowhere"):
        studio.sdk("roomsV2.resumeRoom", "nowhere", app_id)


def test_the_rooms_of_a_process_now_and_then(studio: LiveStudio, app_id: str, runtime: str) -> None:
    rooms = [studio.room(app_id, f"{name}-{runtime}") for name in ("keep", "drop")]
    process_id = rooms[0]["processId"]
    assert rooms[1]["processId"] == process_id

    def listed(which: str) -> set[str]:
        call = f"roomsV2.get{which}RoomsForProcess"
        return {r["roomId"] for r in studio.sdk(call, process_id, app_id)}

    keep, drop = (room["roomId"] for room in rooms)
    assert listed("Active") == {keep, drop}
    assert listed("Inactive") == set()
    studio.sdk("roomsV2.destroyRoom", drop, app_id)
    assert (listed("Active"), listed("Inactive")) == ({keep}, {drop})
    studio.sdk("processesV3.stopProcess", process_id, app_id)
    studio.reaches(app_id, process_id, "stopped")
    assert (listed("Active"), listed("Inactive")) == (set(), {keep, drop})
    for which in ("Active", "Inactive"):
        with refused(404, "nowhere"):
            studio.sdk(f"roomsV2.get{which}RoomsForProcess", "nowhere", app_id)


def test_connection_info_needs_no_token(studio: LiveStudio, app_id: str, anyone: Sdk) -> None:
    room = studio.room(app_id)
    _, (reply,) = anyone.answered("roomsV2.getConnectionInfo", room["roomId"], app_id)
    assert (reply.status, reply.authorized) == (200, False)
    with refused(404, "nowhere"):
        anyone("roomsV2.getConnectionInfo", "nowhere", app_id)
    with refused(404):
        anyone("roomsV2.getConnectionInfo", room["roomId"], studio.app())


def test_a_room_of_another_app_is_not_found(studio: LiveStudio, app_id: str) -> None:
    room = studio.room(app_id)["roomId"]
    other = studio.app()
    for call, *more in (
        ("roomsV2.getRoomInfo",),
        ("roomsV2.destroyRoom",),
        ("roomsV2.suspendRoomV2Deprecated",),
        ("roomsV2.resumeRoom",),
        ("roomsV2.updateRoomConfig", {"roomConfig": "x"}),
    ):
        with refused(404, room):
            studio.sdk(call, room, *more, other)


def test_polls_for_a_connection_are_not_throttled(
    studio: LiveStudio, app_id: str, anyone: Sdk
) -> None:
    """Clients poll every 200 ms to 1 s, several behind one address."""
    room = studio.room(app_id)["roomId"]
    for _ in range(60):
        anyone("roomsV2.getConnectionInfo", room, app_id)
