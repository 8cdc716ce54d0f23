"""The organization: who owns apps, builds and tokens (behaviour.md 1.1, 8.5)."""

from innkeeper.core.accounts import SCOPES, Caller, Org, held
from innkeeper.core.errors import NotFound
from innkeeper.core.moments import from_ms, to_ms
from innkeeper.interfaces import Context, Row, Tx


def list_orgs(tx: Tx, caller: Caller, wanted: None, context: Context) -> list[Org]:
    """The organizations the caller belongs to: its token's."""
    return [require_org(tx, caller.org_id)]


def expanded_scopes(caller: Caller) -> list[str]:
    """The caller's scopes with what they include, in the contract's order (behaviour.md 8.5)."""
    return [scope for scope in SCOPES if held(caller.scopes, scope)]


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
    most = context.policy.memory_mb_max
    if row is None:
        org_id = context.ids.prefixed("org")
        tx.run(
            "orgs.insert",
            org_id=org_id,
            name="Innkeeper",
            max_requested_memory_mb=most,
            created_at=to_ms(context.now),
        )
        return require_org(tx, org_id)
    if row["max_requested_memory_mb"] != most:
        tx.run("orgs.set_memory_max", org_id=row["org_id"], max_requested_memory_mb=most)
    return require_org(tx, row["org_id"])


def org_from(row: Row) -> Org:
    """The organization in a row of the table."""
    return Org(
        org_id=row["org_id"],
        name=row["name"],
        max_requested_memory_mb=row["max_requested_memory_mb"],
        log_retention_hours=row["log_retention_hours"],
        concurrent_vcpus_limit=row["concurrent_vcpus_limit"],
        created_at=from_ms(row["created_at"]),
    )
