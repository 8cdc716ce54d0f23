"""Who may call, in which order things are checked, and how a row runs."""

from typing import Any

import pytest

from innkeeper.api.operation import Operation, Raw
from innkeeper.core.errors import Exhausted, StateConflict
from innkeeper.interfaces import Tx
from innkeeper.testing.contract_check import check_reply
from innkeeper.usecases import tokens

CREATED = {
    "additionalExposedPorts": [],
    "status": "starting",
    "roomId": "r",
    "processId": "p",
}
GOOD = {"region": "Tokyo"}


async def test_a_row_gets_what_was_sent_and_its_answer_is_written(house: Any, row: Any) -> None:
    seen: list[Any] = []
    async with house.client(row("CreateRoom", CREATED, seen)) as client:
        path = f"/rooms/v2/{house.studio.app_id}/create"
        reply = await client.post(f"{path}?roomId=mine", json={"region": "Tokyo", "more": 1})
    assert (reply.status_code, reply.json()) == (201, CREATED)
    check_reply("CreateRoom", reply.status_code, reply.headers, reply.content)
    (request,) = seen
    assert request.path == {"appId": house.studio.app_id}
    assert request.query == {"roomId": "mine"}
    assert request.body.region == "Tokyo"
    assert request.header("Content-Type") == "application/json"
    assert request.client == "127.0.0.1"


@pytest.mark.parametrize("form", ["Bearer {}", "bearer  {}", "{}", " Bearer {} "])
async def test_a_token_comes_with_a_scheme_or_bare(house: Any, row: Any, form: str) -> None:
    from innkeeper.testing.studio import TOKEN

    async with house.client(row("GetOrgs", {"orgs": []}, scope="orgs:read"), token=None) as client:
        headers = {"authorization": form.format(TOKEN)}
        assert (await client.get("/orgs/v1", headers=headers)).status_code == 200


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer ", "Bearer wrong", "wrong", "Bearer " + "x" * 5000, "é"]
)
async def test_no_token_or_a_wrong_one_is_401_before_all_else(
    house: Any, row: Any, header: str | None
) -> None:
    async with house.client(row("CreateRoom"), token=None) as client:
        headers = {} if header is None else {"authorization": header.encode()}
        reply = await client.post("/rooms/v2/app-none/create", content=b"{", headers=headers)
    assert reply.status_code == 401
    check_reply("CreateRoom", reply.status_code, reply.headers, reply.content)


async def test_a_revoked_token_is_refused_from_the_next_call_on(house: Any, row: Any) -> None:
    token, token_id = await limited_token(house, "orgs:read")
    async with house.client(row("GetOrgs", {"orgs": []}, scope="orgs:read"), token=token) as client:
        assert (await client.get("/orgs/v1")).status_code == 200
        org_id = house.studio.caller.org_id
        await house.studio.ask(tokens.revoke_token, (org_id, token_id))
        assert (await client.get("/orgs/v1")).status_code == 401


async def limited_token(house: Any, *scopes: str) -> tuple[str, str]:
    """A token of these scopes only, and its id."""
    studio = house.studio
    wanted = tokens.NewToken(studio.caller.org_id, "limited", scopes)
    made = await studio.ask(tokens.create_token, wanted)
    return made.plain_text, made.token.org_token_id


async def test_a_token_without_the_scope_is_401_that_names_it(house: Any, row: Any) -> None:
    token, _ = await limited_token(house, "processes:read")
    async with house.client(row("CreateRoom", CREATED), token=token) as client:
        reply = await client.post("/rooms/v2/app-none/create", content=b"{")
    assert (reply.status_code, reply.json()["message"]) == (
        401,
        "Missing scope: processes:read-write",
    )


async def test_read_write_includes_read(house: Any, row: Any) -> None:
    token, _ = await limited_token(house, "orgs:read-write")
    async with house.client(row("GetOrgs", {"orgs": []}, scope="orgs:read"), token=token) as client:
        assert (await client.get("/orgs/v1")).status_code == 200


async def test_the_app_is_looked_for_before_the_body_is_judged(house: Any, row: Any) -> None:
    async with house.client(row("CreateRoom", CREATED)) as client:
        unknown = await client.post("/rooms/v2/app-none/create", json={"region": "Mars"})
        known = await client.post(
            f"/rooms/v2/{house.studio.app_id}/create", json={"region": "Mars"}
        )
    assert (unknown.status_code, unknown.json()["message"]) == (404, 'App "app-none" not found')
    assert known.status_code == 422
    assert known.json()["details"]["body.region"]["value"] == "Mars"
    check_reply("CreateRoom", known.status_code, known.headers, known.content)


async def test_an_undeclared_422_is_400_where_that_is_declared(house: Any, row: Any) -> None:
    async with house.client(row("GetLogsForProcess", scope="processes:read")) as client:
        path = f"/logs/v1/{house.studio.app_id}/process/p?tailLines=0"
        reply = await client.get(path)
    assert reply.status_code == 400
    assert "query.tailLines must be between 1 and 5000" in reply.json()["message"]


async def test_another_org_does_not_exist(house: Any, row: Any) -> None:
    org_id = house.studio.caller.org_id
    rows = (
        row("GetApps", {"applications": []}, scope="applications:read"),
        row("GetOrgTokens", {"tokens": []}, scope="tokens:read"),
    )
    async with house.client(*rows) as client:
        assert (await client.get("/apps/v2/apps")).status_code == 200
        assert (await client.get(f"/apps/v2/apps?orgId={org_id}")).status_code == 200
        assert (await client.get("/apps/v2/apps?orgId=org-x")).status_code == 404
        assert (await client.get(f"/tokens/v1/orgs/{org_id}")).status_code == 200
        assert (await client.get("/tokens/v1/orgs/org-x")).status_code == 404


async def test_an_operation_without_a_row_is_not_implemented(house: Any) -> None:
    async with house.client() as client:
        reply = await client.get("/apps/v2/apps")
    assert (reply.status_code, reply.json()) == (
        501,
        {"message": "GetApps is not implemented yet"},
    )


async def test_a_write_is_handed_on_after_its_commit(house: Any, row: Any) -> None:
    def run(tx: Tx, caller: Any, wanted: Any, context: Any) -> Any:
        context.wake.append(("app", "Tokyo"))
        assert house.woken == []
        return CREATED

    async with house.client(row("CreateRoom", run, kind="write")) as client:
        reply = await client.post(f"/rooms/v2/{house.studio.app_id}/create", json=GOOD)
    assert reply.status_code == 201
    assert house.woken == [("app", "Tokyo")]


async def test_what_an_async_row_leaves_is_handed_on_too(house: Any) -> None:
    async def run(services: Any, caller: Any, wanted: Any, context: Any) -> None:
        context.wake.append(("app", "Tokyo"))

    scope = "processes:read-write"
    made = Operation("DestroyRoom", lambda r: r, run, lambda r: r, "async", scope)
    async with house.client(made) as client:
        reply = await client.post(f"/rooms/v2/{house.studio.app_id}/destroy/r")
    assert (reply.status_code, house.woken) == (204, [("app", "Tokyo")])


async def test_a_write_that_fails_hands_nothing_on(house: Any, row: Any) -> None:
    def run(tx: Tx, caller: Any, wanted: Any, context: Any) -> Any:
        context.wake.append(("app", "Tokyo"))
        raise StateConflict('roomId "r" already exists')

    async with house.client(row("CreateRoom", run, kind="write")) as client:
        reply = await client.post(f"/rooms/v2/{house.studio.app_id}/create", json=GOOD)
    assert (reply.status_code, reply.json()["message"]) == (400, 'roomId "r" already exists')
    assert house.woken == []


async def test_a_full_machine_says_when_to_come_back(house: Any, row: Any) -> None:
    async with house.client(row("CreateRoom", Exhausted("No memory left", 9))) as client:
        reply = await client.post(f"/rooms/v2/{house.studio.app_id}/create", json=GOOD)
    assert (reply.status_code, reply.headers["retry-after"]) == (429, "9")
    check_reply("CreateRoom", reply.status_code, reply.headers, reply.content)


async def test_a_mistake_of_ours_is_500_with_an_id(house: Any, row: Any) -> None:
    async with house.client(row("CreateRoom", KeyError("inside"))) as client:
        reply = await client.post(f"/rooms/v2/{house.studio.app_id}/create", json=GOOD)
    assert reply.status_code == 500
    assert reply.json()["message"].startswith("Internal error (id ")
    assert "inside" not in reply.text


async def test_no_body_where_none_is_declared(house: Any, row: Any) -> None:
    async with house.client(row("DestroyRoom", None)) as client:
        reply = await client.post(f"/rooms/v2/{house.studio.app_id}/destroy/r")
    assert (reply.status_code, reply.content) == (204, b"")
    assert "content-type" not in reply.headers
    check_reply("DestroyRoom", reply.status_code, reply.headers, reply.content)


async def test_an_answer_of_its_own_kind(house: Any) -> None:
    async def run(services: Any, caller: Any, wanted: Any, context: Any) -> bytes:
        assert caller is None
        return b"<Error/>"

    made = Operation(
        "GetConnectionInfo",
        lambda request: None,
        run,
        lambda body: Raw(body, "application/xml", 403, {"ETag": '"x"'}),
        "async",
    )
    async with house.client(made, token=None) as client:
        reply = await client.get("/rooms/v2/app-1/connectioninfo/r")
    assert (reply.status_code, reply.text, reply.headers["etag"]) == (403, "<Error/>", '"x"')


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        ([("Nothing", "orgs:read")], "neither in the contract"),
        ([("GetOrgs", "orgs:read")] * 2, "two rows"),
        ([("GetOrgs", None)], "needs a scope"),
        ([("GetOrgs", "orgs:write")], "unknown scope"),
        ([("GetPingServiceEndpoints", "orgs:read")], "needs a scope"),
        ([("CreateLobby", "orgs:read")], "needs a scope"),
    ],
)
async def test_rows_that_do_not_fit_stop_the_start(
    house: Any, row: Any, rows: list[tuple[str, str | None]], problem: str
) -> None:
    with pytest.raises(ValueError, match=problem):
        house.application(*(row(name, scope=scope) for name, scope in rows))
