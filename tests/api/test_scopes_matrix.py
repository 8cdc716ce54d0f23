"""Every operation with every scope, token and organization: exactly what is listed here is allowed.

The tables are behaviour.md 7.3, written out; nothing in them comes from the rows that they judge.
"""

import asyncio
import json
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from innkeeper.api.rows import OPERATIONS
from innkeeper.core.accounts import SCOPES
from innkeeper.testing.studio import TOKEN as ADMIN
from innkeeper.usecases import tokens, users
from tests.api.two_studios import BOSS, DECLARED, Holding, Requests, open_two

ALLOWS: dict[str, str] = {
    "billing:read-write": """
        GetBalance InitStripeCustomerPortalUrl GetInvoices GetPaymentMethod GetUpcomingInvoiceItems
        GetUpcomingInvoiceTotal MarkInvoicePaid""",
    "builds:read": """
        GetBuildInfoDeprecated GetBuildsDeprecated GetBuildInfoV2Deprecated GetBuildsV2Deprecated
        GetBuilds GetBuild""",
    "builds:read-write": """
        CreateBuildDeprecated RunBuildDeprecated DeleteBuildDeprecated
        CreateBuildV2Deprecated CreateWithMultipartUploadsV2Deprecated
        CreateBuildWithUploadUrlV2Deprecated RunBuildV2Deprecated DeleteBuildV2Deprecated
        CreateBuild CreateBuildRegistry RunBuild RunBuildRegistry DeleteBuild""",
    "deployments:read": """
        GetDeploymentInfoV1Deprecated GetLatestDeploymentV1Deprecated GetDeploymentsV1Deprecated
        GetDeploymentInfoV2Deprecated GetLatestDeploymentV2Deprecated GetDeploymentsV2Deprecated
        GetDeployments GetLatestDeployment GetDeployment""",
    "deployments:read-write": """
        CreateDeploymentV1Deprecated CreateDeploymentV2Deprecated CreateDeployment""",
    "applications:read": """
        GetAppInfoV1Deprecated GetAppsV1Deprecated GetApps GetApp GetWarmPools""",
    "applications:read-write": """
        CreateAppV1Deprecated UpdateAppV1Deprecated DeleteAppV1Deprecated
        CreateApp UpdateApp PatchApp DeleteApp SetWarmPools""",
    "processes:read": """
        GetProcessInfoDeprecated GetRunningProcesses GetStoppedProcesses
        GetProcessesCountExperimentalV2Deprecated GetProcessInfoV2Deprecated
        GetLatestProcessesV2Deprecated GetProcessesCountExperimental GetLatestProcesses GetProcess
        GetProcessMetrics GetMetricsDeprecated
        GetRoomInfoDeprecated GetActiveRoomsForProcessDeprecated
        GetInactiveRoomsForProcessDeprecated
        GetRoomInfo GetActiveRoomsForProcess GetInactiveRoomsForProcess
        GetLogsForProcess DownloadLogForProcess GetLogsForApp GetLogsForDeployment
        GetRoomStory GetProcessStory StreamAppEvents StreamEvents""",
    "processes:read-write": """
        CreateProcessV2Deprecated CreateProcess
        CreateRoomDeprecated SuspendRoomDeprecated DestroyRoomDeprecated
        CreateRoom SuspendRoomV2Deprecated ResumeRoom UpdateRoomConfig SetLobbyState DestroyRoom
        GetWebhooks CreateWebhook GetWebhook DeleteWebhook PingWebhook EnableWebhook DrainProcess
        StopProcessV2Deprecated StopProcess""",
    "fleets:read": """
        GetFleetsDeprecated GetFleetDeprecated GetFleetMetricsDeprecated GetFleetRegionDeprecated
        GetFleetRegionMetricsDeprecated GetFleets GetFleet GetFleetMetrics GetFleetRegion
        GetFleetRegionMetrics GetNodeShapes ListProvisionedNodes GetNode""",
    "fleets:read-write": """
        CreateFleetDeprecated UpdateFleetDeprecated UpdateFleetRegionDeprecated
        CreateFleet UpdateFleet UpdateFleetRegion DeprecatedUpdateFleetRegionV2""",
    "orgs:read": """
        GetOrgs GetUsageLimits GetOrgPendingInvites GetOrgMembers GetUsers GetUser""",
    "orgs:read-write": """
        InviteUser UpdateUserInvite RescindInvite CreateUser RevokeUserToken""",
    "tokens:read": "GetOrgTokens",
    "tokens:read-write": "CreateOrgToken RevokeOrgToken SetOrgTokenLimit",
    "tickets:read": "",
    "tickets:read-write": "",
    "load-balancer:access": "",
}
OTHERS: dict[str, str] = {
    # Whoever holds a valid token: they concern the caller's own invites.
    "anybody": "GetUserPendingInvites AcceptInvite RejectInvite",
    # A user's token may come to hold anything, so only who holds everything may make one.
    "everything": "CreateUserToken",
    "player": """
        CreatePrivateLobbyDeprecated CreatePublicLobbyDeprecated CreateLobbyDeprecated
        CreateLocalLobby CreatePrivateLobby CreatePublicLobby CreateLobby""",
    "none": """
        LoginAnonymous LoginGoogle LoginNickname SendVerificationEmail
        GetPingServiceEndpointsDeprecated GetPingServiceEndpoints
        ListActivePublicLobbiesDeprecatedV1 ListActivePublicLobbiesDeprecatedV2
        ListActivePublicLobbies GetLobbyInfo GetLobbyInfoByRoomId GetLobbyInfoByShortCode
        GetConnectionInfoDeprecated GetConnectionInfo
        PutBuildPart PostBuildArchive CompleteBuildUpload GetBuildLogPage
        GetInvoicePage GetBillingPage""",
}
SCOPED = {name: scope for scope, names in ALLOWS.items() for name in names.split()}
ANYBODY, EVERYTHING, PLAYERS, NO_TOKEN = (names.split() for names in OTHERS.values())
WITH_ORG_TOKEN = [*SCOPED, *ANYBODY, *EVERYTHING]
# What the machine is, is no organization's own.
OF_NOBODY = {"GetNode"}
AT_ONCE = 40
ENDS = ("Delete", "Destroy", "Stop", "Suspend", "Revoke", "Rescind")
# What is there does not admit of these, or not any more: the operation was reached all the same.
OTHERWISE = {
    "DownloadLogForProcess": 400,  # it runs
    "RunBuildDeprecated": 400,  # it has been run
    "RunBuildV2Deprecated": 400,
    "RunBuild": 400,
    "RunBuildRegistry": 400,
    "DeprecatedUpdateFleetRegionV2": 422,  # V1 has just changed it
    "DeleteBuildV2Deprecated": 404,  # V1 has deleted it
    "DeleteBuild": 404,
    "SuspendRoomV2Deprecated": 404,  # V1 has destroyed it
    "DestroyRoom": 404,
    "DeleteApp": 404,  # V1 has deleted it
}


def allowed(operation_id: str, scope: str) -> bool:
    """Whether a token with this scope alone may; read-write includes read."""
    needed = SCOPED.get(operation_id)
    return operation_id in ANYBODY or (needed is not None and needed in (scope, f"{scope[:-6]}"))


def path_of(operation_id: str, ids: dict[str, str]) -> str:
    declared = DECLARED[operation_id]
    whole = {p.name for p in declared.parameters if p.place == "path" and p.kind == "integer"}
    path = declared.path
    for name in declared.path_names:
        value = "1" if name in whole else ids.get(name, f"no-{name}")
        path = path.replace(f"{{{name}}}", quote(value, safe=""))
    return path


class Matrix:
    """Two organizations, and a way to ask for anything with any token."""

    def __init__(self, shop: Any, ours: Holding, theirs: Holding) -> None:
        self.shop, self.ours, self.theirs = shop, ours, theirs
        self.requests = Requests()

    async def ask(
        self, operation_id: str, token: str | None, ids: dict[str, str], **query: str
    ) -> httpx.Response:
        body = self.requests.body(operation_id, ids)
        headers = {"authorization": f"Bearer {token}" if token is not None else ""}
        return await self.shop.http.request(
            DECLARED[operation_id].method,
            path_of(operation_id, {"region": "Tokyo", **ids}),
            params=query,
            headers=headers,
            content=b"" if body is None else json.dumps(body).encode(),
        )

    async def org_token(self, *scopes: str) -> str:
        wanted = tokens.NewToken(self.ours.ids["orgId"], f"only {' '.join(scopes)}", scopes)
        made = await self.ours.studio.ask(tokens.create_token, wanted)
        return str(made.plain_text)

    async def user_token(self) -> str:
        """One more of a user's who is a member nowhere."""
        made = await self.ours.studio.ask(users.create_user_token, self.ours.ids["userEmail"])
        return str(made.plain_text)

    async def boss(self) -> str:
        """An admin of the other organization."""
        made = await self.ours.studio.ask(users.create_user_token, BOSS)
        return str(made.plain_text)


@pytest.fixture
async def matrix(shop: Any) -> Matrix:
    return Matrix(shop, *await open_two(shop))


async def gathered(asked: list[Any]) -> list[Any]:
    """Some at a time, so that they share their commits."""
    found: list[Any] = []
    for at in range(0, len(asked), AT_ONCE):
        found += await asyncio.gather(*asked[at : at + AT_ONCE])
    return found


def said(reply: httpx.Response) -> tuple[int, str]:
    """Status and message."""
    is_json = reply.headers.get("content-type") == "application/json"
    message = reply.json()["message"] if is_json and reply.status_code >= 400 else ""
    return reply.status_code, message


def test_the_tables_name_every_operation_once() -> None:
    named = [*WITH_ORG_TOKEN, *PLAYERS, *NO_TOKEN]
    assert sorted(named) == sorted({row.operation_id for row in OPERATIONS})
    assert set(named) == set(DECLARED)
    assert set(ALLOWS) == set(SCOPES)


async def test_each_scope_alone_allows_what_it_allows(matrix: Matrix) -> None:
    wrong = []
    # Of nothing that is there, so that nothing is lost on the way; what is there comes below.
    ids = {"orgId": matrix.ours.ids["orgId"], "appId": "app-none"}
    for scope in SCOPES:
        token = await matrix.org_token(scope)
        replies = await gathered([matrix.ask(name, token, ids) for name in WITH_ORG_TOKEN])
        for name, reply in zip(WITH_ORG_TOKEN, replies, strict=True):
            status, message = said(reply)
            refused = status == 401 and message.startswith("Missing scope: ")
            if refused == allowed(name, scope) or status >= 500:
                wrong.append((scope, name, status, message))
    assert not wrong, "\n".join(map(str, wrong))


def in_a_good_order(name: str) -> int:
    """Look first, then make, then end."""
    if name.startswith(ENDS):
        return 3 if "App" in name else 2
    return 0 if SCOPED[name].endswith(":read") else 1


async def test_the_needed_scope_alone_is_enough(matrix: Matrix) -> None:
    held: dict[str, str] = {}
    wrong = []
    for name in sorted(SCOPED, key=in_a_good_order):
        scope = SCOPED[name]
        if scope not in held:
            held[scope] = await matrix.org_token(scope)
        reply = await matrix.ask(name, held[scope], matrix.ours.ids)
        if reply.status_code != OTHERWISE.get(name, DECLARED[name].status):
            wrong.append((name, *said(reply)))
    assert not wrong, "\n".join(map(str, wrong))


async def test_without_a_good_token_nothing_is_told(matrix: Matrix) -> None:
    ours = matrix.ours
    revoked = await matrix.org_token("builds:read")
    listed = await ours.studio.ask(tokens.list_tokens, ours.ids["orgId"])
    (token_id,) = [t.org_token_id for t in listed if t.name == "only builds:read"]
    await ours.studio.ask(tokens.revoke_token, (ours.ids["orgId"], token_id))
    ada, revoked_users = ours.ids["userEmail"], await matrix.user_token()
    for token in (await ours.studio.ask(users.get_user, ada)).tokens:
        await ours.studio.ask(users.revoke_user_token, (ada, token.user_token_id))
    users_own = await matrix.user_token()
    bad = [None, "", "nonsense", "hathora_org_st_" + "x" * 52, "innkeeper_user_" + "x" * 52]
    bad += [revoked, revoked_users, ours.player_token(), users_own + "x", "a" * 5000]
    wrong = []
    for token in bad:
        replies = await gathered([matrix.ask(n, token, ours.ids) for n in WITH_ORG_TOKEN])
        for name, reply in zip(WITH_ORG_TOKEN, replies, strict=True):
            status, message = said(reply)
            if status != 401 or not message.startswith(("Invalid token", "Missing or malformed")):
                wrong.append((token, name, status, message))
    assert not wrong, "\n".join(map(str, wrong))
    assert (await matrix.ask("GetUserPendingInvites", users_own, ours.ids)).status_code == 200


async def test_lobbies_are_made_by_players_of_the_app_only(matrix: Matrix) -> None:
    ours, theirs = matrix.ours, matrix.theirs
    now = int(ours.studio.clock.now.timestamp())
    bad = [None, "nonsense", ADMIN, await matrix.boss(), theirs.player_token()]
    bad += [ours.player_token(exp=now - 1), ours.player_token(nbf=now + 60)]
    bad += [ours.player_token(id=5), ours.player_token(type="google")]
    for token in bad:
        for reply in await gathered([matrix.ask(n, token, ours.ids) for n in PLAYERS]):
            assert reply.status_code == 401, (token, reply.request.url)
    for good in (ours.player_token(), ours.player_token(exp=now + 60, type="anonymous")):
        for name in PLAYERS:
            reply = await matrix.ask(name, good, ours.ids)
            assert reply.status_code == DECLARED[name].status, (name, *said(reply))


async def test_what_needs_no_token_is_the_same_with_any(matrix: Matrix) -> None:
    ids = matrix.ours.ids
    limited = await matrix.org_token("tickets:read")
    for name in NO_TOKEN:
        statuses = {(await matrix.ask(name, t, ids)).status_code for t in (None, "x", limited)}
        assert len(statuses) == 1, (name, statuses)
        assert statuses <= {200, 400, 403, 404}, (name, statuses)
    for name in ("GetLobbyInfo", "GetConnectionInfo", "LoginAnonymous", "SendVerificationEmail"):
        assert (await matrix.ask(name, None, ids)).status_code == 200


def without(ids: dict[str, str], text: str) -> str:
    """A reply without the ids that were sent."""
    for value in ids.values():
        text = text.replace(value, "?")
    return text


@pytest.mark.parametrize("own_app", [False, True])
async def test_what_is_anothers_is_like_what_is_not_there(matrix: Matrix, own_app: bool) -> None:
    """The admin of one organization asks with the ids of the other, and with ids of nothing."""
    ours, theirs = matrix.ours, matrix.theirs
    foreign, unknown = dict(ours.ids), {name: f"{value}x" for name, value in ours.ids.items()}
    for ids in (foreign, unknown):
        ids["orgId"] = theirs.ids["orgId"] if own_app else ids["orgId"]
        ids["appId"] = theirs.ids["appId"] if own_app else ids["appId"]
    boss = await matrix.boss()
    wrong = []
    for name in WITH_ORG_TOKEN:
        if name in OF_NOBODY or not names_a_thing(name, own_app):
            continue
        replies = [await matrix.ask(name, boss, ids) for ids in (foreign, unknown)]
        shown = [without(i, r.text) for i, r in zip((foreign, unknown), replies, strict=True)]
        statuses = [reply.status_code for reply in replies]
        if statuses[0] < 400 or statuses[0] != statuses[1] or shown[0] != shown[1]:
            wrong.append((name, *statuses, *shown))
    assert not wrong, "\n".join(map(str, wrong))


def names_a_thing(name: str, own_app: bool) -> bool:
    """Whether its path names something that is an organization's own; numbers are an app's own."""
    declared = DECLARED[name]
    numbers = {p.name for p in declared.parameters if p.kind == "integer"}
    own = {"appId", "orgId", *numbers} if own_app else set()
    return bool(set(declared.path_names) - {"region"} - own)


async def test_another_org_in_the_query_is_like_one_that_is_not_there(matrix: Matrix) -> None:
    boss = await matrix.boss()
    named = [n for n in WITH_ORG_TOKEN if any(p.name == "orgId" for p in DECLARED[n].parameters)]
    in_query = [name for name in named if "orgId" not in DECLARED[name].path_names]
    assert len(in_query) == 48
    for name in in_query:
        for org_id in (matrix.ours.ids["orgId"], "org-none"):
            reply = await matrix.ask(name, boss, matrix.theirs.ids, orgId=org_id)
            expected = (404, f'Organization "{org_id}" not found')
            assert said(reply) == expected, name


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("CreateDeployment", "buildId"),
        ("CreateDeployment", "fleetId"),
        ("CreateRoom", "deploymentId"),
    ],
)
async def test_bodies_name_only_what_is_ones_own(matrix: Matrix, name: str, field: str) -> None:
    boss, ids = await matrix.boss(), matrix.theirs.ids
    body = matrix.requests.body(name, ids)
    shown = []
    for value in (matrix.ours.ids[field], "none-such"):
        reply = await matrix.shop.call(
            name,
            {"appId": ids["appId"]},
            body={**body, field: value},
            headers={"authorization": f"Bearer {boss}"},
        )
        assert reply.status_code == 404
        shown.append(reply.text.replace(value, "?"))
    assert shown[0] == shown[1]


async def test_lists_show_nothing_of_another_org(matrix: Matrix) -> None:
    """Every read of one's own, searched for the other's ids and names."""
    boss = await matrix.boss()
    secrets = {v for n, v in matrix.ours.ids.items() if n not in ("nodeId", "userTokenId")}
    secrets |= {"a@ours.example", matrix.ours.studio.app.app_secret}  # type: ignore[union-attr]
    for name in (n for n, scope in SCOPED.items() if in_a_good_order(n) == 0):
        reply = await matrix.ask(name, boss, matrix.theirs.ids)
        assert not [s for s in secrets if s in reply.text], name
