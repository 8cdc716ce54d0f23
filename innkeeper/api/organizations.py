"""OrganizationsV1, as far as a token needs it: shapes first, rows last (behaviour.md 8.5)."""

from msgspec import UNSET

from innkeeper.api import wire_generated as wire
from innkeeper.api.apps import read_nothing
from innkeeper.api.operation import Operation
from innkeeper.core.accounts import Caller, Org
from innkeeper.interfaces import Context, Tx
from innkeeper.usecases import orgs


def run_list(tx: Tx, caller: Caller, wanted: None, context: Context) -> tuple[list[Org], list[str]]:
    """The caller's orgs, and what the caller may do there."""
    return orgs.list_orgs(tx, caller, wanted, context), orgs.expanded_scopes(caller)


def write_orgs(answer: tuple[list[Org], list[str]]) -> wire.OrgsPage:
    """The orgs with the caller's scopes; limits that are not set are left out."""
    listed, scopes = answer
    return wire.OrgsPage(orgs=[_org(org, scopes) for org in listed])


def _org(org: Org, scopes: list[str]) -> wire.Organization:
    hours, vcpus = org.log_retention_hours, org.concurrent_vcpus_limit
    return wire.Organization(
        orgId=org.org_id,
        name=org.name,
        scopes=scopes,
        isSingleTenant=True,
        stripeCustomerId="",
        maxRequestedMemoryMB=org.max_requested_memory_mb,
        logRetentionPeriodHours=UNSET if hours is None else hours,
        concurrentProcessVcpusLimit=UNSET if vcpus is None else vcpus,
        defaultFleetId=None,
    )


OPERATIONS = (Operation("GetOrgs", read_nothing, run_list, write_orgs, "read", "orgs:read"),)
