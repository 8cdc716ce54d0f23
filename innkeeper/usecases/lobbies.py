"""What a caller may ask of lobbies: create, find, list, set the state (behaviour.md 6)."""

from dataclasses import dataclass
from datetime import datetime

from innkeeper.core.accounts import Caller
from innkeeper.core.errors import NotFound
from innkeeper.core.lobbies import (
    CREATION_WINDOW,
    DEFAULT_REGION,
    LOCAL_LOBBIES_MAX,
    LOCAL_LOBBY_REPLACED,
    Lobby,
    Visibility,
    check_creations,
    check_initial_config,
    check_state,
    initial_config_of,
)
from innkeeper.core.moments import from_ms, to_ms
from innkeeper.core.players import Player
from innkeeper.interfaces import Context, Policy, Row, Tx
from innkeeper.usecases import apps, journal, rooms

# Characters of states and configs in one list: reads hold up whoever else is served.
LISTED_TEXT_MAX = 2 * 1024**2
_SHORT_CODE_LENGTH = 4
_DRAWS = 8


@dataclass(frozen=True, slots=True)
class NewLobby:
    """What creates a lobby. V1 and V2 give an ``initial_config`` (JSON text), V3 a ``room_config``."""

    visibility: Visibility
    region: str | None = None
    room_id: str | None = None
    room_config: str | None = None
    initial_config: str | None = None
    short_code: str | None = None


@dataclass(frozen=True, slots=True)
class LobbyFilter:
    """Which lobbies to list; ``with_state`` where the version shows states and initial configs."""

    app_id: str
    visibility: Visibility = "public"
    region: str | None = None
    with_state: bool = True


def create_lobby(tx: Tx, player: Player, wanted: NewLobby, context: Context) -> Lobby:
    """A lobby with its room, in one transaction; a local one without a process.

    Raises what CreateRoom raises, :class:`Invalid` for a config that is too large, and
    :class:`Exhausted` for a player who made too many.
    """
    room_config, initial_config = wanted.room_config, wanted.initial_config
    if initial_config is None:
        initial_config = initial_config_of(room_config)
    else:
        check_initial_config(initial_config)
        room_config = initial_config  # the one text that the game server is handed
    new_room = rooms.NewRoom(
        app_id=player.app_id,
        region=wanted.region or default_region(context.policy),
        room_id=wanted.room_id,
        room_config=room_config,
        lobby_visibility=wanted.visibility,
    )
    planned = rooms.plan_room(tx, player.org_id, new_room, context)
    counted = wanted.visibility != "local"
    if counted:
        # After what else may be wrong with the request (behaviour.md 9), and before anything is written.
        _check_creations(tx, player, context)
    else:
        _replace_oldest_local(tx, player.app_id, context)
    room_id = rooms.open_room(tx, planned, context).room_id
    tx.run(
        "lobbies.insert",
        room_id=room_id,
        app_id=player.app_id,
        short_code=wanted.short_code or _free_code(tx, player.app_id, context),
        short_code_chosen=int(bool(wanted.short_code)),
        created_by=player.player_id,
        created_at=to_ms(context.now),
        counted=int(counted),
        initial_config=initial_config,
    )
    return get_lobby(tx, None, (player.app_id, room_id), context)


def get_lobby(tx: Tx, caller: None, wanted: tuple[str, str], context: Context) -> Lobby:
    """The lobby of a live room; ``wanted`` is (app id, room id). Raises :class:`NotFound`."""
    app_id, room_id = wanted
    row = tx.one("lobbies.by_room", app_id=app_id, room_id=room_id)
    if row is None:
        raise NotFound("Lobby", room_id)
    return lobby_from(row)


def find_lobby(tx: Tx, caller: None, wanted: tuple[str, str], context: Context) -> Lobby:
    """The newest lobby with a short code, of live rooms; ``wanted`` is (app id, short code).

    Raises :class:`NotFound`.
    """
    app_id, short_code = wanted
    row = tx.one("lobbies.by_code", app_id=app_id, short_code=short_code)
    if row is None:
        raise NotFound("Lobby", short_code)
    return lobby_from(row)


def list_lobbies(tx: Tx, caller: None, wanted: LobbyFilter, context: Context) -> list[Lobby]:
    """Lobbies of rooms that are scheduling or active, newest first, at most 100; none of an unknown app."""
    rows = tx.all(
        "lobbies.listed",
        app_id=wanted.app_id,
        visibility=wanted.visibility,
        region=wanted.region,
        with_state=int(wanted.with_state),
        text_max=LISTED_TEXT_MAX,
    )
    return [lobby_from(row) for row in rows]


def list_lobbies_of_app(tx: Tx, caller: None, wanted: LobbyFilter, context: Context) -> list[Lobby]:
    """As :func:`list_lobbies`. Raises :class:`NotFound` for an unknown app."""
    apps.require_app_anywhere(tx, wanted.app_id)
    return list_lobbies(tx, caller, wanted, context)


def set_state(tx: Tx, caller: Caller, wanted: tuple[str, str, str], context: Context) -> Lobby:
    """Replace the whole state; ``wanted`` is (app id, room id, JSON text).

    For game servers, with an org token. Raises :class:`NotFound`, :class:`Invalid`.
    """
    app_id, room_id, state = wanted
    apps.require_app(tx, caller.org_id, app_id)
    check_state(state)
    get_lobby(tx, None, (app_id, room_id), context)
    tx.run("lobbies.set_state", app_id=app_id, room_id=room_id, state=state)
    return get_lobby(tx, None, (app_id, room_id), context)


def sweep(tx: Tx, now: datetime) -> int:
    """Drop the lobbies of rooms that ended an hour ago: until then they count for their creators."""
    before = to_ms(now - CREATION_WINDOW)
    tx.run("lobbies.forget_ended", before=before)
    return tx.run("lobbies.mark_forgotten", before=before)


def lobby_from(row: Row) -> Lobby:
    """A lobby from its row and its room's."""
    return Lobby(
        room_id=row["room_id"],
        app_id=row["app_id"],
        region=row["region"],
        visibility=row["lobby_visibility"],
        short_code=row["short_code"],
        short_code_chosen=bool(row["short_code_chosen"]),
        created_by=row["created_by"],
        created_at=from_ms(row["created_at"]),
        room_config=row["room_config"],
        initial_config=row["initial_config"],
        state=row["state"],
    )


def default_region(policy: Policy) -> str:
    """V1's, or where this installation does not answer to that, its first one."""
    served = policy.regions
    return DEFAULT_REGION if DEFAULT_REGION in served else served[0]


def _check_creations(tx: Tx, player: Player, context: Context) -> None:
    limit = context.policy.lobbies_per_player_hour
    if not limit:
        return
    row = tx.one(
        "lobbies.creation_at_limit",
        app_id=player.app_id,
        created_by=player.player_id,
        before_it=limit - 1,
    )
    check_creations(limit, None if row is None else from_ms(row["created_at"]), context.now)


def _replace_oldest_local(tx: Tx, app_id: str, context: Context) -> None:
    row = tx.one("lobbies.local_above", app_id=app_id, kept=LOCAL_LOBBIES_MAX)
    if row is None:
        return
    now = to_ms(context.now)
    journal.of_room(tx, row["room_id"], "room.destroyed", now, LOCAL_LOBBY_REPLACED)
    tx.run("rooms.destroy", room_id=row["room_id"], now=now, reason=LOCAL_LOBBY_REPLACED)
    tx.run("lobbies.forget", room_id=row["room_id"])


def _free_code(tx: Tx, app_id: str, context: Context) -> str:
    """A code that no live lobby has; a longer one in the end, where nearly all are taken."""
    length = _SHORT_CODE_LENGTH
    while True:
        for _ in range(_DRAWS):
            code = context.ids.short_code(length)
            if tx.one("lobbies.code_taken", app_id=app_id, short_code=code) is None:
                return code
        length += 1
