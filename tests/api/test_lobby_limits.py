"""How large a lobby may be, how many there may be, and what else a create refuses (behaviour.md 6)."""

from pathlib import Path

import jwt
import pytest

from innkeeper.core.errors import Exhausted
from innkeeper.core.players import Player
from innkeeper.store.opening import open_store
from innkeeper.usecases import lifecycle, lobbies, rooms
from tests.api.lobby_hall import Lobbies, hall

__all__ = ["hall"]

NEW_APP = {"appName": "gone", "authConfiguration": {}}


async def test_sizes(hall: Lobbies) -> None:
    room_id = (await hall.v2("local"))["roomId"]
    at_limit = 1024**2 - 2  # with its quotes
    for length, status in ((at_limit - 1, 200), (at_limit, 422)):
        reply = await hall.ask("SetLobbyState", room_id, body={"state": "s" * length})
        assert reply.status_code == status
    for length, status in ((64 * 1024 - 3, 201), (64 * 1024 - 2, 422)):
        body = {"visibility": "local", "region": "Tokyo", "initialConfig": "c" * length}
        reply = await hall.shop.http.post(
            f"/lobby/v2/{hall.shop.app}/create",
            json=body,
            headers={
                "authorization": jwt.encode({"id": "x"}, hall.secret, algorithm="HS256"),
            },
        )
        assert reply.status_code == status
    body = {"visibility": "local", "region": "Tokyo", "roomConfig": "c" * 10_001}
    assert (await hall.ask("CreateLobby", body=body)).status_code == 422


@pytest.mark.parametrize("depth", [500, 1020, 100_000])
async def test_deep_json_is_never_a_5xx(hall: Lobbies, depth: int) -> None:
    room_id = (await hall.v2("local"))["roomId"]
    body = b'{"state": ' + b"[" * depth + b"]" * depth + b"}"
    values = {"appId": hall.shop.app, "roomId": room_id}
    reply = await hall.shop.call("SetLobbyState", values, content=body)
    assert reply.status_code in (200, 422)
    assert (await hall.ask("GetLobbyInfo", room_id)).status_code == 200


async def test_what_create_refuses(hall: Lobbies) -> None:
    body = {"visibility": "public", "region": "Tokyo"}
    assert (await hall.ask("CreateLobby", body={**body, "visibility": "x"})).status_code == 422
    assert (await hall.ask("CreateLobby", body={**body, "region": "x"})).status_code == 422
    assert (await hall.ask("CreateLobby", body={**body, "region": "Sydney"})).status_code == 400
    await hall.v3(roomId="taken")
    reply = await hall.ask("CreateLobby", body=body, roomId="taken")
    assert (reply.status_code, reply.json()["message"]) == (400, 'roomId "taken" already exists')
    app = (await hall.shop.call("CreateApp", body=NEW_APP)).json()
    headers = {"authorization": jwt.encode({"id": "x"}, app["appSecret"], algorithm="HS256")}
    values = {"appId": app["appId"]}
    reply = await hall.shop.call("CreateLobby", values, body=body, headers=headers)
    assert reply.status_code == 404
    assert "deployment" in reply.json()["message"]
    local = {**body, "visibility": "local"}
    reply = await hall.shop.call("CreateLobby", values, body=local, headers=headers)
    assert reply.status_code == 201


async def test_ten_an_hour_for_each_player(hall: Lobbies) -> None:
    clock = hall.shop.studio.clock
    for _ in range(5):
        await hall.v3()
    clock.move(60)
    for _ in range(5):
        await hall.v2("private")
    body = {"visibility": "public", "region": "Tokyo"}
    for _ in range(2):
        reply = await hall.ask("CreateLobby", body=body)
        assert (reply.status_code, reply.headers["retry-after"]) == (429, "3540")
        assert "10 in an hour" in reply.json()["message"]
    assert (await hall.ask("CreatePublicLobbyDeprecated")).status_code == 429
    await hall.v3("local")
    hall.player, first = "player-2", hall.player
    await hall.v3()
    hall.player = first
    clock.move(3539.999)
    assert (await hall.ask("CreateLobby", body=body)).status_code == 429
    clock.move(0.001)
    for status in [201] * 5 + [429]:
        assert (await hall.ask("CreateLobby", body=body)).status_code == status


async def test_ended_lobbies_count_and_are_forgotten_in_time(hall: Lobbies) -> None:
    studio = hall.shop.studio
    for _ in range(10):
        lobby = await hall.v3()
        await studio.ask(rooms.destroy_room, (hall.shop.app, lobby["roomId"]))
    body = {"visibility": "public", "region": "Tokyo"}

    async def sweep() -> int:
        context = studio.context()
        return int(await studio.store.write(lambda tx: lifecycle.sweep(tx, context)))

    assert await sweep() == 0
    assert (await hall.ask("CreateLobby", body=body)).status_code == 429
    studio.clock.move(3600)
    kept = await hall.v3()
    studio.clock.move(0.001)
    assert await sweep() == 10
    assert await sweep() == 0
    assert (await hall.ask("GetLobbyInfoByRoomId", kept["roomId"])).status_code == 200
    # The id of a room stays taken.
    assert (await hall.ask("CreateLobby", body=body, roomId=lobby["roomId"])).status_code == 400


async def test_very_many_local_lobbies_replace_the_oldest(
    hall: Lobbies, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lobbies, "LOCAL_LOBBIES_MAX", 3)
    made = []
    for _ in range(5):
        hall.shop.studio.clock.move(1)
        made.append((await hall.v3("local"))["roomId"])
    statuses = [(await hall.ask("GetLobbyInfo", room_id)).status_code for room_id in made]
    assert statuses == [404, 200, 200, 200, 200]


async def test_states_count_in_what_a_list_may_hold(
    hall: Lobbies, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lobbies, "LISTED_TEXT_MAX", 1000)
    older, newer = [(await hall.v2())["roomId"] for _ in range(2)]
    old_list = "ListActivePublicLobbiesDeprecatedV2"
    assert await hall.listed(old_list) == [newer, older]
    await hall.ask("SetLobbyState", newer, body={"state": "s" * 993})
    assert await hall.listed(old_list) == [newer]
    assert await hall.listed() == [newer, older]
    await hall.ask("SetLobbyState", newer, body={"state": ""})
    assert await hall.listed(old_list) == [newer, older]


async def test_a_restart_forgets_no_creation(hall: Lobbies, tmp_path: Path) -> None:
    for _ in range(10):
        await hall.v3()
    studio = hall.shop.studio
    player = Player(hall.shop.app, studio.caller.org_id, hall.player)
    restarted = await open_store(tmp_path / "innkeeper.sqlite")
    with pytest.raises(Exhausted):
        await restarted.write(
            lambda tx: lobbies.create_lobby(
                tx, player, lobbies.NewLobby("public", "Tokyo"), studio.context()
            )
        )
    await restarted.close()
