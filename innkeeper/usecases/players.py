"""Players: their logins, and whose a token is (behaviour.md 7.1). Tokens are signed, and kept nowhere."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import jwt

from innkeeper.core.catalog import App
from innkeeper.core.display_names import display_name
from innkeeper.core.errors import Invalid, NotFound, Unauthenticated
from innkeeper.core.players import (
    NICKNAME_LENGTH_MAX,
    GoogleIdentity,
    Player,
    check_period,
    login_enabled,
    player_id_of,
)
from innkeeper.interfaces import Context, Tx
from innkeeper.usecases import apps

# Game servers check tokens with a stock library and the app's secret: none of this may change.
_ALGORITHM = "HS256"
# The signature is the library's affair. Of the claims it would check some that are the studio's own,
# and the period by a clock of its own.
_SIGNATURE_ONLY: Any = {
    "verify_signature": True,
    "verify_exp": False,
    "verify_nbf": False,
    "verify_iat": False,
    "verify_aud": False,
    "verify_iss": False,
    "verify_sub": False,
    "verify_jti": False,
}


@dataclass(frozen=True, slots=True)
class GoogleLogin:
    """An app that offers Google's login, and the client id that its tokens are made for."""

    app: App
    client_id: str


def authenticate_player(tx: Tx, app_id: str, token: str, now: datetime) -> Player:
    """Whose token this is.

    Any HS256 token under the app's secret with a string ``id`` will do: a studio's backend may sign its
    own. Raises :class:`NotFound` for the app, :class:`Unauthenticated` for a token that is not the app's,
    is out of its time, or of a login that the app does not offer any more.
    """
    app = apps.require_app_anywhere(tx, app_id)
    try:
        claims = jwt.decode(token, app.app_secret, algorithms=[_ALGORITHM], options=_SIGNATURE_ONLY)
    except (jwt.PyJWTError, ValueError, RecursionError):
        # The last two: texts that the library does not expect, as JSON nested a thousand times.
        raise Unauthenticated("Invalid token") from None
    check_period(claims, now)
    return Player(app.app_id, app.org_id, player_id_of(claims, app.auth_configuration))


def login_anonymous(tx: Tx, caller: None, app_id: str, context: Context) -> str:
    """A token of a new player with a name of three words. Raises :class:`NotFound`."""
    app = _offering(tx, app_id, "anonymous")
    name = display_name(context.ids.below)
    return _signed(app, "anonymous", context.ids.player_id(), context, name=name)


def login_nickname(tx: Tx, caller: None, wanted: tuple[str, str], context: Context) -> str:
    """A token of a new player with a name of their own; ``wanted`` is (app id, nickname).

    Two players may share a nickname, so the id is random. Raises :class:`NotFound`, :class:`Invalid`.
    """
    app_id, nickname = wanted
    app = _offering(tx, app_id, "nickname")
    if not 1 <= len(nickname) <= NICKNAME_LENGTH_MAX:
        raise Invalid(
            "body.nickname", f"must be between 1 and {NICKNAME_LENGTH_MAX} characters long"
        )
    return _signed(app, "nickname", context.ids.player_id(), context, name=nickname)


def google_login(tx: Tx, app_id: str) -> GoogleLogin:
    """What it takes to check a token of Google's for an app. Raises :class:`NotFound`."""
    app = _offering(tx, app_id, "google")
    return GoogleLogin(app, app.auth_configuration["google"]["clientId"])


def google_token(app: App, identity: GoogleIdentity, context: Context) -> str:
    """A token of the player that Google knows: always the same id."""
    known = {"email": identity.email, "name": identity.name}
    more = {claim: value for claim, value in known.items() if value is not None}
    return _signed(app, "google", identity.subject, context, **more)


def _offering(tx: Tx, app_id: str, login_type: str) -> App:
    app = apps.require_app_anywhere(tx, app_id)
    if not login_enabled(app.auth_configuration, login_type):
        raise NotFound("Login", login_type, "it is not enabled for this app")
    return app


def _signed(app: App, login_type: str, player_id: str, context: Context, **more: str) -> str:
    """Without ``exp``: players stay who they are."""
    claims = {"type": login_type, "id": player_id, **more, "iat": int(context.now.timestamp())}
    return jwt.encode(claims, app.app_secret, algorithm=_ALGORITHM)
