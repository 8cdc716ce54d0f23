"""OrganizationsV1, ManagementV1 and users on the wire (behaviour.md 7.2 to 7.4)."""

import logging
from typing import Any

import pytest

from innkeeper.api.rate_limits import RateLimit
from innkeeper.core.accounts import SCOPES
from innkeeper.core.people import ROLES

ADA = "ada@studio.example"


async def user(shop: Any, email: str = ADA, **more: str) -> dict[str, str]:
    """A new user's header."""
    made = await shop.call("CreateUser", body={"userEmail": email, **more})
    assert made.status_code == 201
    token = await shop.call("CreateUserToken", {"userEmail": email})
    return {"authorization": f"Bearer {token.json()['plainTextToken']}"}


def own(shop: Any) -> dict[str, str]:
    return {"orgId": shop.studio.caller.org_id}


async def invited(shop: Any, email: str = ADA, **body: Any) -> Any:
    return await shop.call("InviteUser", own(shop), body={"userEmail": email, **body})


async def test_from_an_invite_to_a_member_and_out_again(shop: Any) -> None:
    ada, at = await user(shop), own(shop)
    made = (await invited(shop, scopes="member")).json()
    assert (made["userEmail"], made["scopes"], made["orgId"]) == (ADA, "member", at["orgId"])
    assert made["invitedBy"].startswith("org-token-")
    assert (await shop.call("GetOrgPendingInvites", at)).json() == {"invites": [made]}
    assert (await shop.call("GetUserPendingInvites", headers=ada)).json() == {"invites": [made]}
    assert (await shop.call("AcceptInvite", at, headers=ada)).status_code == 204
    (member,) = (await shop.call("GetOrgMembers", at, headers=ada)).json()["members"]
    assert (member["userEmail"], member["scopes"]) == (ADA, "member")
    assert member["lastLogin"] == "2026-01-31T12:00:00.000Z"
    (org,) = (await shop.call("GetOrgs", headers=ada)).json()["orgs"]
    assert set(ROLES["member"]) < set(org["scopes"])
    body = {"userEmail": ADA, "scopes": ["builds:read", "builds:read", "orgs:read"]}
    changed = await shop.call("UpdateUserInvite", at, body=body)
    assert (changed.status_code, changed.content) == (200, b"true")
    (member,) = (await shop.call("GetOrgMembers", at)).json()["members"]
    assert member["scopes"] == ["builds:read", "orgs:read"]
    assert (await shop.call("GetApps", headers=ada)).status_code == 401
    for status in (204, 404):
        gone = await shop.call("RescindInvite", at, body={"userEmail": ADA})
        assert gone.status_code == status
    assert (await shop.call("GetOrgs", headers=ada)).json() == {"orgs": []}


async def test_absent_scopes_are_an_admins(shop: Any) -> None:
    assert (await invited(shop)).json()["scopes"] == "admin"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"userEmail": "nobody"},
        {"userEmail": ADA, "scopes": "emperor"},
        {"userEmail": ADA, "scopes": ["everything:read"]},
        {"userEmail": ADA, "scopes": 5},
    ],
    ids=str,
)
async def test_a_bad_invite_is_refused(shop: Any, body: dict[str, Any]) -> None:
    for operation_id in ("InviteUser", "UpdateUserInvite"):
        reply = await shop.call(operation_id, own(shop), body=body)
        assert reply.status_code == 422


async def test_an_org_token_has_no_address(shop: Any) -> None:
    at = own(shop)
    await invited(shop)
    assert (await shop.call("GetUserPendingInvites")).json() == {"invites": []}
    unknown = {"orgId": "org-none"}
    for operation_id in ("AcceptInvite", "RejectInvite"):
        for place in (at, unknown):
            reply = await shop.call(operation_id, place)
            said = f'Invite "{place["orgId"]}" not found'
            assert (reply.status_code, reply.json()["message"]) == (404, said)


async def test_what_is_not_declared_is_answered_as_the_contract_can(shop: Any) -> None:
    """Lists of members and invites declare no 404: another org is 401 there, and all the same unknown."""
    for operation_id in ("GetOrgMembers", "GetOrgPendingInvites"):
        reply = await shop.call(operation_id, {"orgId": "org-none"})
        said = (reply.status_code, reply.json()["message"])
        assert said == (401, 'Organization "org-none" not found')
    nobody = {"userEmail": ADA, "scopes": "viewer"}
    assert (await shop.call("UpdateUserInvite", own(shop), body=nobody)).status_code == 422


async def test_a_user_of_two_orgs_says_which(shop: Any) -> None:
    ada, at = await user(shop, orgName="Ada's"), own(shop)
    shop.studio.clock.move(1)
    await invited(shop, scopes=["orgs:read", "applications:read"])
    await shop.call("AcceptInvite", at, headers=ada)
    mine, theirs = (await shop.call("GetOrgs", headers=ada)).json()["orgs"]
    assert (mine["name"], mine["scopes"]) == ("Ada's", list(SCOPES))
    assert (theirs["orgId"], theirs["scopes"]) == (at["orgId"], ["applications:read", "orgs:read"])
    listed = (await shop.call("GetApps", headers=ada)).json()["applications"]
    assert listed == []
    listed = await shop.call("GetApps", params={"orgId": theirs["orgId"]}, headers=ada)
    assert [app["appId"] for app in listed.json()["applications"]] == [shop.app]
    assert (await shop.call("GetApp", {"appId": shop.app}, headers=ada)).status_code == 200
    gone = await shop.call("DeleteApp", {"appId": shop.app}, headers=ada)
    assert gone.json()["message"] == "Missing scope: applications:read-write"
    elsewhere = await shop.call("GetApps", params={"orgId": "org-none"}, headers=ada)
    assert elsewhere.status_code == 404


async def test_an_operator_with_an_org_of_their_own_says_which_is_meant(shop: Any) -> None:
    ada, at = await user(shop, orgName="Ada's"), own(shop)
    shop.studio.clock.move(1)
    await invited(shop)
    await shop.call("AcceptInvite", at, headers=ada)
    assert (await shop.call("GetUsers", headers=ada)).status_code == 401
    here = await shop.call("GetUsers", headers=ada, params=at)
    assert [u["userEmail"] for u in here.json()["users"]] == [ADA]


async def test_what_a_user_makes_names_the_user(shop: Any) -> None:
    ada = await user(shop, orgName="Ada's")
    body = {"appName": "by-ada", "authConfiguration": {}}
    app = (await shop.call("CreateApp", body=body, headers=ada)).json()
    assert app["createdBy"] == ADA
    made = await shop.call(
        "CreateOrgToken", {"orgId": app["orgId"]}, body={"name": "ci"}, headers=ada
    )
    assert made.json()["orgToken"]["createdBy"] == ADA


async def test_a_users_token_is_shown_once_and_ends(shop: Any) -> None:
    ada = await user(shop)
    text = ada["authorization"].removeprefix("Bearer ")
    at = {"userEmail": ADA}
    shown = await shop.call("GetUser", at)
    (token,) = shown.json()["tokens"]
    assert text not in shown.text
    assert (token["lastFourCharsOfKey"], token["status"]) == (text[-4:], "active")
    assert (await shop.call("GetUsers")).json()["users"] == [{**shown.json(), "tokens": []}]
    bare = {"authorization": text}
    assert (await shop.call("GetUserPendingInvites", headers=bare)).status_code == 200
    one = {**at, "userTokenId": token["userTokenId"]}
    assert (await shop.call("RevokeUserToken", one)).json()["status"] == "revoked"
    reply = await shop.call("GetUserPendingInvites", headers=ada)
    assert (reply.status_code, reply.json()["message"]) == (401, "Invalid token")
    assert (await shop.call("CreateUserToken", {"userEmail": "b@c"})).status_code == 404
    assert (await shop.call("CreateUser", body={"userEmail": ADA})).status_code == 422


async def test_a_verification_email_is_logged_and_rare(
    shop: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "innkeeper.api.management")
    now = 0.0
    shop.house.services.verification_emails = RateLimit("e-mails", 3, 3600.0, lambda: now)
    await user(shop)
    user_id = (await shop.call("GetUser", {"userEmail": ADA})).json()["userId"]

    async def send(who: str) -> Any:
        return await shop.call("SendVerificationEmail", body={"userId": who}, headers={})

    for _ in range(3):
        sent = await send(user_id)
        assert (sent.status_code, sent.json()) == (200, "success")
        assert (await send("auth0|nobody")).json() == "success"
    refused = await send(user_id)
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "1200")
    now = 1200.0
    assert (await send(user_id)).status_code == 200
    assert [record.getMessage().split()[0] for record in caplog.records] == [ADA] * 4
    assert (await send("x" * 257)).status_code == 401
    assert (await shop.call("SendVerificationEmail", body={})).status_code == 401
