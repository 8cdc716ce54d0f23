"""TokensV1, OrganizationsV1.getOrgs, and what a token allows (behaviour.md 7)."""

import re
from typing import Any

import pytest

from innkeeper.core.accounts import SCOPES
from innkeeper.testing.live import ADMIN_TOKEN, LiveServer
from innkeeper.testing.live_studio import LiveStudio, ScopedClients
from innkeeper.testing.official_sdk import Bridge, Sdk, refused


def test_the_life_of_a_token(sdk: Sdk, bridge: Bridge, live: LiveServer, org_id: str) -> None:
    wanted = {"name": "for the build farm", "scopes": ["builds:read-write", "orgs:read"]}
    made, (reply,) = sdk.answered("tokensV1.createOrgToken", org_id, wanted)
    token, plain = made["orgToken"], made["plainTextToken"]
    assert reply.status == 201
    assert re.fullmatch(r"hathora_org_st_[A-Za-z0-9_-]{40,}_[0-9a-f]+", plain)
    assert re.fullmatch(r"org-token-[0-9a-f-]{36}", token["orgTokenId"])
    assert token["lastFourCharsOfKey"] == plain[-4:]
    assert (token["status"], token["name"], token["orgId"]) == ("active", wanted["name"], org_id)
    assert sorted(token["scopes"]) == sorted(wanted["scopes"])

    farm = bridge.client(serverURL=live.url, hathoraDevToken=plain)
    assert farm("organizationsV1.getOrgs")["orgs"][0]["scopes"]
    listed, (reply,) = sdk.answered("tokensV1.getOrgTokens", org_id)
    assert token in listed["tokens"]
    assert plain.encode() not in (reply.body or b"")
    with refused(422, "name"):
        sdk("tokensV1.createOrgToken", org_id, wanted)

    value, (reply,) = sdk.answered("tokensV1.revokeOrgToken", org_id, token["orgTokenId"])
    assert (value, reply.status, reply.body) == (True, 200, b"true")
    with refused(401):
        farm("organizationsV1.getOrgs")
    again = [
        t
        for t in sdk("tokensV1.getOrgTokens", org_id)["tokens"]
        if t == {**token, "status": "revoked"}
    ]
    assert len(again) == 1
    assert sdk("tokensV1.revokeOrgToken", org_id, token["orgTokenId"]) is True
    with refused(404, "org-token-nowhere"):
        sdk("tokensV1.revokeOrgToken", org_id, "org-token-nowhere")


def test_a_token_without_scopes_is_an_admins(
    sdk: Sdk, bridge: Bridge, live: LiveServer, org_id: str
) -> None:
    for wanted in ({"name": "no scopes"}, {"name": "a role", "scopes": "admin"}):
        made = sdk("tokensV1.createOrgToken", org_id, wanted)
        client = bridge.client(serverURL=live.url, hathoraDevToken=made["plainTextToken"])
        assert sorted(client("organizationsV1.getOrgs")["orgs"][0]["scopes"]) == sorted(SCOPES)
        sdk("tokensV1.revokeOrgToken", org_id, made["orgToken"]["orgTokenId"])


@pytest.mark.parametrize(
    "wanted",
    [
        {"name": "x" * 65},
        {"name": "unknown scope", "scopes": ["everything:read"]},
        {"name": "unknown role", "scopes": "emperor"},
        {"scopes": []},
    ],
    ids=str,
)
def test_tokens_are_checked(live: LiveServer, org_id: str, wanted: dict[str, Any]) -> None:
    with live.http() as http:
        answer = http.post(f"/tokens/v1/orgs/{org_id}/create", json=wanted)
    assert answer.status_code == 422
    assert answer.json()["message"].startswith("Validation failed")


def test_nobody_grants_what_they_do_not_hold(
    scoped: ScopedClients, org_id: str, bridge: Bridge, live: LiveServer
) -> None:
    clerk = scoped("tokens:read-write", "builds:read")
    with refused(401, "processes:read"):
        clerk("tokensV1.createOrgToken", org_id, {"name": "up", "scopes": ["processes:read"]})
    with refused(401):
        clerk("tokensV1.createOrgToken", org_id, {"name": "up"})
    made = clerk("tokensV1.createOrgToken", org_id, {"name": "level", "scopes": ["builds:read"]})
    level = bridge.client(serverURL=live.url, hathoraDevToken=made["plainTextToken"])
    assert "builds" in level("buildsV3.getBuilds")
    clerk("tokensV1.revokeOrgToken", org_id, made["orgToken"]["orgTokenId"])


def test_the_callers_organization(sdk: Sdk, org_id: str, stranger: Sdk) -> None:
    org = sdk("organizationsV1.getOrgs")["orgs"][0]
    assert sorted(org["scopes"]) == sorted(SCOPES)
    assert org["isSingleTenant"] is True
    assert org["maxRequestedMemoryMB"] == 8192
    assert org["stripeCustomerId"] == ""
    theirs = stranger("organizationsV1.getOrgs")["orgs"]
    assert [o["orgId"] for o in theirs] == ["org-of-strangers"]
    for call in ("tokensV1.getOrgTokens",):
        with refused(404):
            stranger(call, org_id)
    with refused(404):
        stranger("tokensV1.createOrgToken", org_id, {"name": "theirs"})


def test_an_organization_may_be_named_and_must_be_the_callers(sdk: Sdk, org_id: str) -> None:
    assert sdk("appsV2.getApps", org_id) == sdk("appsV2.getApps")
    for call in ("appsV2.getApps", "buildsV3.getBuilds"):
        with refused(404, "org-of-strangers"):
            sdk(call, "org-of-strangers")
    with refused(404, "org-nowhere"):
        sdk("appsV2.createApp", {"appName": "lost", "authConfiguration": {}}, "org-nowhere")


# Each operation, with the scope it needs.
NEEDS: list[tuple[str, str, tuple[Any, ...]]] = [
    ("appsV2.getApps", "applications:read", ()),
    ("appsV2.getApp", "applications:read", ("APP",)),
    ("appsV2.createApp", "applications:read-write", ({"appName": "x", "authConfiguration": {}},)),
    (
        "appsV2.updateApp",
        "applications:read-write",
        ({"appName": "x", "authConfiguration": {}}, "APP"),
    ),
    ("appsV2.patchApp", "applications:read-write", ({}, "APP")),
    ("appsV2.deleteApp", "applications:read-write", ("APP",)),
    ("buildsV3.getBuilds", "builds:read", ()),
    ("buildsV3.getBuild", "builds:read", ("b",)),
    ("buildsV3.createBuild", "builds:read-write", ({"buildSizeInBytes": 10},)),
    ("buildsV3.createBuildRegistry", "builds:read-write", ({},)),
    ("buildsV3.runBuild", "builds:read-write", ("b",)),
    ("buildsV3.runBuildRegistry", "builds:read-write", ("b", {"image": "x"})),
    ("buildsV3.deleteBuild", "builds:read-write", ("b",)),
    ("deploymentsV3.getDeployments", "deployments:read", ("APP",)),
    ("deploymentsV3.getLatestDeployment", "deployments:read", ("APP",)),
    ("deploymentsV3.getDeployment", "deployments:read", ("d", "APP")),
    ("roomsV2.createRoom", "processes:read-write", ({"region": "Tokyo"}, "APP")),
    ("roomsV2.destroyRoom", "processes:read-write", ("r", "APP")),
    ("roomsV2.suspendRoomV2Deprecated", "processes:read-write", ("r", "APP")),
    ("roomsV2.resumeRoom", "processes:read-write", ("r", "APP")),
    ("roomsV2.updateRoomConfig", "processes:read-write", ("r", {"roomConfig": ""}, "APP")),
    ("roomsV2.getRoomInfo", "processes:read", ("r", "APP")),
    ("roomsV2.getActiveRoomsForProcess", "processes:read", ("p", "APP")),
    ("roomsV2.getInactiveRoomsForProcess", "processes:read", ("p", "APP")),
    ("processesV3.createProcess", "processes:read-write", ("Tokyo", "APP")),
    ("processesV3.stopProcess", "processes:read-write", ("p", "APP")),
    ("processesV3.getProcess", "processes:read", ("p", "APP")),
    ("processesV3.getLatestProcesses", "processes:read", ("APP",)),
    ("processesV3.getProcessesCountExperimental", "processes:read", ("APP",)),
    ("logsV1.getLogsForProcess", "processes:read", ("p", "APP")),
    ("logsV1.downloadLogForProcess", "processes:read", ("p", "APP")),
    ("organizationsV1.getOrgs", "orgs:read", ()),
    ("tokensV1.getOrgTokens", "tokens:read", ("ORG",)),
    ("tokensV1.createOrgToken", "tokens:read-write", ("ORG", {"name": "x"})),
    ("tokensV1.revokeOrgToken", "tokens:read-write", ("ORG", "t")),
]


def test_every_operation_names_the_scope_it_needs(
    studio: LiveStudio, scoped: ScopedClients, org_id: str
) -> None:
    places = {"APP": studio.app(), "ORG": org_id}
    clients: dict[str, Sdk] = {}
    for call, scope, args in NEEDS:
        # All scopes but the needed one (and, for reads, the one that includes it).
        if scope not in clients:
            clients[scope] = scoped(*(s for s in SCOPES if s not in (scope, f"{scope}-write")))
        filled = (places.get(a, a) if isinstance(a, str) else a for a in args)
        with refused(401, f"Missing scope: {scope}"):
            clients[scope](call, *filled)


def test_an_app_is_shown_without_what_the_token_may_not_read(
    studio: LiveStudio, scoped: ScopedClients, build_id: str
) -> None:
    app_id = studio.app()
    studio.deploy(app_id, build_id)
    for scopes, shown in (
        (("applications:read",), False),
        (("applications:read", "deployments:read"), False),
        (("applications:read", "deployments:read", "builds:read"), True),
    ):
        apps = scoped(*scopes)("appsV2.getApps")["applications"]
        (app,) = (a for a in apps if a["appId"] == app_id)
        assert ("deployment" in app) is shown, scopes


@pytest.mark.parametrize("token", ["", "nonsense", ADMIN_TOKEN + "x", "hathora_org_st_" + "a" * 52])
def test_a_wrong_token_is_refused(live: LiveServer, bridge: Bridge, token: str) -> None:
    client = bridge.client(serverURL=live.url, hathoraDevToken=token or " ")
    with refused(401):
        client("appsV2.getApps")


def test_a_token_may_come_without_its_scheme(live: LiveServer) -> None:
    with live.http(token=None) as http:
        for value in (ADMIN_TOKEN, f"Bearer {ADMIN_TOKEN}", f"bearer {ADMIN_TOKEN}"):
            answer = http.get("/apps/v2/apps", headers={"Authorization": value})
            assert answer.status_code == 200, value
        for value in ("Basic abc", "Bearer", "Bearer x y", "ä"):
            headers = {b"Authorization": value.encode("latin-1")}
            assert http.get("/apps/v2/apps", headers=headers).status_code == 401, value
        assert http.get("/apps/v2/apps").status_code == 401
