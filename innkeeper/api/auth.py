"""Who calls: tokens to callers (behaviour.md 7.2, 7.3). The only place that reads the Authorization header.

Player tokens (7.1) will be a second entry beside ``org_caller``, for operations whose security is ``player``.
"""

import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any

from innkeeper.api.request import RawHeaders
from innkeeper.core.accounts import ADMIN_SCOPES, Caller
from innkeeper.core.errors import NotFound, Unauthenticated
from innkeeper.interfaces import Tx

TOKEN_BYTES_MAX = 4096


def token_of(headers: RawHeaders) -> str:
    """The token of ``Authorization: Bearer X`` or ``Authorization: X``. Raises ``Unauthenticated``."""
    for name, value in headers:
        if name == b"authorization":
            if len(value) > TOKEN_BYTES_MAX:
                break
            text = value.decode("latin-1").strip()
            scheme, _, rest = text.partition(" ")
            token = rest.strip() if scheme.lower() == "bearer" else text
            if token and token.isascii():
                return token
            break
    raise Unauthenticated("Missing or malformed token: send Authorization: Bearer <token>")


def token_hash(token: str) -> str:
    """What the store keeps of a token: SHA-256 in hex. Slow hashing would add nothing to 256 random bits."""
    return hashlib.sha256(token.encode()).hexdigest()


def org_caller(tx: Tx, token: str) -> Caller:
    """The caller who holds an org token. Raises ``Unauthenticated``."""
    wanted = token_hash(token)
    row = tx.one("tokens.by_hash", token_hash=wanted)
    # Looked up by the hash: what an index lookup's time tells is of the hash, not of the token.
    if (
        row is None
        or not hmac.compare_digest(row["token_hash"], wanted)
        or row["status"] != "active"
    ):
        raise Unauthenticated("Invalid token")
    scopes = ADMIN_SCOPES if row["scopes"] is None else frozenset(json.loads(row["scopes"]))
    return Caller(row["org_id"], row["org_token_id"], scopes)


def check_org(caller: Caller, path: Mapping[str, Any], query: Mapping[str, Any]) -> None:
    """An org that is named must be the caller's: others do not exist for it (behaviour.md 0.3, 7.2)."""
    for place in (path, query):
        named = place.get("orgId", caller.org_id)
        if named != caller.org_id:
            raise NotFound("Organization", named)


def check_app(tx: Tx, app_id: str, caller: Caller | None) -> None:
    """The app must be alive and, where there is a caller, theirs. Raises ``NotFound``."""
    row = (
        tx.one("apps.live_anywhere", app_id=app_id)
        if caller is None
        else tx.one("apps.live_by_id", app_id=app_id, org_id=caller.org_id)
    )
    if row is None:
        raise NotFound("App", app_id)
