"""Checks Google's id tokens, or another issuer's that speaks OpenID Connect (behaviour.md 7.1)."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import jwt

from innkeeper.core.errors import Unauthenticated
from innkeeper.core.players import PLAYER_ID_LENGTH_MAX, GoogleIdentity, check_period
from innkeeper.identity.key_set import KeySet

_ALGORITHM = (
    "RS256"  # of public keys only: a set of keys must never verify a shared secret's signature
)
_TOKEN_LENGTH_MAX = 16 * 1024
# The period is checked by our clock, the issuer in both its forms.
_OPTIONS: Any = {
    "require": ["exp", "aud", "iss", "sub"],
    "verify_aud": True,
    "verify_exp": False,
    "verify_nbf": False,
    "verify_iat": False,
    "verify_iss": False,
}


class OidcGoogle:
    """See :class:`~innkeeper.interfaces.GoogleIdentities`."""

    def __init__(self, keys: KeySet, issuer: str) -> None:
        self._keys = keys
        # Google writes it with the scheme or without.
        self._issuers = (issuer, issuer.partition("://")[2] or issuer)

    async def identity(self, id_token: str, client_id: str, now: datetime) -> GoogleIdentity:
        """See :class:`~innkeeper.interfaces.GoogleIdentities`."""
        if len(id_token) > _TOKEN_LENGTH_MAX:
            raise Unauthenticated("Invalid idToken: it is too long")
        key = await self._keys.key(_key_id(id_token))
        if key is None:
            raise Unauthenticated("Invalid idToken: it is signed with an unknown key")
        claims = _claims(id_token, key, client_id)
        if claims["iss"] not in self._issuers:
            raise Unauthenticated("Invalid idToken: another issuer made it")
        check_period(claims, now)
        subject = claims["sub"]
        if not isinstance(subject, str) or not 1 <= len(subject) <= PLAYER_ID_LENGTH_MAX:
            raise Unauthenticated("Invalid idToken: its sub is not a text")
        return GoogleIdentity(subject, _text(claims, "email"), _text(claims, "name"))


def _key_id(id_token: str) -> str | None:
    try:
        key_id = jwt.get_unverified_header(id_token).get("kid")
    except (jwt.PyJWTError, ValueError, RecursionError):
        raise Unauthenticated("Invalid idToken: it is not a JSON Web Token") from None
    return None if key_id is None else str(key_id)


def _claims(id_token: str, key: jwt.PyJWK, client_id: str) -> Mapping[str, Any]:
    try:
        claims: Mapping[str, Any] = jwt.decode(
            id_token, key, algorithms=[_ALGORITHM], audience=client_id, options=_OPTIONS
        )
    except jwt.InvalidAudienceError:
        raise Unauthenticated("Invalid idToken: it was made for another client") from None
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
        raise Unauthenticated("Invalid idToken") from None
    return claims


def _text(claims: Mapping[str, Any], claim: str) -> str | None:
    value = claims.get(claim)
    return value if isinstance(value, str) else None
