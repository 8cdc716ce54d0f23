"""Members and invites of an organization (behaviour.md 7.4). An invite waits for the user of its address."""

import json
from dataclasses import dataclass
from datetime import datetime

from innkeeper.core.accounts import ADMIN_SCOPES, Caller, User
from innkeeper.core.errors import Exhausted, Invalid, NotFound
from innkeeper.core.moments import from_ms, maybe_from_ms, to_ms
from innkeeper.core.people import (
    Grant,
    Invite,
    Member,
    checked_email,
    is_admin,
    require_change,
)
from innkeeper.interfaces import Context, Row, Tx
from innkeeper.usecases import orgs

# Members and invites of one organization together: the lists have no pages.
PEOPLE_MAX = 1000
_FULL_RETRY_S = 3600
_NOTHING: Grant = ()


@dataclass(frozen=True, slots=True)
class Invitation:
    """Whom to invite, or whose scopes to change, and what they may do."""

    org_id: str
    email: str
    grant: Grant


def list_members(tx: Tx, caller: Caller, org_id: str, context: Context) -> list[Member]:
    """The org's members, the longest first. Raises :class:`NotFound` for another org."""
    orgs.require_own_org(caller, org_id)
    return [_member(row) for row in tx.all("members.of_org", org_id=org_id)]


def list_invites(tx: Tx, caller: Caller, org_id: str, context: Context) -> list[Invite]:
    """The org's pending invites, newest first. Raises :class:`NotFound` for another org."""
    orgs.require_own_org(caller, org_id)
    return [_invite(row) for row in tx.all("members.invites_of_org", org_id=org_id)]


def list_own_invites(tx: Tx, caller: Caller, wanted: None, context: Context) -> list[Invite]:
    """The pending invites to the caller; none to an org token, which has no address."""
    if caller.user is None:
        return []
    return [_invite(row) for row in tx.all("members.invites_of_email", email=caller.user.email)]


def invite(tx: Tx, caller: Caller, wanted: Invitation, context: Context) -> Invite:
    """Invite an address; again replaces the scopes of the invite that is pending.

    Raises :class:`NotFound` for another org, :class:`Invalid` for an address that is none or a member's,
    :class:`~innkeeper.core.errors.MissingScope` for scopes that the caller does not hold itself,
    :class:`Exhausted` where the org has too many people.
    """
    orgs.require_own_org(caller, wanted.org_id)
    email = checked_email("body.userEmail", wanted.email)
    _check_scopes(wanted.grant)
    at = {"org_id": wanted.org_id, "email": email}
    if tx.one("members.by_email", **at) is not None:
        raise Invalid(
            "body.userEmail", f'is a member already: "{email}"; change the scopes instead'
        )
    pending = tx.one("members.invite_by_email", **at)
    require_change(caller, _NOTHING if pending is None else _grant(pending), wanted.grant)
    if pending is None:
        _check_room(tx, wanted.org_id)
    tx.run(
        "members.put_invite",
        **at,
        scopes=json.dumps(wanted.grant),
        invited_by=caller.name,
        created_at=to_ms(context.now),
    )
    row = tx.one("members.invite_by_email", **at)
    assert row is not None
    return _invite(row)


def change_scopes(tx: Tx, caller: Caller, wanted: Invitation, context: Context) -> None:
    """Change what a member, or the invited, may do.

    Raises as :func:`invite`; :class:`Invalid` also for somebody who is neither, and where no admin
    would be left.
    """
    orgs.require_own_org(caller, wanted.org_id)
    email = checked_email("body.userEmail", wanted.email)
    _check_scopes(wanted.grant)
    at = {"org_id": wanted.org_id, "email": email}
    member = tx.one("members.by_email", **at)
    found = member or tx.one("members.invite_by_email", **at)
    if found is None:
        raise Invalid("body.userEmail", f'is neither a member nor invited: "{email}"')
    require_change(caller, _grant(found), wanted.grant)
    scopes = json.dumps(wanted.grant)
    if member is None:
        tx.run("members.set_invite_scopes", **at, scopes=scopes)
        return
    if not is_admin(wanted.grant):
        _check_admin_left(
            tx, member, "body.scopes", "would leave the organization without an admin"
        )
    tx.run("members.set_scopes", org_id=wanted.org_id, user_id=member["user_id"], scopes=scopes)


def rescind(tx: Tx, caller: Caller, wanted: tuple[str, str], context: Context) -> None:
    """Take back a pending invite, or remove a member; ``wanted`` is (org id, address).

    Raises :class:`NotFound` where there is neither, :class:`Invalid` for the last admin.
    """
    org_id, email = wanted
    orgs.require_own_org(caller, org_id)
    at = {"org_id": org_id, "email": email.lower()}
    if tx.run("members.delete_invite", **at):
        return
    member = tx.one("members.by_email", **at)
    if member is None:
        raise NotFound("Invite", email)
    _check_admin_left(tx, member, "body.userEmail", "is the organization's last admin")
    tx.run("members.delete", org_id=org_id, user_id=member["user_id"])


def accept(tx: Tx, caller: Caller, org_id: str, context: Context) -> None:
    """Join the org that invited the caller. Raises :class:`NotFound` where it did not."""
    user, pending = _own_invite(tx, caller, org_id)
    invited_at = from_ms(pending["created_at"])
    grant = _grant(pending)
    add(tx, org_id, user.user_id, grant, pending["invited_by"], invited_at, context)
    tx.run("members.delete_invite", org_id=org_id, email=user.email)


def reject(tx: Tx, caller: Caller, org_id: str, context: Context) -> None:
    """Decline the org's invite. Raises :class:`NotFound` where there is none."""
    user, _ = _own_invite(tx, caller, org_id)
    tx.run("members.delete_invite", org_id=org_id, email=user.email)


def add(
    tx: Tx,
    org_id: str,
    user_id: str,
    grant: Grant,
    invited_by: str,
    invited_at: datetime,
    context: Context,
) -> None:
    """The user belongs to the org from now on."""
    tx.run(
        "members.insert",
        org_id=org_id,
        user_id=user_id,
        scopes=json.dumps(grant),
        invited_by=invited_by,
        invited_at=to_ms(invited_at),
        joined_at=to_ms(context.now),
    )


def memberships(tx: Tx, user_id: str) -> list[tuple[str, Grant]]:
    """The orgs that a user belongs to, the longest first, and what they may do there."""
    return [(row["org_id"], _grant(row)) for row in tx.all("members.of_user", user_id=user_id)]


def _own_invite(tx: Tx, caller: Caller, org_id: str) -> tuple[User, Row]:
    # One answer to all: whether the organization exists is nobody's business but its own.
    if caller.user is not None:
        pending = tx.one("members.invite_by_email", org_id=org_id, email=caller.user.email)
        if pending is not None:
            return caller.user, pending
    raise NotFound("Invite", org_id)


def _check_scopes(grant: Grant) -> None:
    for index, scope in enumerate(() if isinstance(grant, str) else grant):
        if scope not in ADMIN_SCOPES:
            raise Invalid(f"body.scopes[{index}]", f'is not a scope: "{scope}"')


def _check_room(tx: Tx, org_id: str) -> None:
    counted = tx.one("members.people", org_id=org_id)
    if counted is not None and counted["count"] >= PEOPLE_MAX:
        raise Exhausted(f"The organization has {PEOPLE_MAX} members and invites", _FULL_RETRY_S)


def _check_admin_left(tx: Tx, member: Row, field: str, problem: str) -> None:
    """Behaviour.md 7.4: the last admin cannot be removed or demoted."""
    if not is_admin(_grant(member)):
        return
    others = tx.all("members.other_scopes", org_id=member["org_id"], user_id=member["user_id"])
    if not any(is_admin(_grant(row)) for row in others):
        raise Invalid(field, problem)


def _grant(row: Row) -> Grant:
    decoded = json.loads(row["scopes"])
    return tuple(decoded) if isinstance(decoded, list) else decoded


def _member(row: Row) -> Member:
    return Member(
        org_id=row["org_id"],
        email=row["email"],
        grant=_grant(row),
        invited_by=row["invited_by"],
        invited_at=from_ms(row["invited_at"]),
        joined_at=from_ms(row["joined_at"]),
        last_login=maybe_from_ms(row["last_login"]),
    )


def _invite(row: Row) -> Invite:
    return Invite(
        org_id=row["org_id"],
        email=row["email"],
        grant=_grant(row),
        invited_by=row["invited_by"],
        created_at=from_ms(row["created_at"]),
    )
