"""Org tokens: made, listed, revoked, and recognized (behaviour.md 7.2, 7.3).

Only hashes are kept.
"""

import hashlib
import hmac
import json
from dataclasses import dataclass

from innkeeper.core.accounts import ADMIN_SCOPES, SCOPES, Caller, OrgToken
from innkeeper.core.errors import Invalid, NotFound, Unauthenticated
from innkeeper.core.moments import from_ms, to_ms
from innkeeper.interfaces import Context, Row, Tx
from innkeeper.usecases import orgs

NAME_LENGTH_MAX = 64
# The preset of INNKEEPER_ADMIN_TOKEN goes by this name.
ADMIN_TOKEN_NAME = "innkeeper-admin"  # noqa: S105 (a name, not a secret)
# Longer texts are no tokens of ours, and are not hashed.
PLAIN_LENGTH_MAX = 1024
CALLS_PER_SECOND_MAX = 1_000_000


@dataclass(frozen=True, slots=True)
class NewToken:
    """What creates a token. ``scopes`` is ``None`` for an admin token."""

    org_id: str
    name: str
    scopes: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class TokenRate:
    """What limits a token: calls in a second, 0 for no limit, ``None`` for the installation's setting."""

    org_token_id: str
    calls_per_second: int | None


@dataclass(frozen=True, slots=True)
class MadeToken:
    """A token with its plain text, which nobody can show again."""

    token: OrgToken
    plain_text: str


def token_hash(text: str) -> str:
    """What is kept of a token: SHA-256, hex.

    The plain text carries 256 random bits, so no salt is needed.
    """
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def authenticate(tx: Tx, text: str) -> Caller:
    """Whose token this is.

    Raises :class:`Unauthenticated` where it is unknown or revoked, with one message.
    """
    hashed = token_hash(text) if len(text) <= PLAIN_LENGTH_MAX else ""
    row = tx.one("tokens.by_hash", token_hash=hashed)
    if (
        row is None
        or not hmac.compare_digest(row["token_hash"], hashed)
        or row["status"] != "active"
    ):
        raise Unauthenticated("Invalid token")
    scopes = row["scopes"]
    return Caller(
        org_id=row["org_id"],
        org_token_id=row["org_token_id"],
        scopes=ADMIN_SCOPES if scopes is None else frozenset(json.loads(scopes)),
        calls_per_second=row["calls_per_second"],
    )


def create_token(tx: Tx, caller: Caller, wanted: NewToken, context: Context) -> MadeToken:
    """Make a token (behaviour.md 7.3).

    Raises :class:`NotFound` for another org, :class:`Invalid` for a bad or used name or an unknown
    scope, and :class:`MissingScope` for a scope that the caller does not hold itself.
    """
    orgs.require_own_org(caller, wanted.org_id)
    _check_name(wanted.name)
    for index, scope in enumerate(wanted.scopes or ()):
        if scope not in ADMIN_SCOPES:
            raise Invalid(f"body.scopes[{index}]", f'is not a scope: "{scope}"')
    for scope in SCOPES if wanted.scopes is None else wanted.scopes:
        caller.require(scope)
    if tx.one("tokens.by_name", org_id=caller.org_id, name=wanted.name) is not None:
        raise Invalid("body.name", f'is already used by another token: "{wanted.name}"')
    plain_text = context.ids.org_token()
    scopes = None if wanted.scopes is None else tuple(dict.fromkeys(wanted.scopes))
    token_id = _insert(tx, caller.org_id, wanted.name, scopes, plain_text, caller.name, context)
    return MadeToken(_require(tx, caller.org_id, token_id), plain_text)


def list_tokens(tx: Tx, caller: Caller, org_id: str, context: Context) -> list[OrgToken]:
    """The org's tokens, revoked ones too, newest first.

    Raises :class:`NotFound` for another org.
    """
    orgs.require_own_org(caller, org_id)
    return [token_from(row) for row in tx.all("tokens.of_org", org_id=caller.org_id)]


def revoke_token(tx: Tx, caller: Caller, wanted: tuple[str, str], context: Context) -> None:
    """Stop a token from working, at once and for good; nothing where it is revoked already.

    ``wanted`` is the org's id and the token's. Raises :class:`NotFound` for another org and for an
    unknown token (behaviour.md 1.3).
    """
    org_id, org_token_id = wanted
    orgs.require_own_org(caller, org_id)
    token = _require(tx, caller.org_id, org_token_id)
    if token.status == "active":
        tx.run("tokens.mark_revoked", org_token_id=token.org_token_id)


def limit_token(tx: Tx, caller: Caller, wanted: TokenRate, context: Context) -> OrgToken:
    """Set how often a token of the caller's org may call, from its next call on.

    Raises :class:`Invalid` for a rate out of bounds, and :class:`NotFound` for a token that is unknown
    or another org's.
    """
    rate = wanted.calls_per_second
    if rate is not None and not 0 <= rate <= CALLS_PER_SECOND_MAX:
        raise Invalid("body.callsPerSecond", f"must be between 0 and {CALLS_PER_SECOND_MAX}")
    token = _require(tx, caller.org_id, wanted.org_token_id)
    tx.run("tokens.set_rate", org_token_id=token.org_token_id, calls_per_second=rate)
    return _require(tx, caller.org_id, token.org_token_id)


def preset_admin_token(tx: Tx, org_id: str, plain_text: str, context: Context) -> None:
    """Make ``plain_text`` the installation's admin token; a former preset stops working.

    Raises :class:`Invalid` where it is too short or not printable, or the text of another token.
    """
    printable = (
        plain_text.isascii() and plain_text.isprintable() and plain_text == plain_text.strip()
    )
    if not printable or not 16 <= len(plain_text) <= PLAIN_LENGTH_MAX:
        # A header carries no more than that, and loses the spaces around it.
        raise Invalid("INNKEEPER_ADMIN_TOKEN", "must have 16 or more printable ASCII characters")
    hashed = token_hash(plain_text)
    row = tx.one("tokens.by_name", org_id=org_id, name=ADMIN_TOKEN_NAME)
    holder = tx.one("tokens.by_hash", token_hash=hashed)
    if holder is not None and (row is None or holder["org_token_id"] != row["org_token_id"]):
        raise Invalid("INNKEEPER_ADMIN_TOKEN", "is the text of another token of this installation")
    if row is None:
        _insert(tx, org_id, ADMIN_TOKEN_NAME, None, plain_text, "innkeeper", context)
        return
    tx.run(
        "tokens.replace_secret",
        org_token_id=row["org_token_id"],
        token_hash=hashed,
        last_four=plain_text[-4:],
    )


def token_from(row: Row) -> OrgToken:
    """The token in a row of the table, without its hash."""
    scopes = row["scopes"]
    return OrgToken(
        org_token_id=row["org_token_id"],
        org_id=row["org_id"],
        name=row["name"],
        last_four=row["last_four"],
        scopes=None if scopes is None else tuple(json.loads(scopes)),
        status=row["status"],
        created_by=row["created_by"],
        created_at=from_ms(row["created_at"]),
        calls_per_second=row["calls_per_second"],
    )


def _insert(
    tx: Tx,
    org_id: str,
    name: str,
    scopes: tuple[str, ...] | None,
    plain_text: str,
    created_by: str,
    context: Context,
) -> str:
    token_id = context.ids.prefixed("org-token")
    tx.run(
        "tokens.insert",
        org_token_id=token_id,
        org_id=org_id,
        name=name,
        token_hash=token_hash(plain_text),
        last_four=plain_text[-4:],
        scopes=None if scopes is None else json.dumps(scopes),
        created_by=created_by,
        created_at=to_ms(context.now),
    )
    return token_id


def _require(tx: Tx, org_id: str, org_token_id: str) -> OrgToken:
    row = tx.one("tokens.by_id", org_id=org_id, org_token_id=org_token_id)
    if row is None:
        raise NotFound("Token", org_token_id)
    return token_from(row)


def _check_name(name: str) -> None:
    if not 1 <= len(name) <= NAME_LENGTH_MAX:
        raise Invalid("body.name", f"must have 1 to {NAME_LENGTH_MAX} characters")
    if "\0" in name:
        raise Invalid("body.name", "must not hold a NUL character")
