"""People: users, and what they may do in organizations as members or once they accept an invite.

Behaviour.md 7.3 and 7.4. Org tokens are in ``accounts.py``.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from innkeeper.core.accounts import ADMIN_SCOPES, SCOPES, Caller, TokenStatus, held
from innkeeper.core.errors import Invalid

Role = Literal["admin", "member", "viewer"]
# What a membership or an invite gives: a role, or scopes one by one.
Grant = Role | tuple[str, ...]

ROLES: Mapping[str, frozenset[str]] = {
    "admin": ADMIN_SCOPES,
    "member": frozenset(
        (
            "builds:read-write",
            "deployments:read-write",
            "applications:read-write",
            "processes:read-write",
            "fleets:read-write",
            "tickets:read-write",
            "orgs:read",
            "tokens:read-write",
            "load-balancer:access",
        )
    ),
    "viewer": frozenset(scope for scope in SCOPES if scope.endswith(":read")),
}

EMAIL_LENGTH_MAX = 254
_EMAIL = re.compile(r"[^\s@\x00-\x20\x7f]+@[^\s@\x00-\x20\x7f]+")


@dataclass(frozen=True, slots=True)
class UserRecord:
    """A person, as operators see one. ``email`` is in lower case, and one person's only."""

    user_id: str
    email: str
    created_at: datetime
    created_by: str
    tokens: tuple["UserToken", ...] = ()


@dataclass(frozen=True, slots=True)
class UserToken:
    """A user's token as it is listed. The plain text is not kept."""

    user_token_id: str
    last_four: str
    status: TokenStatus
    created_at: datetime
    created_by: str


@dataclass(frozen=True, slots=True)
class Member:
    """A user who belongs to an organization. ``last_login``: when they were last given a token."""

    org_id: str
    email: str
    grant: Grant
    invited_by: str
    invited_at: datetime
    joined_at: datetime
    last_login: datetime | None


@dataclass(frozen=True, slots=True)
class Invite:
    """An invite that waits for its answer."""

    org_id: str
    email: str
    grant: Grant
    invited_by: str
    created_at: datetime


def scopes_of(grant: Grant) -> frozenset[str]:
    """The scopes that a grant stands for."""
    return ROLES[grant] if isinstance(grant, str) else frozenset(grant)


def is_admin(grant: Grant) -> bool:
    """Whether nothing is withheld."""
    return len(expanded(scopes_of(grant))) == len(SCOPES)


def expanded(scopes: frozenset[str]) -> tuple[str, ...]:
    """``scopes`` with what they include, in the contract's order."""
    return tuple(scope for scope in SCOPES if held(scopes, scope))


def require_change(caller: Caller, before: Grant, after: Grant) -> None:
    """Only scopes that the caller holds may be added or removed (behaviour.md 7.4).

    Raises :class:`~innkeeper.core.errors.MissingScope`.
    """
    changed = set(expanded(scopes_of(before))) ^ set(expanded(scopes_of(after)))
    for scope in SCOPES:
        if scope in changed:
            caller.require(scope)


def checked_email(field: str, text: str) -> str:
    """An address in lower case, so that it is one person's however it is written.

    Raises :class:`Invalid` for what cannot be an address.
    """
    if len(text) > EMAIL_LENGTH_MAX or not _EMAIL.fullmatch(text):
        raise Invalid(field, f"must be an e-mail address of at most {EMAIL_LENGTH_MAX} characters")
    return text.lower()
