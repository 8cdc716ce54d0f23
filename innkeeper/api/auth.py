"""Who calls: the Authorization header and what the caller may see (behaviour.md 0.3, 7.2)."""

from collections.abc import Mapping
from typing import Any

from innkeeper.api.request import RawHeaders
from innkeeper.core.accounts import Caller
from innkeeper.core.errors import NotFound, Unauthenticated
from innkeeper.core.players import Player
from innkeeper.interfaces import Tx

TOKEN_BYTES_MAX = 4096


def token_of(headers: RawHeaders) -> str:
    """The token of ``Authorization: Bearer X`` or ``Authorization: X``. Raises ``Unauthenticated``."""
    for name, value in headers:
        if name == b"authorization":
            if len(value) > TOKEN_BYTES_MAX:
                break
            text = value.decode("utf-8", "replace").strip()
            # A bare "Bearer" is a scheme without a token.
            token = text[6:].lstrip() if f"{text} "[:7].lower() == "bearer " else text
            if token:
                return token
            break
    raise Unauthenticated("Missing or malformed token: send Authorization: Bearer <token>")


def check_org(caller: Caller | Player, given: Mapping[str, Any]) -> None:
    """An org that the path or the query names must be the caller's: others do not exist for it."""
    named = given.get("orgId", caller.org_id)
    if named != caller.org_id:
        raise NotFound("Organization", named)


def check_app(tx: Tx, app_id: str, caller: Caller | Player | None) -> None:
    """The app must be alive and, where there is a caller, theirs. Raises ``NotFound``."""
    row = (
        tx.one("apps.live_anywhere", app_id=app_id)
        if caller is None
        else tx.one("apps.live_by_id", app_id=app_id, org_id=caller.org_id)
    )
    if row is None:
        raise NotFound("App", app_id)
