"""OrganizationsV1 and ManagementV1: people, their invites, and what they may do (behaviour.md 7.3, 7.4)."""

import subprocess
from collections.abc import Callable, Iterator

import pytest

from innkeeper.core.accounts import SCOPES
from innkeeper.core.people import ROLES, expanded
from innkeeper.testing.live import ADMIN_TOKEN, INNKEEPER, LiveServer
from innkeeper.testing.official_sdk import Bridge, Sdk, refused

Person = tuple[str, Sdk]


@pytest.fixture
def person(
    bridge: Bridge, live: LiveServer, sdk: Sdk, org_id: str
) -> Iterator[Callable[..., Person]]:
    """Makes a user with the command line: the address, and a client with the user's token."""
    made: list[str] = []

    def make(name: str, *options: str) -> Person:
        email = f"{name}-{live.runtime}@studio.example"
        command = [*INNKEEPER, "user", "create", email, *options, "--url", live.url]
        run = subprocess.run(
            [*command, "--token", ADMIN_TOKEN], capture_output=True, text=True, timeout=60
        )
        assert run.returncode == 0, run.stderr
        made.append(email)
        return email, bridge.client(serverURL=live.url, hathoraDevToken=run.stdout.strip())

    yield make
    # Nobody is left behind for the next test, but the last admin, who cannot leave.
    for member in sdk("organizationsV1.getOrgMembers", org_id)["members"]:
        if member["userEmail"] in made and member["scopes"] != "admin":
            sdk("organizationsV1.rescindInvite", org_id, {"userEmail": member["userEmail"]})


def pending(client: Sdk, org_id: str) -> dict[str, object]:
    found = client("organizationsV1.getOrgPendingInvites", org_id)["invites"]
    return {invite["userEmail"]: invite["scopes"] for invite in found}


def test_an_invite_from_its_making_to_a_member(
    sdk: Sdk, org_id: str, person: Callable[..., Person]
) -> None:
    email, ada = person("ada")
    assert ada("organizationsV1.getOrgs")["orgs"] == []
    with refused(401):
        ada("appsV2.getApps")
    wanted = {"userEmail": email.upper(), "scopes": "member"}
    invite, (reply,) = sdk.answered("organizationsV1.inviteUser", org_id, wanted)
    assert reply.status == 200
    assert (invite["userEmail"], invite["scopes"], invite["orgId"]) == (email, "member", org_id)
    assert pending(sdk, org_id)[email] == "member"
    assert ada("organizationsV1.getUserPendingInvites")["invites"] == [invite]
    assert sdk("organizationsV1.getUserPendingInvites")["invites"] == []

    again = sdk("organizationsV1.inviteUser", org_id, {"userEmail": email, "scopes": ["orgs:read"]})
    assert (again["scopes"], again["createdAt"]) == (["orgs:read"], invite["createdAt"])
    change = {"userEmail": email, "scopes": "viewer"}
    value, (reply,) = sdk.answered("organizationsV1.updateUserInvite", org_id, change)
    assert (value, reply.body) == (True, b"true")

    _, (reply,) = ada.answered("organizationsV1.acceptInvite", org_id)
    assert (reply.status, reply.body) == (204, b"")
    assert email not in pending(sdk, org_id)
    (org,) = ada("organizationsV1.getOrgs")["orgs"]
    assert (org["orgId"], set(org["scopes"])) == (org_id, set(expanded(ROLES["viewer"])))
    members = ada("organizationsV1.getOrgMembers", org_id)["members"]
    (member,) = (m for m in members if m["userEmail"] == email)
    assert (member["scopes"], member["invitedBy"]) == ("viewer", invite["invitedBy"])
    assert member["createdAt"] <= member["joinedAt"]
    assert member["lastLogin"] <= member["joinedAt"]
    with refused(422, "member already"):
        sdk("organizationsV1.inviteUser", org_id, {"userEmail": email})


def test_what_a_role_allows_and_a_change_takes_away(
    sdk: Sdk, org_id: str, person: Callable[..., Person]
) -> None:
    email, ben = person("ben")
    sdk("organizationsV1.inviteUser", org_id, {"userEmail": email, "scopes": "member"})
    ben("organizationsV1.acceptInvite", org_id)
    app = ben("appsV2.createApp", {"appName": "by-ben", "authConfiguration": {}})
    assert (app["orgId"], app["createdBy"]) == (org_id, email)
    with refused(401, "billing:read-write"):
        ben("billingV1.getInvoices")
    with refused(401, "orgs:read-write"):
        ben("organizationsV1.inviteUser", org_id, {"userEmail": "eve@studio.example"})
    with refused(401, "billing:read-write"):
        ben("tokensV1.createOrgToken", org_id, {"name": "more than ben may"})

    sdk("organizationsV1.updateUserInvite", org_id, {"userEmail": email, "scopes": "viewer"})
    with refused(401, "applications:read-write"):
        ben("appsV2.deleteApp", app["appId"])
    assert ben("appsV2.getApp", app["appId"])["appName"] == "by-ben"
    sdk("appsV2.deleteApp", app["appId"])
    _, (reply,) = sdk.answered("organizationsV1.rescindInvite", org_id, {"userEmail": email})
    assert (reply.status, reply.body) == (204, b"")
    with refused(401):
        ben("appsV2.getApps")
    with refused(404, email):
        sdk("organizationsV1.rescindInvite", org_id, {"userEmail": email})


def test_an_invite_that_ends(sdk: Sdk, org_id: str, person: Callable[..., Person]) -> None:
    email, cyd = person("cyd")
    for end in ("rejectInvite", "rescindInvite"):
        sdk("organizationsV1.inviteUser", org_id, {"userEmail": email})
        assert pending(sdk, org_id)[email] == "admin"
        if end == "rejectInvite":
            _, (reply,) = cyd.answered("organizationsV1.rejectInvite", org_id)
            assert (reply.status, reply.body) == (204, b"")
        else:
            sdk("organizationsV1.rescindInvite", org_id, {"userEmail": email})
        assert email not in pending(sdk, org_id)
        for call in ("organizationsV1.acceptInvite", "organizationsV1.rejectInvite"):
            with refused(404):
                cyd(call, org_id)
            with refused(404):
                sdk(call, org_id)  # an org token has no address
    with refused(422, "neither"):
        change = {"userEmail": email, "scopes": "viewer"}
        sdk("organizationsV1.updateUserInvite", org_id, change)


def test_a_user_of_two_organizations(
    bridge: Bridge, live: LiveServer, sdk: Sdk, org_id: str, person: Callable[..., Person]
) -> None:
    """The last admin of an organization stays, and a user of two says which is meant."""
    email, dan = person("dan", "--org", "Dan's")
    (own,) = dan("organizationsV1.getOrgs")["orgs"]
    assert (own["name"], own["scopes"]) == ("Dan's", list(SCOPES))
    for change in ({"userEmail": email, "scopes": "member"}, {"userEmail": email, "scopes": []}):
        with refused(422, "admin"):
            dan("organizationsV1.updateUserInvite", own["orgId"], change)
    with refused(422, "admin"):
        dan("organizationsV1.rescindInvite", own["orgId"], {"userEmail": email})

    sdk("organizationsV1.inviteUser", org_id, {"userEmail": email, "scopes": "viewer"})
    dan("organizationsV1.acceptInvite", org_id)
    assert [o["orgId"] for o in dan("organizationsV1.getOrgs")["orgs"]] == [own["orgId"], org_id]
    theirs = sdk("appsV2.createApp", {"appName": "seen-by-dan", "authConfiguration": {}})
    seen = dan("appsV2.getApps", org_id)["applications"]
    assert theirs["appId"] in [app["appId"] for app in seen]
    assert dan("appsV2.getApps")["applications"] == []
    assert dan("appsV2.getApp", theirs["appId"])["orgId"] == org_id
    with refused(401, "applications:read-write"):
        dan("appsV2.createApp", {"appName": "x", "authConfiguration": {}}, org_id)
    made = dan("appsV2.createApp", {"appName": "x", "authConfiguration": {}})
    assert made["orgId"] == own["orgId"]
    with refused(404, made["appId"]):
        sdk("appsV2.getApp", made["appId"])
    for app, client in ((made, dan), (theirs, sdk)):
        client("appsV2.deleteApp", app["appId"])
    for call in ("organizationsV1.getOrgMembers", "organizationsV1.getOrgPendingInvites"):
        with refused(401, own["orgId"]):
            sdk(call, own["orgId"])


def test_a_verification_email_is_asked_for_three_times_an_hour(
    anyone: Sdk, live: LiveServer
) -> None:
    user_id = f"auth0|{live.runtime}"
    for _ in range(3):
        asked, (reply,) = anyone.answered("managementV1.sendVerificationEmail", {"userId": user_id})
        assert (asked, reply.status, reply.authorized) == ("success", 200, False)
    with refused(429, "verification"):
        anyone("managementV1.sendVerificationEmail", {"userId": user_id})
