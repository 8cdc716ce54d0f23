"""Players: who they are, and what a token says of them (behaviour.md 7.1).

Knows claims, not how tokens are signed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from innkeeper.core.errors import Unauthenticated

# The logins we offer. Other types in a token are a studio's own, which needs nobody's switch.
LOGIN_TYPES = ("anonymous", "nickname", "google")
NICKNAME_LENGTH_MAX = 100
PLAYER_ID_LENGTH_MAX = 1000


@dataclass(frozen=True, slots=True)
class Player:
    """The holder of a valid player token, in one app."""

    app_id: str
    org_id: str
    player_id: str


@dataclass(frozen=True, slots=True)
class GoogleIdentity:
    """Who an id token of Google's says its holder is."""

    subject: str
    email: str | None
    name: str | None


def check_period(claims: Mapping[str, Any], now: datetime) -> None:
    """``exp`` and ``nbf``, where there are any. Raises :class:`Unauthenticated`."""
    moment = now.timestamp()
    for claim, wrong in (("exp", "has expired"), ("nbf", "is not valid yet")):
        value = claims.get(claim)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise Unauthenticated(f"Invalid token: {claim} must be a number")
        # Not "or": a comparison with NaN is never true, and must not let it pass.
        if not (moment < value if claim == "exp" else moment >= value):
            raise Unauthenticated(f"Invalid token: it {wrong}")


def login_enabled(auth_configuration: Mapping[str, Any], login_type: str) -> bool:
    """Whether an app offers this login: the key's presence says so."""
    if login_type == "google":
        # Without a client id nobody can tell for whom a token was made.
        return bool((auth_configuration.get("google") or {}).get("clientId"))
    return login_type in auth_configuration


def player_id_of(claims: Mapping[str, Any], auth_configuration: Mapping[str, Any]) -> str:
    """The player of a token whose signature and period are good. Raises :class:`Unauthenticated`."""
    login_type = claims.get("type")
    if login_type in LOGIN_TYPES and not login_enabled(auth_configuration, login_type):
        raise Unauthenticated(f"Invalid token: {login_type} login is not enabled for this app")
    player_id = claims.get("id")
    if not isinstance(player_id, str) or not 1 <= len(player_id) <= PLAYER_ID_LENGTH_MAX:
        raise Unauthenticated("Invalid token: it needs a string id")
    if "\0" in player_id or any("\ud800" <= c <= "\udfff" for c in player_id):
        raise Unauthenticated("Invalid token: its id is not plain text")
    return player_id
