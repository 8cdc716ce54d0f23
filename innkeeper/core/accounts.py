"""Who calls, and what they may do: scopes, roles, tokens (behaviour.md 7)."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from innkeeper.core.errors import MissingScope

SCOPES = (
    "billing:read-write",
    "builds:read",
    "builds:read-write",
    "deployments:read",
    "deployments:read-write",
    "applications:read",
    "applications:read-write",
    "processes:read",
    "processes:read-write",
    "fleets:read",
    "fleets:read-write",
    "orgs:read",
    "orgs:read-write",
    "tokens:read",
    "tokens:read-write",
    "tickets:read",
    "tickets:read-write",
    "load-balancer:access",
)
ADMIN_SCOPES = frozenset(SCOPES)

TokenStatus = Literal["active", "revoked"]


def held(scopes: frozenset[str], needed: str) -> bool:
    """Whether ``scopes`` allow what ``needed`` allows: read-write includes read (behaviour.md 7.3)."""
    return needed in scopes or (needed.endswith(":read") and f"{needed}-write" in scopes)


@dataclass(frozen=True, slots=True)
class User:
    """A person, who holds tokens of their own; their ``scopes`` differ from organization to organization."""

    user_id: str
    email: str


@dataclass(frozen=True, slots=True)
class Caller:
    """The holder of a valid token, in the one organization that the call is about.

    ``org_token_id`` is the token's id; ``user`` is there where it is a person's, and ``org_id`` is empty
    for one who belongs to no organization. ``calls_per_second`` is the token's own limit: 0 for none,
    ``None`` where the installation's setting holds.
    """

    org_id: str
    org_token_id: str
    scopes: frozenset[str]
    user: User | None = None
    calls_per_second: int | None = None

    def require(self, scope: str) -> None:
        """Raise :class:`MissingScope` unless the caller holds ``scope``."""
        if not held(self.scopes, scope):
            raise MissingScope(scope)

    @property
    def name(self) -> str:
        """What ``createdBy`` and ``deletedBy`` show: a user's address; an org token has none."""
        return self.org_token_id if self.user is None else self.user.email


@dataclass(frozen=True, slots=True)
class OrgToken:
    """A token as it is listed. The plain text is not kept; its hash never leaves the store.

    ``scopes`` is ``None`` for an admin token; ``calls_per_second`` is as :class:`Caller` has it.
    """

    org_token_id: str
    org_id: str
    name: str
    last_four: str
    scopes: tuple[str, ...] | None
    status: TokenStatus
    created_by: str
    created_at: datetime
    calls_per_second: int | None


@dataclass(frozen=True, slots=True)
class Org:
    """An organization. Limits that are ``None`` are not set (behaviour.md 8.5)."""

    org_id: str
    name: str
    max_requested_memory_mb: int
    log_retention_hours: int | None
    concurrent_vcpus_limit: float | None
    created_at: datetime
    default_fleet_id: str | None = None
    monthly_vcpu_hours_limit: float | None = None
