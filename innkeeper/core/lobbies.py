"""A lobby: a room with a creator, a visibility, a short code and a state (behaviour.md 6).

One record, which every version of the API is a view of.
"""

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from innkeeper.core.errors import Exhausted, Invalid

Visibility = Literal[
    "public",  # listed
    "private",  # found by its room id or short code only
    "local",  # for development: no process is scheduled, for the game runs on the developer's machine
]

STATE_BYTES_MAX = 1024**2
INITIAL_CONFIG_BYTES_MAX = 64 * 1024
CREATION_WINDOW = timedelta(hours=1)
DEFAULT_REGION = "Washington_DC"  # of V1, whose clients may name none
# Local lobbies end with nothing else, and players may make as many as they like.
LOCAL_LOBBIES_MAX = 1000
LOCAL_LOBBY_REPLACED = "replaced by newer local lobbies"


@dataclass(frozen=True, slots=True)
class Lobby:
    """A lobby and what it shows of its room. ``initial_config`` and ``state`` are JSON texts.

    ``short_code_chosen`` says that the creator gave the code. Lists for versions that show no state
    leave both texts out.
    """

    room_id: str
    app_id: str
    region: str
    visibility: Visibility
    short_code: str
    short_code_chosen: bool
    created_by: str
    created_at: datetime
    room_config: str | None
    initial_config: str | None
    state: str | None


def check_initial_config(text: str) -> None:
    """Raises :class:`Invalid` at 64 KiB of JSON and above."""
    _check_size(text, INITIAL_CONFIG_BYTES_MAX, "body.initialConfig", "64 KB")


def check_state(text: str) -> None:
    """Raises :class:`Invalid` at 1 MiB of JSON and above."""
    _check_size(text, STATE_BYTES_MAX, "body.state", "1 MB")


def initial_config_of(room_config: str | None) -> str:
    """What old versions show of a lobby that was made with a room config: JSON, or its text as one."""
    if room_config is None:
        return "{}"
    try:
        json.loads(room_config, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return json.dumps(room_config)
    return room_config


def check_creations(limit: int, at_limit: datetime | None, now: datetime) -> None:
    """A player may make ``limit`` lobbies in any hour; 0 is no limit.

    ``at_limit`` is when they made the one that is ``limit`` back. Raises :class:`Exhausted`.
    """
    if not limit or at_limit is None:
        return
    wait = at_limit + CREATION_WINDOW - now
    if wait > timedelta(0):
        raise Exhausted(
            f"Too many lobbies created: a player may create {limit} in an hour",
            -int(-wait.total_seconds() // 1),
        )


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _check_size(text: str, limit: int, field: str, shown: str) -> None:
    if len(text.encode()) >= limit:
        raise Invalid(field, f"must be smaller than {shown} of JSON")
