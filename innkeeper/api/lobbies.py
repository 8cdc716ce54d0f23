"""LobbiesV3, V2 and V1: shapes first, rows last (behaviour.md 6). All are views of one record."""

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import UNSET

from innkeeper.api import wire_generated as wire
from innkeeper.api.locks import of_new_lobby
from innkeeper.api.operation import Operation
from innkeeper.api.request import Request
from innkeeper.core.errors import Invalid
from innkeeper.core.lobbies import Lobby, Visibility
from innkeeper.usecases import lobbies
from innkeeper.usecases.lobbies import LobbyFilter, NewLobby

_NULL = msgspec.Raw(b"null")


def _json_text(value: Any, field: str) -> str:
    """Any JSON value of a body as text; ``null`` where it was left out."""
    try:
        return msgspec.json.encode(None if value is UNSET else value).decode()
    except RecursionError:
        raise Invalid(field, "is nested too deeply") from None


def _new_lobby(request: Request, visibility: Visibility, **more: Any) -> NewLobby:
    return NewLobby(visibility=visibility, room_id=request.query.get("roomId"), **more)


def read_new_v3(request: Request) -> NewLobby:
    """What V3's create is asked for."""
    body: wire.CreateLobbyV3Params = request.body
    return _new_lobby(
        request,
        body.visibility,
        region=body.region,
        room_config=None if body.roomConfig is UNSET else body.roomConfig,
        short_code=request.query.get("shortCode"),
    )


def read_new_v2(request: Request, visibility: Visibility | None = None) -> NewLobby:
    """What V2's creates are asked for; but for one, their path says the visibility."""
    config = request.body.initialConfig
    return _new_lobby(
        request,
        visibility or request.body.visibility,
        region=request.body.region,
        initial_config="{}" if config is UNSET else _json_text(config, "body.initialConfig"),
    )


def _read_new_v2(visibility: Visibility) -> Callable[[Request], NewLobby]:
    return lambda request: read_new_v2(request, visibility)


def _read_new_v1(visibility: Visibility) -> Callable[[Request], NewLobby]:
    """What V1's creates are asked for: nothing has to be said."""

    def read(request: Request) -> NewLobby:
        local = request.query["local"]
        return NewLobby("local" if local else visibility, region=request.query.get("region"))

    return read


def read_room_id(request: Request) -> tuple[str, str]:
    """(app id, room id)."""
    return request.path["appId"], request.path["roomId"]


def read_short_code(request: Request) -> tuple[str, str]:
    """(app id, short code)."""
    return request.path["appId"], request.path["shortCode"]


def read_state(request: Request) -> tuple[str, str, str]:
    """(app id, room id, the state as JSON)."""
    return (*read_room_id(request), _json_text(request.body.state, "body.state"))


def _read_list(with_state: bool) -> Callable[[Request], LobbyFilter]:
    def read(request: Request) -> LobbyFilter:
        return LobbyFilter(
            request.path["appId"], region=request.query.get("region"), with_state=with_state
        )

    return read


def read_list_v1(request: Request) -> LobbyFilter:
    """V1 lists the local lobbies too, when they are asked for."""
    visibility: Visibility = "local" if request.query["local"] else "public"
    return LobbyFilter(request.path["appId"], visibility, request.query.get("region"))


def _shared(lobby: Lobby) -> dict[str, Any]:
    return {
        "createdAt": lobby.created_at,
        "createdBy": lobby.created_by,
        "visibility": lobby.visibility,
        "region": lobby.region,
        "roomId": lobby.room_id,
        "appId": lobby.app_id,
    }


def write_v3(lobby: Lobby) -> wire.LobbyV3:
    """V3 shows the room's own config, and always a short code."""
    return wire.LobbyV3(**_shared(lobby), shortCode=lobby.short_code, roomConfig=lobby.room_config)


def write_old(lobby: Lobby) -> wire.Lobby:
    """V2 and V1 show the initial config and the state, and a short code if the creator gave one."""
    config = lobby.initial_config
    return wire.Lobby(
        **_shared(lobby),
        shortCode=lobby.short_code if lobby.short_code_chosen else None,
        local=lobby.visibility == "local",
        initialConfig=UNSET if config is None else msgspec.Raw(config.encode()),
        state=_NULL if lobby.state is None else msgspec.Raw(lobby.state.encode()),
    )


def write_list_v3(found: list[Lobby]) -> list[wire.LobbyV3]:
    """V3's list."""
    return [write_v3(lobby) for lobby in found]


def write_list_old(found: list[Lobby]) -> list[wire.Lobby]:
    """V2's and V1's list."""
    return [write_old(lobby) for lobby in found]


def write_room_id(lobby: Lobby) -> str:
    """V1's answer to a create."""
    return lobby.room_id


def _creates(
    operation_id: str, read: Callable[[Request], NewLobby], write: Callable[[Lobby], Any]
) -> Operation:
    return Operation(operation_id, read, lobbies.create_lobby, write, locks=of_new_lobby)


_get = lobbies.get_lobby
_list, _list_known = lobbies.list_lobbies, lobbies.list_lobbies_of_app

OPERATIONS = (
    _creates("CreateLobby", read_new_v3, write_v3),
    Operation("GetLobbyInfoByRoomId", read_room_id, _get, write_v3, "read"),
    Operation("GetLobbyInfoByShortCode", read_short_code, lobbies.find_lobby, write_v3, "read"),
    Operation("ListActivePublicLobbies", _read_list(False), _list, write_list_v3, "read"),
    _creates("CreateLobbyDeprecated", read_new_v2, write_old),
    _creates("CreatePrivateLobby", _read_new_v2("private"), write_old),
    _creates("CreatePublicLobby", _read_new_v2("public"), write_old),
    _creates("CreateLocalLobby", _read_new_v2("local"), write_old),
    Operation("GetLobbyInfo", read_room_id, _get, write_old, "read"),
    Operation(
        "ListActivePublicLobbiesDeprecatedV2", _read_list(True), _list, write_list_old, "read"
    ),
    Operation(
        "SetLobbyState", read_state, lobbies.set_state, write_old, scope="processes:read-write"
    ),
    _creates("CreatePrivateLobbyDeprecated", _read_new_v1("private"), write_room_id),
    _creates("CreatePublicLobbyDeprecated", _read_new_v1("public"), write_room_id),
    Operation(
        "ListActivePublicLobbiesDeprecatedV1", read_list_v1, _list_known, write_list_old, "read"
    ),
)
