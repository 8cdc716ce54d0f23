"""Members, invites and users (behaviour.md 7.2 to 7.4)."""

from typing import Any

import pytest

from innkeeper.core.accounts import ADMIN_SCOPES, SCOPES, Caller
from innkeeper.core.errors import Exhausted, Invalid, MissingScope, NotFound, Unauthenticated
from innkeeper.core.people import ROLES, expanded, is_admin, scopes_of
from innkeeper.usecases import apps, callers, members, orgs, users
from innkeeper.usecases.members import Invitation
from innkeeper.usecases.users import NewUser

ADA, BEN = "ada@studio.example", "ben@studio.example"


async def user(desk: Any, email: str = ADA, org_name: str | None = None) -> str:
    """A new user's token."""
    await desk.ask(users.create_user, NewUser(email, org_name))
    made = await desk.ask(users.create_user_token, email)
    return str(made.plain_text)


async def joined(desk: Any, email: str, grant: Any = "admin") -> str:
    """A new member's token."""
    token = await user(desk, email)
    await desk.ask(members.invite, Invitation(desk.caller.org_id, email, grant))
    await desk.ask(
        members.accept, desk.caller.org_id, caller=await desk.tx(callers.identify, token)
    )
    return token


def test_roles_stand_for_scopes() -> None:
    assert ROLES["admin"] == ADMIN_SCOPES
    assert expanded(ROLES["viewer"]) == tuple(s for s in SCOPES if s.endswith(":read"))
    withheld = set(SCOPES) - set(expanded(ROLES["member"]))
    assert withheld == {"billing:read-write", "orgs:read-write"}
    assert is_admin("admin")
    assert is_admin(SCOPES)
    assert is_admin(tuple(s for s in SCOPES if not s.endswith(":read")))
    assert not is_admin("member")
    assert scopes_of(("builds:read",)) == {"builds:read"}


async def test_a_user_is_one_address_however_it_is_written(desk: Any) -> None:
    token = await user(desk, "Ada@Studio.Example")
    caller = await desk.tx(callers.identify, token)
    assert (caller.user.email, caller.name) == (ADA, ADA)
    assert (caller.org_id, caller.scopes) == ("", frozenset())
    with pytest.raises(Invalid, match="already"):
        await desk.ask(users.create_user, NewUser(ADA))
    for text in ("", "ada", "@b", "a@", "a b@c", "a@b@c", "a@b\n", "a" * 250 + "@b.cd"):
        with pytest.raises(Invalid, match="userEmail"):
            await desk.ask(users.create_user, NewUser(text))


async def test_only_the_hash_of_a_users_token_is_kept_and_it_can_be_revoked(desk: Any) -> None:
    token = await user(desk)
    found = await desk.ask(users.get_user, "ADA@studio.example")
    assert [t.last_four for t in found.tokens] == [token[-4:]]
    assert token not in repr(found)
    wanted = (ADA, found.tokens[0].user_token_id)
    for _ in range(2):
        assert (await desk.ask(users.revoke_user_token, wanted)).status == "revoked"
    with pytest.raises(Unauthenticated):
        await desk.tx(callers.identify, token)
    with pytest.raises(Unauthenticated):
        await desk.tx(callers.identify, "innkeeper_user_" + "x" * 50)
    for unknown in ((ADA, "user-token-none"), (BEN, wanted[1])):
        with pytest.raises(NotFound):
            await desk.ask(users.revoke_user_token, unknown)


async def test_tokens_of_one_user_are_bounded(desk: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(users, "ACTIVE_TOKENS_MAX", 2)
    await user(desk)
    await desk.ask(users.create_user_token, ADA)
    with pytest.raises(Invalid, match="revoke"):
        await desk.ask(users.create_user_token, ADA)
    token = (await desk.ask(users.get_user, ADA)).tokens[0]
    await desk.ask(users.revoke_user_token, (ADA, token.user_token_id))
    await desk.ask(users.create_user_token, ADA)


async def test_only_the_operator_makes_users_and_only_an_admin_their_tokens(desk: Any) -> None:
    boss = await desk.tx(callers.identify, await user(desk, BEN, "Other studio"))
    assert boss.scopes == ADMIN_SCOPES
    for use_case, wanted in (
        (users.create_user, NewUser(ADA)),
        (users.list_users, None),
        (users.get_user, BEN),
        (users.create_user_token, BEN),
        (users.revoke_user_token, (BEN, "user-token-x")),
    ):
        with pytest.raises(Unauthenticated, match="own organization"):
            await desk.ask(use_case, wanted, caller=boss)
    few = desk.holding("orgs:read-write")
    await desk.ask(users.create_user, NewUser(ADA), caller=few)
    with pytest.raises(MissingScope):
        await desk.ask(users.create_user_token, ADA, caller=few)
    assert [u.email for u in await desk.ask(users.list_users, None)] == [ADA, BEN]


async def test_an_invite_is_accepted_by_its_user_only(desk: Any) -> None:
    org_id = desk.caller.org_id
    ada, ben = [await desk.tx(callers.identify, await user(desk, e)) for e in (ADA, BEN)]
    made = await desk.ask(members.invite, Invitation(org_id, "ADA@studio.example", "viewer"))
    assert (made.email, made.grant, made.invited_by) == (ADA, "viewer", desk.caller.name)
    assert await desk.ask(members.list_invites, org_id) == [made]
    assert await desk.ask(members.list_own_invites, None, caller=ada) == [made]
    assert await desk.ask(members.list_own_invites, None, caller=ben) == []
    assert await desk.ask(members.list_own_invites, None) == []
    for caller in (ben, desk.caller):
        for use_case in (members.accept, members.reject):
            with pytest.raises(NotFound):
                await desk.ask(use_case, org_id, caller=caller)
    await desk.ask(members.accept, org_id, caller=ada)
    (member,) = await desk.ask(members.list_members, org_id)
    assert (member.email, member.grant) == (ADA, "viewer")
    assert member.invited_at == made.created_at < member.joined_at
    assert member.last_login is not None
    assert await desk.ask(members.list_invites, org_id) == []
    with pytest.raises(NotFound):
        await desk.ask(members.accept, org_id, caller=ada)


async def test_a_rejected_and_a_rescinded_invite_are_gone(desk: Any) -> None:
    org_id = desk.caller.org_id
    ada = await desk.tx(callers.identify, await user(desk))
    wanted = Invitation(org_id, ADA, "member")
    await desk.ask(members.invite, wanted)
    await desk.ask(members.reject, org_id, caller=ada)
    with pytest.raises(NotFound):
        await desk.ask(members.rescind, (org_id, ADA))
    await desk.ask(members.invite, wanted)
    await desk.ask(members.rescind, (org_id, "Ada@Studio.example"))
    with pytest.raises(NotFound):
        await desk.ask(members.accept, org_id, caller=ada)
    assert await desk.ask(members.list_members, org_id) == []


async def test_inviting_again_replaces_the_scopes(desk: Any) -> None:
    org_id = desk.caller.org_id
    first = await desk.ask(members.invite, Invitation(org_id, ADA, "member"))
    again = await desk.ask(members.invite, Invitation(org_id, ADA, ("builds:read",)))
    assert again.grant == ("builds:read",)
    assert again.created_at == first.created_at
    await desk.ask(members.change_scopes, Invitation(org_id, ADA, "viewer"))
    (left,) = await desk.ask(members.list_invites, org_id)
    assert left.grant == "viewer"


async def test_only_scopes_that_are_held_are_given_or_taken(desk: Any) -> None:
    org_id = desk.caller.org_id
    clerk = desk.holding("orgs:read-write", "builds:read-write")
    for grant in ("admin", "viewer", ("builds:read", "fleets:read")):
        with pytest.raises(MissingScope):
            await desk.ask(members.invite, Invitation(org_id, ADA, grant), caller=clerk)
    await desk.ask(members.invite, Invitation(org_id, ADA, ("builds:read",)), caller=clerk)
    more = Invitation(org_id, ADA, ("builds:read-write", "orgs:read"))
    await desk.ask(members.change_scopes, more, caller=clerk)
    await desk.ask(members.change_scopes, Invitation(org_id, ADA, "admin"))
    for use_case in (members.change_scopes, members.invite):
        with pytest.raises(MissingScope):
            await desk.ask(use_case, Invitation(org_id, ADA, ("builds:read",)), caller=clerk)


async def test_the_last_admin_stays_one(desk: Any) -> None:
    org_id = desk.caller.org_id
    await joined(desk, ADA)
    await joined(desk, BEN, "member")
    with pytest.raises(Invalid, match="admin"):
        await desk.ask(members.rescind, (org_id, ADA))
    for grant in ("member", SCOPES[:5]):
        with pytest.raises(Invalid, match="admin"):
            await desk.ask(members.change_scopes, Invitation(org_id, ADA, grant))
    await desk.ask(members.change_scopes, Invitation(org_id, ADA, SCOPES))
    await desk.ask(members.change_scopes, Invitation(org_id, BEN, "admin"))
    await desk.ask(members.change_scopes, Invitation(org_id, ADA, "viewer"))
    await desk.ask(members.rescind, (org_id, ADA))
    with pytest.raises(Invalid):
        await desk.ask(members.rescind, (org_id, BEN))
    assert [m.email for m in await desk.ask(members.list_members, org_id)] == [BEN]


async def test_who_is_a_member_is_not_invited_and_who_is_neither_has_no_scopes(desk: Any) -> None:
    org_id = desk.caller.org_id
    await joined(desk, ADA)
    with pytest.raises(Invalid, match="member already"):
        await desk.ask(members.invite, Invitation(org_id, ADA, "viewer"))
    for email, problem in ((BEN, "neither"), ("nobody", "e-mail address")):
        with pytest.raises(Invalid, match=problem):
            await desk.ask(members.change_scopes, Invitation(org_id, email, "viewer"))


async def test_the_people_of_an_org_are_bounded(desk: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(members, "PEOPLE_MAX", 2)
    await joined(desk, ADA)
    await desk.ask(members.invite, Invitation(desk.caller.org_id, BEN, "viewer"))
    with pytest.raises(Exhausted):
        await desk.ask(members.invite, Invitation(desk.caller.org_id, "c@d", "viewer"))
    await desk.ask(members.invite, Invitation(desk.caller.org_id, BEN, "member"))


async def test_another_orgs_people_are_nobodys_business(desk: Any, stranger: Caller) -> None:
    org_id = desk.caller.org_id
    await joined(desk, ADA)
    invitation = Invitation(org_id, BEN, "viewer")
    for use_case, wanted in (
        (members.list_members, org_id),
        (members.list_invites, org_id),
        (members.invite, invitation),
        (members.change_scopes, invitation),
        (members.rescind, (org_id, ADA)),
    ):
        with pytest.raises(NotFound, match="Organization"):
            await desk.ask(use_case, wanted, caller=stranger)


async def test_a_user_of_several_orgs_acts_in_the_one_that_is_meant(desk: Any) -> None:
    org_id = desk.caller.org_id
    token = await user(desk, ADA, "Ada's own")
    own = await desk.tx(callers.identify, token)
    await desk.ask(members.invite, Invitation(org_id, ADA, "viewer"))
    await desk.ask(members.accept, org_id, caller=own)
    app = await desk.app()
    theirs = await desk.ask(apps.create_app, apps.NewApp("arena", {}), caller=own)

    async def org_of(*named: str | None) -> str:
        return str((await desk.tx(callers.identify, token, *named)).org_id)

    assert await org_of() == own.org_id != org_id
    assert await org_of(org_id) == org_id
    assert await org_of(None, app.app_id) == org_id
    assert await org_of(None, theirs.app_id) == own.org_id
    assert await org_of(own.org_id, app.app_id) == own.org_id
    assert await org_of("org-none", app.app_id) == own.org_id
    here = await desk.tx(callers.identify, token, org_id)
    assert here.scopes == ROLES["viewer"]
    listed = await desk.ask(orgs.list_orgs, None, caller=here)
    assert [(o.org.org_id, o.scopes) for o in listed] == [
        (own.org_id, ADMIN_SCOPES),
        (org_id, ROLES["viewer"]),
    ]


async def test_orgs_are_listed_as_far_as_they_may_be_seen(desk: Any) -> None:
    token = await user(desk, ADA)
    caller = await desk.tx(callers.identify, token)
    assert await desk.ask(orgs.list_orgs, None, caller=caller) == []
    await joined(desk, BEN, ("builds:read",))
    member = Caller(desk.caller.org_id, "t", frozenset(("builds:read",)))
    for who in (member, desk.holding("fleets:read")):
        with pytest.raises(MissingScope):
            await desk.ask(orgs.list_orgs, None, caller=who)
