"""OrganizationsV1: shapes first, rows last (behaviour.md 7.4, 8.5)."""

from msgspec import UNSET

from innkeeper.api import wire_generated as wire
from innkeeper.api.apps import read_nothing, write_nothing
from innkeeper.api.operation import ANY_CALLER, Operation
from innkeeper.api.request import Request
from innkeeper.api.tokens import read_org_id
from innkeeper.core.people import Grant, Invite, Member, expanded
from innkeeper.usecases import members, orgs
from innkeeper.usecases.members import Invitation
from innkeeper.usecases.orgs import OwnOrg

Scopes = str | list[str]


def read_invitation(request: Request) -> Invitation:
    """Whom to invite, or whose scopes to change; scopes that are absent are an admin's."""
    body: wire.CreateUserInvite | wire.UpdateUserInvite = request.body
    return Invitation(request.path["orgId"], body.userEmail, grant_of(body.scopes))


def grant_of(scopes: object) -> Grant:
    """A role, or scopes one by one; each of them once."""
    if scopes is UNSET:
        return "admin"
    return tuple(dict.fromkeys(scopes)) if isinstance(scopes, list) else scopes  # type: ignore[return-value]


def read_rescinded(request: Request) -> tuple[str, str]:
    """(org id, address)."""
    return request.path["orgId"], request.body.userEmail


def write_orgs(listed: list[OwnOrg]) -> wire.OrgsPage:
    """The orgs with the caller's scopes; limits that are not set are left out."""
    return wire.OrgsPage(orgs=[_org(own) for own in listed])


def _org(own: OwnOrg) -> wire.Organization:
    org = own.org
    hours, vcpus = org.log_retention_hours, org.concurrent_vcpus_limit
    monthly = org.monthly_vcpu_hours_limit
    return wire.Organization(
        orgId=org.org_id,
        name=org.name,
        scopes=list(expanded(own.scopes)),
        isSingleTenant=True,
        stripeCustomerId="",
        maxRequestedMemoryMB=org.max_requested_memory_mb,
        logRetentionPeriodHours=UNSET if hours is None else hours,
        concurrentProcessVcpusLimit=UNSET if vcpus is None else vcpus,
        monthlyProcessVcpuHoursLimit=UNSET if monthly is None else monthly,
        defaultFleetId=org.default_fleet_id,
    )


def _scopes(grant: Grant) -> Scopes:
    return grant if isinstance(grant, str) else list(grant)


def write_members(listed: list[Member]) -> wire.OrgMembersPage:
    """The org's members."""
    return wire.OrgMembersPage(
        members=[
            wire.OrgMember(
                orgId=member.org_id,
                userEmail=member.email,
                scopes=_scopes(member.grant),
                invitedBy=member.invited_by,
                createdAt=member.invited_at,
                joinedAt=member.joined_at,
                lastLogin=UNSET if member.last_login is None else member.last_login,
            )
            for member in listed
        ]
    )


def write_invite(invite: Invite) -> wire.PendingOrgInvite:
    """An invite that waits."""
    return wire.PendingOrgInvite(
        orgId=invite.org_id,
        userEmail=invite.email,
        scopes=_scopes(invite.grant),
        invitedBy=invite.invited_by,
        createdAt=invite.created_at,
    )


def write_invites(listed: list[Invite]) -> wire.PendingOrgInvitesPage:
    """Invites that wait."""
    return wire.PendingOrgInvitesPage(invites=[write_invite(invite) for invite in listed])


def write_changed(_: None) -> bool:
    """The scopes are what was asked for."""
    return True


_READ, _WRITE = "orgs:read", "orgs:read-write"

OPERATIONS = (
    # A user may belong to several organizations, with other scopes in each.
    Operation("GetOrgs", read_nothing, orgs.list_orgs, write_orgs, "read", ANY_CALLER),
    Operation("GetOrgMembers", read_org_id, members.list_members, write_members, "read", _READ),
    Operation(
        "GetOrgPendingInvites", read_org_id, members.list_invites, write_invites, "read", _READ
    ),
    Operation("InviteUser", read_invitation, members.invite, write_invite, scope=_WRITE),
    Operation(
        "UpdateUserInvite", read_invitation, members.change_scopes, write_changed, scope=_WRITE
    ),
    Operation("RescindInvite", read_rescinded, members.rescind, write_nothing, scope=_WRITE),
    Operation(
        "GetUserPendingInvites",
        read_nothing,
        members.list_own_invites,
        write_invites,
        "read",
        ANY_CALLER,
    ),
    Operation("AcceptInvite", read_org_id, members.accept, write_nothing, scope=ANY_CALLER),
    Operation("RejectInvite", read_org_id, members.reject, write_nothing, scope=ANY_CALLER),
)
