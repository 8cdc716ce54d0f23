"""Lobbies over the wire: three versions, one record (behaviour.md 6)."""

import json
import re
from typing import Any

import jwt
import pytest

from innkeeper.usecases import lobbies, rooms
from tests.api.lobby_hall import Lobbies, hall

__all__ = ["hall"]


OLD_LISTS = ("ListActivePublicLobbiesDeprecatedV2", "ListActivePublicLobbiesDeprecatedV1")
LISTS = ("ListActivePublicLobbies", *OLD_LISTS)


async def test_a_lobby_is_its_room(hall: Lobbies) -> None:
    lobby = await hall.v3(config="map=dust", shortCode="LFG1", roomId="my-room")
    assert lobby == {
        "appId": hall.shop.app,
        "roomId": "my-room",
        "region": "Tokyo",
        "visibility": "public",
        "shortCode": "LFG1",
        "createdBy": "player-1",
        "createdAt": "2026-01-31T12:00:00.000Z",
        "roomConfig": "map=dust",
    }
    room = await hall.shop.call("GetRoomInfo", {"appId": hall.shop.app, "roomId": "my-room"})
    assert room.json()["roomConfig"] == "map=dust"
    assert room.json()["status"] == "active"
    assert room.json()["currentAllocation"] is not None
    assert hall.shop.house.woken == [(hall.shop.app, "Tokyo")]


async def test_the_three_versions_show_one_record(hall: Lobbies) -> None:
    v3 = await hall.v3(config='{"mode": "duel"}', shortCode="CODE")
    v2 = await hall.v2(initialConfig={"mode": "duel", "limits": [1, 2.5, None]})
    v1 = (await hall.ask("CreatePublicLobbyDeprecated", region="Tokyo")).json()
    assert isinstance(v1, str)

    old = (await hall.ask("GetLobbyInfo", v3["roomId"])).json()
    assert (old["initialConfig"], old["state"]) == ({"mode": "duel"}, None)
    assert (old["shortCode"], old["local"]) == ("CODE", False)
    for field in ("createdAt", "createdBy", "visibility", "region", "roomId", "appId"):
        assert old[field] == v3[field]

    new = (await hall.ask("GetLobbyInfoByRoomId", v2["roomId"])).json()
    assert json.loads(new["roomConfig"]) == v2["initialConfig"]
    assert v2["shortCode"] is None
    assert len(new["shortCode"]) == 4

    of_v1 = (await hall.ask("GetLobbyInfo", v1)).json()
    assert (of_v1["initialConfig"], of_v1["state"], of_v1["shortCode"]) == ({}, None, None)
    assert (await hall.ask("GetLobbyInfoByRoomId", v1)).json()["roomConfig"] is None
    for operation_id in LISTS:
        assert set(await hall.listed(operation_id)) == {v3["roomId"], v2["roomId"], v1}


async def test_v2_without_a_config_shows_an_empty_one(hall: Lobbies) -> None:
    lobby = await hall.v2()
    assert (lobby["initialConfig"], lobby["state"]) == ({}, None)
    assert (await hall.ask("GetLobbyInfoByRoomId", lobby["roomId"])).json()["roomConfig"] == "{}"


@pytest.mark.parametrize("visibility", ["private", "public", "local"])
async def test_v2_creates_by_path(hall: Lobbies, visibility: str) -> None:
    operation_id = f"Create{visibility.title()}Lobby"
    body = {"region": "London", "initialConfig": [1]}
    reply = await hall.ask(operation_id, body=body, roomId="chosen")
    assert reply.status_code == 201
    lobby = reply.json()
    assert (lobby["visibility"], lobby["region"]) == (visibility, "London")
    assert (lobby["roomId"], lobby["initialConfig"]) == ("chosen", [1])
    assert lobby["local"] is (visibility == "local")
    assert (await hall.ask(operation_id, body=body, roomId="chosen")).status_code == 400
    assert await hall.listed() == (["chosen"] if visibility == "public" else [])


async def test_v1_creates_in_its_default_region(hall: Lobbies) -> None:
    private = (await hall.ask("CreatePrivateLobbyDeprecated")).json()
    info = (await hall.ask("GetLobbyInfo", private)).json()
    assert info["visibility"] == "private"
    # This installation does not answer to Washington_DC: its first region will do.
    assert info["region"] == "Tokyo"
    local = (await hall.ask("CreatePublicLobbyDeprecated", local="true", region="London")).json()
    assert (await hall.ask("GetLobbyInfo", local)).json()["visibility"] == "local"
    assert await hall.listed("ListActivePublicLobbiesDeprecatedV1") == []
    assert await hall.listed("ListActivePublicLobbiesDeprecatedV1", local="true") == [local]


async def test_a_local_lobby_has_no_process(hall: Lobbies) -> None:
    lobby = await hall.v3("local", region="Sydney")
    app, room_id = hall.shop.app, lobby["roomId"]
    assert (await hall.shop.call("GetProcessesCountExperimental", {"appId": app})).json() == {
        "count": 0
    }
    room = (await hall.shop.call("GetRoomInfo", {"appId": app, "roomId": room_id})).json()
    assert (room["status"], room["currentAllocation"]) == ("scheduling", None)
    info = await hall.shop.call("GetConnectionInfo", {"appId": app, "roomId": room_id})
    assert info.json() == {"roomId": room_id, "status": "starting", "additionalExposedPorts": []}
    # Nothing makes a process of it later.
    resumed = await hall.shop.call("ResumeRoom", {"appId": app, "roomId": room_id})
    assert resumed.json()["status"] == "starting"
    assert hall.shop.house.woken == []
    assert await hall.listed() == []
    assert (await hall.ask("GetLobbyInfoByShortCode", lobby["shortCode"])).json() == lobby
    gone = await hall.shop.call("DestroyRoom", {"appId": app, "roomId": room_id})
    assert gone.status_code == 204
    assert (await hall.ask("GetLobbyInfoByRoomId", room_id)).status_code == 404


async def test_generated_short_codes_can_be_read_aloud(hall: Lobbies) -> None:
    codes = {(await hall.v3("local"))["shortCode"] for _ in range(20)}
    assert len(codes) == 20
    for code in codes:
        assert re.fullmatch("[A-Z2-9]{4}", code)
        assert not set(code) & set("01OIL")


async def test_the_newest_lobby_with_a_code_wins(hall: Lobbies) -> None:
    # All in one millisecond: the order is not the clock's.
    made = [await hall.v3("private", shortCode="a/b c%2F?é") for _ in range(3)]
    found = await hall.ask("GetLobbyInfoByShortCode", "a/b c%2F?é")
    assert found.json() == made[-1]
    await hall.shop.studio.ask(rooms.destroy_room, (hall.shop.app, made[-1]["roomId"]))
    found = await hall.ask("GetLobbyInfoByShortCode", "a/b c%2F?é")
    assert found.json() == made[1]
    assert (await hall.ask("GetLobbyInfoByShortCode", "a")).status_code == 404


async def test_bad_codes_and_ids(hall: Lobbies) -> None:
    body = {"visibility": "local", "region": "Tokyo"}
    assert (await hall.ask("CreateLobby", body=body, shortCode="x" * 101)).status_code == 422
    assert (await hall.ask("CreateLobby", body=body, shortCode="x" * 100)).status_code == 201
    assert (await hall.ask("CreateLobby", body=body, roomId="a b")).status_code == 422
    # Where 422 is not declared (clarifications).
    assert (await hall.ask("GetLobbyInfoByShortCode", "x" * 101)).status_code == 404
    assert (await hall.ask("GetLobbyInfo", "a b")).status_code == 404
    assert (await hall.ask("GetLobbyInfoByRoomId", "a b")).status_code == 422
    reply = await hall.ask("ListActivePublicLobbiesDeprecatedV2", region="Atlantis")
    assert reply.status_code == 401
    for operation_id in ("ListActivePublicLobbies", "ListActivePublicLobbiesDeprecatedV1"):
        assert (await hall.ask(operation_id, region="Atlantis")).status_code == 422


async def test_lists_are_newest_first_of_a_region_and_of_live_rooms(hall: Lobbies) -> None:
    made = []
    for number in range(4):
        hall.shop.studio.clock.move(0.001 if number != 2 else 0)
        region = "London" if number == 1 else "Tokyo"
        made.append((await hall.v3(region=region))["roomId"])
    await hall.v3("private")
    for operation_id in LISTS:
        assert await hall.listed(operation_id) == made[::-1]
        assert await hall.listed(operation_id, region="London") == [made[1]]
        assert await hall.listed(operation_id, region="Sydney") == []
    app = hall.shop.app
    await hall.shop.studio.ask(rooms.destroy_room, (app, made[3]))
    await hall.shop.studio.ask(rooms.suspend_room, (app, made[2]))
    assert await hall.listed() == [made[1], made[0]]
    assert (await hall.ask("GetLobbyInfoByRoomId", made[2])).status_code == 200
    await hall.shop.call("ResumeRoom", {"appId": app, "roomId": made[2]})
    assert await hall.listed() == [made[2], made[1], made[0]]


async def test_an_unknown_app_has_an_empty_list_but_in_v1(hall: Lobbies) -> None:
    hall.shop.studio.app = None
    for app in ("nowhere", None):
        if app is None:
            app = (await hall.shop.call("CreateApp", body=NEW_APP)).json()["appId"]
            await hall.shop.call("DeleteApp", {"appId": app})
        for operation_id, status in zip(LISTS, (200, 200, 404), strict=True):
            reply = await hall.shop.call(operation_id, {"appId": app})
            assert reply.status_code == status
            assert status == 404 or reply.json() == []


NEW_APP = {"appName": "gone", "authConfiguration": {}}


async def test_a_list_has_at_most_100(hall: Lobbies) -> None:
    for number in range(103):
        hall.player = f"player-{number}"
        hall.shop.studio.clock.move(0.001)
        await hall.v3(roomId=f"r{number}", config="")
    assert await hall.listed() == [f"r{number}" for number in range(102, 2, -1)]


async def test_a_list_with_large_states_is_cut(
    hall: Lobbies, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lobbies, "LISTED_TEXT_MAX", 3000)
    made = [(await hall.v2(initialConfig="x" * 490))["roomId"] for _ in range(4)]
    assert await hall.listed(OLD_LISTS[0]) == made[:0:-1]
    assert await hall.listed() == made[::-1]


async def test_the_rooms_config_is_v3s(hall: Lobbies) -> None:
    lobby = await hall.v2(initialConfig={"a": 1})
    values = {"appId": hall.shop.app, "roomId": lobby["roomId"]}
    reply = await hall.shop.call("UpdateRoomConfig", values, body={"roomConfig": "new"})
    assert reply.status_code == 204
    info = await hall.ask("GetLobbyInfoByRoomId", lobby["roomId"])
    assert info.json()["roomConfig"] == "new"
    assert (await hall.ask("ListActivePublicLobbies")).json()[0]["roomConfig"] == "new"
    # What it was at first stays that.
    assert (await hall.ask("GetLobbyInfo", lobby["roomId"])).json()["initialConfig"] == {"a": 1}


@pytest.mark.parametrize(
    "state",
    [
        {"players": 3, "name": "é ✨", "createdAt": "2026-01-31T12:00:00Z", "ms": [1.5, -0.0]},
        {"createdAt": "2026-01-31T12:00:00.123000Z"},
        None,
        "text",
        2**63,
        [],
        False,
    ],
    ids=repr,
)
async def test_a_state_is_shown_as_it_was_set(hall: Lobbies, state: Any) -> None:
    lobby = await hall.v2(initialConfig=state)
    assert lobby["initialConfig"] == state
    reply = await hall.ask("SetLobbyState", lobby["roomId"], body={"state": state})
    assert reply.status_code == 200
    assert reply.json() == {**lobby, "state": state}
    assert (await hall.ask("GetLobbyInfo", lobby["roomId"])).json() == reply.json()
    for operation_id in OLD_LISTS:
        assert (await hall.ask(operation_id)).json() == [reply.json()]


async def test_a_state_is_replaced_whole(hall: Lobbies) -> None:
    room_id = (await hall.v2())["roomId"]
    await hall.ask("SetLobbyState", room_id, body={"state": {"a": 1, "b": 2}})
    reply = await hall.ask("SetLobbyState", room_id, body={"state": {"a": 3}})
    assert reply.json()["state"] == {"a": 3}
    reply = await hall.ask("SetLobbyState", room_id, body={})
    assert reply.json()["state"] is None


async def test_only_the_game_server_sets_a_state(hall: Lobbies) -> None:
    room_id = (await hall.v2())["roomId"]
    values = {"appId": hall.shop.app, "roomId": room_id}
    token = jwt.encode({"id": hall.player}, hall.secret, algorithm="HS256")
    for header in (f"Bearer {token}", ""):
        headers = {"authorization": header}
        reply = await hall.shop.call("SetLobbyState", values, body={"state": 1}, headers=headers)
        assert reply.status_code == 401
    assert (await hall.ask("SetLobbyState", "unknown", body={"state": 1})).status_code == 404
    plain = await hall.shop.studio.ask(rooms.create_room, rooms.NewRoom(hall.shop.app, "Tokyo"))
    assert (await hall.ask("SetLobbyState", plain.room_id, body={"state": 1})).status_code == 404
    await hall.shop.studio.ask(rooms.destroy_room, (hall.shop.app, room_id))
    assert (await hall.ask("SetLobbyState", room_id, body={"state": 1})).status_code == 404
