"""LobbiesV1 to V3: every operation, by meaning, and each version's view of the others' (behaviour.md 6)."""

import json
import re
from dataclasses import dataclass
from typing import Any

import pytest

from innkeeper.testing.live_studio import Json, LiveStudio
from innkeeper.testing.official_sdk import Sdk, refused
from tests.conformance.test_environment import started_with

LISTS = (
    "lobbiesV3.listActivePublicLobbies",
    "lobbiesV2.listActivePublicLobbiesDeprecatedV2",
    "lobbiesV1.listActivePublicLobbiesDeprecatedV1",
)


@dataclass
class Hall:
    """An app whose lobbies a player makes; the studio is its game server."""

    studio: LiveStudio
    app_id: str
    player: Sdk
    token: str

    def create(self, call: str, *args: Any) -> Any:
        """As the player: ``args`` are those between the security and nothing."""
        return self.player(call, {"playerAuth": self.token}, *args)

    def v3(self, *more: Any, **params: Any) -> Json:
        body = {"visibility": "public", "region": "Seattle", **params}
        made: Json = self.create("lobbiesV3.createLobby", body, self.app_id, *more)
        return made

    def v2(self, **params: Any) -> Json:
        body = {"visibility": "public", "region": "Seattle", **params}
        made: Json = self.create("lobbiesV2.createLobbyDeprecated", body, self.app_id)
        return made

    def listed(self, call: str, region: str | None = None, local: bool = False) -> list[str]:
        args = (local, region) if "V1" in call else (region,)
        return [lobby["roomId"] for lobby in self.player(call, self.app_id, *args)]

    def relogin(self) -> None:
        """Somebody else from now on."""
        self.token = self.player("authV1.loginAnonymous", self.app_id)["token"]


@pytest.fixture
def hall(studio: LiveStudio, anyone: Sdk, build_id: str) -> Hall:
    app_id = studio.app(authConfiguration={"anonymous": {}})
    studio.deploy(app_id, build_id, roomsPerProcess=50)
    token = anyone("authV1.loginAnonymous", app_id)["token"]
    return Hall(studio, app_id, anyone, token)


def test_a_lobby_from_its_creation_to_its_end(hall: Hall) -> None:
    body = {"visibility": "public", "region": "Frankfurt", "roomConfig": '{"map":"ice"}'}
    made, (reply,) = hall.player.answered(
        "lobbiesV3.createLobby", {"playerAuth": hall.token}, body, hall.app_id, "LFG4"
    )
    assert (reply.status, reply.authorized) == (201, True)
    room_id = made["roomId"]
    assert (made["shortCode"], made["visibility"], made["region"]) == (
        "LFG4",
        "public",
        "Frankfurt",
    )
    assert made["roomConfig"] == '{"map":"ice"}'
    assert re.fullmatch("[0-9a-z]{11,13}", made["createdBy"])

    # Found in all ways, by people without a token.
    value, (reply,) = hall.player.answered("lobbiesV3.getLobbyInfoByRoomId", room_id, hall.app_id)
    assert (value, reply.authorized) == (made, False)
    assert hall.player("lobbiesV3.getLobbyInfoByShortCode", "LFG4", hall.app_id) == made
    assert hall.player("lobbiesV3.listActivePublicLobbies", hall.app_id) == [made]

    # It is a room: players get to it, and its game was started with its config.
    active = hall.studio.active(hall.app_id, room_id)
    assert active["exposedPort"]["port"]
    info = hall.studio.sdk("roomsV2.getRoomInfo", room_id, hall.app_id)
    process_id = info["currentAllocation"]["processId"]
    env = started_with(hall.studio.logs(hall.app_id, process_id))
    assert env["HATHORA_INITIAL_ROOM_ID"] == room_id
    assert env["HATHORA_INITIAL_ROOM_CONFIG"] == '{"map":"ice"}'

    # The game server changes the config; lobbies show it.
    hall.studio.sdk("roomsV2.updateRoomConfig", room_id, {"roomConfig": "2 players"}, hall.app_id)
    seen = hall.player("lobbiesV3.listActivePublicLobbies", hall.app_id)
    assert seen[0]["roomConfig"] == "2 players"

    hall.studio.sdk("roomsV2.destroyRoom", room_id, hall.app_id)
    for call in LISTS:
        assert hall.listed(call) == []
    with refused(404, room_id):
        hall.player("lobbiesV3.getLobbyInfoByRoomId", room_id, hall.app_id)
    with refused(404, "LFG4"):
        hall.player("lobbiesV3.getLobbyInfoByShortCode", "LFG4", hall.app_id)
    with refused(404, room_id):
        hall.player("lobbiesV2.getLobbyInfo", room_id, hall.app_id)


def test_lobbies_share_processes_as_rooms_do(hall: Hall) -> None:
    rooms = [hall.v3()["roomId"], hall.v2()["roomId"]]
    rooms.append(hall.create("lobbiesV1.createPublicLobbyDeprecated", hall.app_id, "Seattle"))
    rooms.append(hall.studio.room(hall.app_id)["roomId"])
    infos = [hall.studio.sdk("roomsV2.getRoomInfo", room, hall.app_id) for room in rooms]
    assert len({info["currentAllocation"]["processId"] for info in infos}) == 1


def test_every_version_shows_every_versions_lobbies(hall: Hall) -> None:
    config = {"mode": "duel", "teams": [1, 2.5, None, "é"]}
    v3 = hall.v3(roomConfig='{"mode": "ffa"}')
    v2 = hall.v2(initialConfig=config)
    v1 = hall.create("lobbiesV1.createPublicLobbyDeprecated", hall.app_id, "Seattle")
    assert isinstance(v1, str)
    assert (v2["state"], v2["initialConfig"]) == (None, config)

    through_v2 = hall.player("lobbiesV2.getLobbyInfo", v3["roomId"], hall.app_id)
    assert through_v2["initialConfig"] == {"mode": "ffa"}
    # A code that nobody chose is V3's affair.
    assert re.fullmatch("[A-Z2-9]{4}", v3["shortCode"])
    assert (through_v2["shortCode"], v2["shortCode"]) == (None, None)
    through_v3 = hall.player("lobbiesV3.getLobbyInfoByRoomId", v2["roomId"], hall.app_id)
    assert json.loads(through_v3["roomConfig"]) == config
    for seen, made in ((through_v2, v3), (through_v3, v2)):
        for field in ("createdAt", "createdBy", "visibility", "region", "appId"):
            assert seen[field] == made[field]
    of_v1 = hall.player("lobbiesV2.getLobbyInfo", v1, hall.app_id)
    assert (of_v1["initialConfig"], of_v1["visibility"], of_v1["local"]) == ({}, "public", False)

    newest_first = [v1, v2["roomId"], v3["roomId"]]
    for call in LISTS:
        assert hall.listed(call) == newest_first
        assert hall.listed(call, "Seattle") == newest_first
        assert hall.listed(call, "Tokyo") == []


def test_private_lobbies_are_found_but_not_listed(hall: Hall) -> None:
    own_id = f"own-{hall.app_id[-8:]}"  # room ids are unique on the whole server
    of_v3 = hall.v3("ROOM/1", visibility="private")
    of_v2 = hall.create("lobbiesV2.createPrivateLobby", {"region": "Seattle"}, hall.app_id, own_id)
    of_v1 = hall.create("lobbiesV1.createPrivateLobbyDeprecated", hall.app_id)
    assert of_v2["roomId"] == own_id
    for call in LISTS:
        assert hall.listed(call) == []
    assert hall.player("lobbiesV3.getLobbyInfoByShortCode", "ROOM/1", hall.app_id) == of_v3
    info = hall.player("lobbiesV2.getLobbyInfo", of_v1, hall.app_id)
    assert (info["visibility"], info["region"]) == ("private", "Washington_DC")


def test_public_lobbies_by_path(hall: Hall) -> None:
    body = {"region": "London", "initialConfig": {"a": 1}}
    made = hall.create("lobbiesV2.createPublicLobby", body, hall.app_id)
    assert (made["visibility"], made["region"], made["local"]) == ("public", "London", False)
    assert hall.listed(LISTS[1], "London") == [made["roomId"]]


def test_local_lobbies_have_no_process(hall: Hall) -> None:
    made = [
        hall.v3(visibility="local")["roomId"],
        hall.create("lobbiesV2.createLocalLobby", {"region": "Seattle"}, hall.app_id)["roomId"],
        hall.create("lobbiesV1.createPublicLobbyDeprecated", hall.app_id, None, True),
        hall.create("lobbiesV1.createPrivateLobbyDeprecated", hall.app_id, None, True),
    ]
    for room_id in made:
        info = hall.player("lobbiesV2.getLobbyInfo", room_id, hall.app_id)
        assert (info["visibility"], info["local"]) == ("local", True)
        where = hall.player("roomsV2.getConnectionInfo", room_id, hall.app_id)
        assert where == {"roomId": room_id, "status": "starting", "additionalExposedPorts": []}
        room = hall.studio.sdk("roomsV2.getRoomInfo", room_id, hall.app_id)
        assert (room["status"], room["currentAllocation"]) == ("scheduling", None)
    assert hall.studio.sdk("processesV3.getLatestProcesses", hall.app_id) == []
    assert [hall.listed(call) for call in LISTS] == [[], [], []]
    assert hall.listed(LISTS[2], local=True) == made[::-1]


def test_the_newest_lobby_has_the_code(hall: Hall) -> None:
    older = hall.v3("SAME", visibility="private")
    newer = hall.v3("SAME", visibility="private")
    found = hall.player("lobbiesV3.getLobbyInfoByShortCode", "SAME", hall.app_id)
    assert found["roomId"] == newer["roomId"]
    hall.studio.sdk("roomsV2.destroyRoom", newer["roomId"], hall.app_id)
    found = hall.player("lobbiesV3.getLobbyInfoByShortCode", "SAME", hall.app_id)
    assert found["roomId"] == older["roomId"]
    with refused(404):
        hall.player("lobbiesV3.getLobbyInfoByShortCode", "NONE", hall.app_id)


def test_the_game_server_sets_the_state(hall: Hall) -> None:
    room_id = hall.v2()["roomId"]
    for state in ({"players": [1, 2], "full": False}, {"winner": "é"}, 5, None):
        wanted = {"state": state}
        seen = hall.studio.sdk("lobbiesV2.setLobbyState", room_id, wanted, hall.app_id)
        assert seen["state"] == state
        assert hall.player("lobbiesV2.getLobbyInfo", room_id, hall.app_id) == seen
        for call in LISTS[1:]:
            assert hall.player(call, hall.app_id) == [seen]
    with refused(422, "1 MB"):
        hall.studio.sdk("lobbiesV2.setLobbyState", room_id, {"state": "s" * 1024**2}, hall.app_id)
    with refused(404):
        hall.studio.sdk("lobbiesV2.setLobbyState", "unknown", {"state": 1}, hall.app_id)
    players = hall.player.bridge.client(
        serverURL=hall.studio.server.url, hathoraDevToken=hall.token
    )
    with refused(401):
        players("lobbiesV2.setLobbyState", room_id, {"state": 1}, hall.app_id)


def test_a_large_initial_config_reaches_the_game(hall: Hall) -> None:
    config = {"map": "m" * 60_000}
    room_id = hall.v2(initialConfig=config)["roomId"]
    hall.studio.active(hall.app_id, room_id)
    seen = hall.player("lobbiesV2.getLobbyInfo", room_id, hall.app_id)
    assert seen["initialConfig"] == config
    with refused(422, "64 KB"):
        hall.v2(initialConfig={"map": "m" * 65_536})


def test_what_create_refuses(hall: Hall, studio: LiveStudio) -> None:
    body = {"visibility": "public", "region": "Seattle"}
    taken = hall.v3()["roomId"]
    with refused(400, "already exists"):
        hall.v3(None, taken)
    with refused(422, "visibility"):
        hall.v3(visibility="secret")
    with refused(422, "region"):
        hall.v3(region="Atlantis")
    with refused(422, "shortCode"):
        hall.v3("x" * 101)
    with refused(404, "app-of-nobody"):
        hall.create("lobbiesV3.createLobby", body, "app-of-nobody")
    for token in ("nonsense", hall.token[:-3]):
        with refused(401):
            hall.player("lobbiesV3.createLobby", {"playerAuth": token}, body, hall.app_id)
    empty = studio.app(authConfiguration={"anonymous": {}})
    token = hall.player("authV1.loginAnonymous", empty)["token"]
    with refused(404, "deployment"):
        hall.player("lobbiesV3.createLobby", {"playerAuth": token}, body, empty)
    with refused(401):
        hall.create("lobbiesV3.createLobby", body, empty)


def test_ten_an_hour_for_each_player(hall: Hall) -> None:
    hall.v3(visibility="local")
    calls = (
        lambda: hall.v3(),
        lambda: hall.v2(),
        lambda: hall.create("lobbiesV1.createPrivateLobbyDeprecated", hall.app_id, "Seattle"),
    )
    for number in range(10):
        calls[number % 3]()
    for call in calls:
        with refused(429, "10 in an hour"):
            call()
    hall.v3(visibility="local")
    hall.relogin()
    hall.v3()


def test_lists_of_an_unknown_app(hall: Hall) -> None:
    for call in LISTS[:2]:
        assert hall.player(call, "app-of-nobody") == []
    with refused(404, "app-of-nobody"):
        hall.player(LISTS[2], "app-of-nobody")
    hall.v3()
    hall.studio.sdk("appsV2.deleteApp", hall.app_id)
    assert hall.listed(LISTS[0]) == []
    with refused(404):
        hall.listed(LISTS[2])


def test_a_lobby_goes_with_its_process(hall: Hall) -> None:
    made = hall.v3()
    hall.studio.active(hall.app_id, made["roomId"])
    room = hall.studio.sdk("roomsV2.getRoomInfo", made["roomId"], hall.app_id)
    process_id = room["currentAllocation"]["processId"]
    hall.studio.sdk("processesV3.stopProcess", process_id, hall.app_id)
    assert hall.listed(LISTS[0]) == []
    with refused(404):
        hall.player("lobbiesV3.getLobbyInfoByRoomId", made["roomId"], hall.app_id)
