"""Walks the product's own rows: each is guarded, and bad input is answered as the contract allows."""

import importlib
import json
import pkgutil
import string
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import innkeeper.api
from innkeeper.api import contract
from innkeeper.api.operation import ANY_CALLER
from innkeeper.api.rows import OPERATIONS
from innkeeper.cli.api import segment
from innkeeper.testing.contract_check import check_reply
from innkeeper.usecases import tokens

DECLARED = contract.load().operations
GUARDED = [row for row in OPERATIONS if row.scope is not None]
IN_APPS = [row for row in GUARDED if DECLARED[row.operation_id].names_app]


def names(rows: Any) -> list[str]:
    return [row.operation_id for row in rows]


async def call(client: httpx.AsyncClient, operation_id: str, **settings: Any) -> httpx.Response:
    """The operation with ids that do not exist, and the least body that its schema allows."""
    declared = DECLARED[operation_id]
    values = {name: "Tokyo" if name == "region" else f"no-{name}" for name in declared.path_names}
    values |= settings.pop("values", {})
    path = declared.path.format(**{name: segment(value) for name, value in values.items()})
    reply = await client.request(declared.method, path, **settings)
    if not declared.extension:
        check_reply(operation_id, reply.status_code, reply.headers, reply.content)
    return reply


@pytest.fixture
async def client(house: Any) -> AsyncIterator[httpx.AsyncClient]:
    async with house.client(*OPERATIONS) as client:
        yield client


def test_every_family_is_in_the_table() -> None:
    for module in pkgutil.iter_modules(innkeeper.api.__path__):
        if module.name != "rows":
            rows = getattr(
                importlib.import_module(f"innkeeper.api.{module.name}"), "OPERATIONS", ()
            )
            assert set(names(rows)) <= set(names(OPERATIONS)), module.name


async def test_without_a_token_nothing_is_told(client: httpx.AsyncClient) -> None:
    del client.headers["authorization"]
    for row in GUARDED:
        assert (await call(client, row.operation_id)).status_code == 401, row.operation_id


async def test_a_token_needs_the_scope(client: httpx.AsyncClient, house: Any) -> None:
    studio = house.studio
    wanted = tokens.NewToken(studio.caller.org_id, "limited", ("tickets:read",))
    made = await studio.ask(tokens.create_token, wanted)
    client.headers["authorization"] = f"Bearer {made.plain_text}"
    for row in GUARDED:
        if row.scope == ANY_CALLER:
            continue
        reply = await call(client, row.operation_id)
        said = (row.operation_id, reply.status_code, reply.json()["message"])
        assert said == (row.operation_id, 401, f"Missing scope: {row.scope}")


@pytest.mark.parametrize("body", [b"{", b"{}", b""])
async def test_an_app_that_is_not_there_comes_before_a_bad_body(
    client: httpx.AsyncClient, body: bytes
) -> None:
    for row in IN_APPS:
        reply = await call(client, row.operation_id, content=body)
        said = (row.operation_id, reply.status_code, reply.json())
        assert said == (row.operation_id, 404, {"message": 'App "no-appId" not found'})


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"{}", b'{"region": 5}', b"\xff" * 50])
async def test_a_bad_body_is_never_a_5xx(
    client: httpx.AsyncClient, house: Any, body: bytes
) -> None:
    values = {"appId": house.studio.app_id, "orgId": house.studio.caller.org_id}
    for row in OPERATIONS:
        reply = await call(client, row.operation_id, content=body, values=dict(values))
        assert reply.status_code < 500, row.operation_id


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)
QUERIES = st.dictionaries(
    st.sampled_from(
        sorted({p.name for d in DECLARED.values() for p in d.parameters if p.place == "query"})
    ),
    st.one_of(TEXTS, st.integers().map(str), st.sampled_from(["true", "Tokyo", "running", ""])),
    max_size=4,
)
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), TEXTS),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.one_of(
                st.sampled_from(
                    sorted(
                        {
                            f
                            for s in contract.load().schemas.values()
                            for f in s.get("properties", {})
                        }
                    )
                ),
                st.text(string.ascii_letters, max_size=5),
            ),
            inner,
            max_size=5,
        ),
    ),
    max_leaves=12,
)


PLAIN = {"query": {}, "body": None, "known": False}


@settings(
    max_examples=300,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@example(operation_id="GetOrgMembers", texts=["."] * 4, **PLAIN)
@example(operation_id="GetOrgMembers", texts=[".."] * 4, **PLAIN)
@example(operation_id="GetOrgMembers", texts=["\0"] * 4, **PLAIN)
@given(
    operation_id=st.sampled_from(names(OPERATIONS)),
    texts=st.lists(TEXTS, min_size=4, max_size=4),
    query=QUERIES,
    body=JSON,
    known=st.booleans(),
)
async def test_whatever_is_sent_the_answer_is_the_contracts(
    client: httpx.AsyncClient,
    house: Any,
    operation_id: str,
    texts: list[str],
    query: dict[str, str],
    body: Any,
    known: bool,
) -> None:
    values = dict(zip(DECLARED[operation_id].path_names, texts, strict=False))
    if known:
        values |= {"appId": house.studio.app_id, "orgId": house.studio.caller.org_id}
    content = json.dumps(body).encode()
    reply = await call(client, operation_id, content=content, params=query, values=values)
    assert reply.status_code < 500
