"""Users: made by the operator, given tokens of their own, recognized (behaviour.md 7.2).

Beyond the contract, which has logins elsewhere. Only hashes of tokens are kept.
"""

import hmac
from dataclasses import dataclass, replace

from innkeeper.core.accounts import SCOPES, Caller, User
from innkeeper.core.errors import Exhausted, Invalid, NotFound, Unauthenticated
from innkeeper.core.moments import from_ms, to_ms
from innkeeper.core.people import UserRecord, UserToken, checked_email
from innkeeper.interfaces import Context, Row, Tx
from innkeeper.usecases import members, orgs
from innkeeper.usecases.tokens import token_hash

USERS_MAX = 10_000
ACTIVE_TOKENS_MAX = 50
_FULL_RETRY_S = 3600


@dataclass(frozen=True, slots=True)
class NewUser:
    """What makes a user. ``org_name`` makes an organization of their own, with them as its admin."""

    email: str
    org_name: str | None = None


@dataclass(frozen=True, slots=True)
class MadeUserToken:
    """A user's token with its plain text, which nobody can show again."""

    token: UserToken
    plain_text: str


def create_user(tx: Tx, caller: Caller, wanted: NewUser, context: Context) -> UserRecord:
    """Make a user, with an organization of their own where it is named.

    Raises :class:`Unauthenticated` unless the operator asks, :class:`Invalid` for an address that is
    none or taken, :class:`Exhausted` where there are too many.
    """
    _require_operator(tx, caller)
    email = checked_email("body.userEmail", wanted.email)
    if tx.one("users.by_email", email=email) is not None:
        raise Invalid("body.userEmail", f'is already a user\'s: "{email}"')
    counted = tx.one("users.count")
    if counted is not None and counted["count"] >= USERS_MAX:
        raise Exhausted(f"There are {USERS_MAX} users, the most that may be", _FULL_RETRY_S)
    user_id = context.ids.prefixed("user")
    tx.run(
        "users.insert",
        user_id=user_id,
        email=email,
        created_at=to_ms(context.now),
        created_by=caller.name,
    )
    if wanted.org_name is not None:
        org = orgs.create_org(tx, wanted.org_name, context)
        members.add(tx, org.org_id, user_id, "admin", caller.name, context.now, context)
    return _record(_require(tx, email))


def list_users(tx: Tx, caller: Caller, wanted: None, context: Context) -> list[UserRecord]:
    """Every user, by address, without their tokens. Raises :class:`Unauthenticated`."""
    _require_operator(tx, caller)
    return [_record(row) for row in tx.all("users.all")]


def get_user(tx: Tx, caller: Caller, email: str, context: Context) -> UserRecord:
    """A user with their tokens, newest first. Raises :class:`Unauthenticated`, :class:`NotFound`."""
    _require_operator(tx, caller)
    row = _require(tx, email)
    tokens = tuple(_token(each) for each in tx.all("users.tokens_of", user_id=row["user_id"]))
    return replace(_record(row), tokens=tokens)


def create_user_token(tx: Tx, caller: Caller, email: str, context: Context) -> MadeUserToken:
    """A token with which a user calls the API.

    Raises :class:`~innkeeper.core.errors.MissingScope` unless the caller holds every scope: nobody can
    tell what the user is, or will be, allowed. :class:`Unauthenticated`, :class:`NotFound`;
    :class:`Invalid` where too many tokens of theirs work already.
    """
    _require_operator(tx, caller)
    for scope in SCOPES:
        caller.require(scope)
    user_id = _require(tx, email)["user_id"]
    counted = tx.one("users.active_tokens", user_id=user_id)
    if counted is not None and counted["count"] >= ACTIVE_TOKENS_MAX:
        raise Invalid("path.userEmail", f"has {ACTIVE_TOKENS_MAX} tokens; revoke some first")
    tx.run("users.forget_revoked", user_id=user_id)
    plain_text = context.ids.user_token()
    token_id = context.ids.prefixed("user-token")
    tx.run(
        "users.insert_token",
        user_token_id=token_id,
        user_id=user_id,
        token_hash=token_hash(plain_text),
        last_four=plain_text[-4:],
        created_at=to_ms(context.now),
        created_by=caller.name,
    )
    row = tx.one("users.token_by_id", user_id=user_id, user_token_id=token_id)
    assert row is not None
    return MadeUserToken(_token(row), plain_text)


def revoke_user_token(
    tx: Tx, caller: Caller, wanted: tuple[str, str], context: Context
) -> UserToken:
    """Stop a user's token from working, at once and for good; again changes nothing.

    ``wanted`` is (address, token id). Raises :class:`Unauthenticated`, :class:`NotFound`.
    """
    _require_operator(tx, caller)
    email, token_id = wanted
    user_id = _require(tx, email)["user_id"]
    row = tx.one("users.token_by_id", user_id=user_id, user_token_id=token_id)
    if row is None:
        raise NotFound("Token", token_id)
    tx.run("users.revoke_token", user_token_id=token_id)
    return replace(_token(row), status="revoked")


def holder(tx: Tx, text: str) -> tuple[User, str] | None:
    """Whose token this is, and its id; ``None`` where it is no user's.

    Raises :class:`Unauthenticated` where it was revoked.
    """
    hashed = token_hash(text)
    row = tx.one("users.by_token_hash", token_hash=hashed)
    if row is None or not hmac.compare_digest(row["token_hash"], hashed):
        return None
    if row["status"] != "active":
        raise Unauthenticated("Invalid token")
    return User(row["user_id"], row["email"]), row["user_token_id"]


def email_of(tx: Tx, user_id: str) -> str | None:
    """The address of the user with this id, if there is one."""
    row = tx.one("users.by_id", user_id=user_id)
    return None if row is None else row["email"]


def _require_operator(tx: Tx, caller: Caller) -> None:
    """Users are the installation's: only its own organization, the first, may see and change them."""
    first = tx.one("orgs.first")
    if first is None or caller.org_id != first["org_id"]:
        raise Unauthenticated(
            "Only the installation's own organization may see and change its users"
        )


def _require(tx: Tx, email: str) -> Row:
    row = tx.one("users.by_email", email=email.lower())
    if row is None:
        raise NotFound("User", email)
    return row


def _record(row: Row) -> UserRecord:
    return UserRecord(
        user_id=row["user_id"],
        email=row["email"],
        created_at=from_ms(row["created_at"]),
        created_by=row["created_by"],
    )


def _token(row: Row) -> UserToken:
    return UserToken(
        user_token_id=row["user_token_id"],
        last_four=row["last_four"],
        status=row["status"],
        created_at=from_ms(row["created_at"]),
        created_by=row["created_by"],
    )
