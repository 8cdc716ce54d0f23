"""The organization: who owns apps, builds and tokens (behaviour.md 1.1, 8.5)."""

from dataclasses import dataclass, replace

from innkeeper.core.accounts import Caller, Org, held
from innkeeper.core.errors import Exhausted, Invalid, MissingScope, NotFound
from innkeeper.core.moments import from_ms, to_ms
from innkeeper.core.people import scopes_of
from innkeeper.interfaces import Context, Row, Tx
from innkeeper.usecases import fleets, members

ORGS_MAX = 10_000
NAME_LENGTH_MAX = 64


@dataclass(frozen=True, slots=True)
class OwnOrg:
    """An organization with what the caller may do there."""

    org: Org
    scopes: frozenset[str]


def list_orgs(tx: Tx, caller: Caller, wanted: None, context: Context) -> list[OwnOrg]:
    """The organizations the caller belongs to and may see, the longest first: a token's own one.

    A user without any gets an empty list. Raises :class:`MissingScope` where none may be seen.
    """
    if caller.user is None:
        theirs = [(caller.org_id, caller.scopes)]
    else:
        found = members.memberships(tx, caller.user.user_id)
        theirs = [(org_id, scopes_of(grant)) for org_id, grant in found]
    seen = [(org_id, scopes) for org_id, scopes in theirs if held(scopes, "orgs:read")]
    if theirs and not seen:
        raise MissingScope("orgs:read")
    return [OwnOrg(_limited(tx, org_id, context), scopes) for org_id, scopes in seen]


def _limited(tx: Tx, org_id: str, context: Context) -> Org:
    """The organization, with the installation's limit of a month where it has none of its own."""
    org = require_org(tx, org_id)
    if org.monthly_vcpu_hours_limit is not None:
        return org
    return replace(org, monthly_vcpu_hours_limit=context.policy.monthly_vcpu_hours_limit)


def require_own_org(caller: Caller, org_id: str | None) -> None:
    """Raise :class:`NotFound` where a call names an org other than its token's (0.3)."""
    if org_id is not None and org_id != caller.org_id:
        raise NotFound("Organization", org_id)


def require_org(tx: Tx, org_id: str) -> Org:
    """One organization. Raises :class:`NotFound`."""
    row = tx.one("orgs.by_id", org_id=org_id)
    if row is None:
        raise NotFound("Organization", org_id)
    return org_from(row)


def ensure_first_org(tx: Tx, context: Context) -> Org:
    """The installation's organization, made at the first start; its memory limit follows the
    settings.
    """
    row = tx.one("orgs.first")
    if row is None:
        org = create_org(tx, "Innkeeper", context)
        tx.run("orgs.make_operators", org_id=org.org_id)
        return org
    fleets.ensure_default(tx, row["org_id"], context)
    if row["max_requested_memory_mb"] != context.policy.memory_mb_max:
        most = context.policy.memory_mb_max
        tx.run("orgs.set_memory_max", org_id=row["org_id"], max_requested_memory_mb=most)
    return require_org(tx, row["org_id"])


def create_org(tx: Tx, name: str, context: Context) -> Org:
    """A new organization.

    Raises :class:`Invalid` for a bad name, :class:`Exhausted` where there are too many.
    """
    if not 1 <= len(name) <= NAME_LENGTH_MAX:
        raise Invalid("body.orgName", f"must have 1 to {NAME_LENGTH_MAX} characters")
    counted = tx.one("orgs.count")
    if counted is not None and counted["count"] >= ORGS_MAX:
        raise Exhausted(f"There are {ORGS_MAX} organizations, the most that may be", 3600)
    org_id = context.ids.prefixed("org")
    tx.run(
        "orgs.insert",
        org_id=org_id,
        name=name,
        max_requested_memory_mb=context.policy.memory_mb_max,
        created_at=to_ms(context.now),
    )
    fleets.ensure_default(tx, org_id, context)
    return require_org(tx, org_id)


def org_from(row: Row) -> Org:
    """The organization in a row of the table."""
    return Org(
        org_id=row["org_id"],
        name=row["name"],
        max_requested_memory_mb=row["max_requested_memory_mb"],
        log_retention_hours=row["log_retention_hours"],
        concurrent_vcpus_limit=row["concurrent_vcpus_limit"],
        created_at=from_ms(row["created_at"]),
        default_fleet_id=row["default_fleet_id"],
        monthly_vcpu_hours_limit=row["monthly_vcpu_hours_limit"],
    )
