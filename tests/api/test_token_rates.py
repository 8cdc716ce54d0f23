"""How often one org token may call: its own rate before the installation's (behaviour.md 0.2, 9)."""

from typing import Any

import pytest

from innkeeper.api.rate_limits import RateLimit, RateLimits, TokenLimit
from innkeeper.core.errors import Exhausted
from innkeeper.usecases import callers, tokens, users
from innkeeper.usecases.tokens import NewToken
from tests.api.two_studios import BOSS, open_two

Header = dict[str, str]


class Ticks:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def ticks(house: Any) -> Ticks:
    """The clock of a house that limits no token; asked for before the shop that opens in it."""
    ticks = Ticks()
    house.services.rate_limits = RateLimits(monotonic=ticks)
    return ticks


@pytest.fixture
def five_each(house: Any, ticks: Ticks) -> Ticks:
    """The same where every token may call five times in a second."""
    house.services.rate_limits = RateLimits(developer_calls_per_second=5, monotonic=ticks)
    return ticks


async def program(
    shop: Any, name: str, scopes: tuple[str, ...] | None = None
) -> tuple[str, Header]:
    """A new token's id, and the header that carries its text."""
    wanted = NewToken(shop.studio.caller.org_id, name, scopes)
    made = await shop.studio.ask(tokens.create_token, wanted)
    return made.token.org_token_id, {"authorization": f"Bearer {made.plain_text}"}


async def limit(shop: Any, token_id: str, rate: int | None) -> None:
    reply = await shop.call(
        "SetOrgTokenLimit", {"orgTokenId": token_id}, body={"callsPerSecond": rate}
    )
    assert reply.json() == {"orgTokenId": token_id, "callsPerSecond": rate}


async def passed(shop: Any, headers: Header, tries: int = 12, operation: str = "GetApps") -> int:
    """How many of the calls pass, of which each is 429 from the first that is."""
    statuses = [(await shop.call(operation, headers=headers)).status_code for _ in range(tries)]
    refused = [status == 429 for status in statuses]
    assert refused == sorted(refused)
    return refused.count(False)


async def test_a_limited_token_gets_429_and_others_do_not(ticks: Ticks, shop: Any) -> None:
    (limited, ci), (_, other) = await program(shop, "ci"), await program(shop, "other")
    assert await passed(shop, ci) == 12
    await limit(shop, limited, 3)
    ticks.now += 1
    assert await passed(shop, ci) == 3
    assert await passed(shop, other) == 12
    reply = await shop.call("GetApps", headers=ci)
    assert (reply.status_code, reply.headers["retry-after"]) == (429, "1")
    assert reply.json()["message"] == "Too many calls with this token: at most 3 in a second"
    ticks.now += 1
    assert await passed(shop, ci) == 3


async def test_a_refused_call_does_no_work(
    ticks: Ticks, shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    token_id, ci = await program(shop, "ci")
    await limit(shop, token_id, 1)
    assert await passed(shop, ci) == 1
    body = {"appName": "made", "authConfiguration": {}}

    def asked(*_: Any) -> Any:
        raise AssertionError("the store was asked")

    with monkeypatch.context() as patch:
        patch.setattr(shop.studio.store, "read", asked)
        patch.setattr(shop.studio.store, "write", asked)
        assert (await shop.call("CreateApp", body=body, headers=ci)).status_code == 429
        assert (await shop.call("CreateApp", body={}, headers=ci)).status_code == 429
    ticks.now += 1
    assert (await shop.call("CreateApp", body=body, headers=ci)).status_code == 201


async def test_the_default_is_the_installations(five_each: Ticks, shop: Any) -> None:
    token_id, ci = await program(shop, "ci")
    for rate, count in ((None, 5), (8, 8), (0, 12), (2, 2), (None, 5)):
        await limit(shop, token_id, rate)
        five_each.now += 60
        assert (await shop.call("GetApps", headers=ci)).status_code == 200  # tells the rate
        five_each.now += 60
        assert await passed(shop, ci) == count, rate


async def test_bad_requests_and_missing_scopes_count_too(ticks: Ticks, shop: Any) -> None:
    token_id, ci = await program(shop, "ci", ("builds:read",))
    await limit(shop, token_id, 2)
    assert [
        (await shop.call("CreateApp", body=body, headers=ci)).status_code
        for body in ({}, {"appName": "x", "authConfiguration": {}}, {})
    ] == [401, 401, 429]
    admins_id, admin = await program(shop, "admin")
    await limit(shop, admins_id, 2)
    statuses = [
        (await shop.call("CreateApp", body={}, headers=admin)).status_code for _ in range(3)
    ]
    assert statuses == [422, 422, 429]


async def test_streams_count_too(ticks: Ticks, shop: Any) -> None:
    token_id, ci = await program(shop, "ci")
    await limit(shop, token_id, 1)
    at = {"appId": shop.app, "buildId": "1"}
    statuses = [
        (await shop.call("RunBuildDeprecated", at, headers=ci, files={"file": b"x"})).status_code
        for _ in range(2)
    ]
    assert statuses == [404, 429]


async def test_a_token_can_always_lift_its_own_limit(ticks: Ticks, shop: Any) -> None:
    token_id, ci = await program(shop, "ci", ("tokens:read-write", "applications:read"))
    await limit(shop, token_id, 1)
    assert await passed(shop, ci) == 1
    at = {"orgTokenId": token_id}
    for _ in range(3):
        reply = await shop.call("SetOrgTokenLimit", at, body={"callsPerSecond": None}, headers=ci)
        assert reply.status_code == 200
    ticks.now += 1
    assert await passed(shop, ci) == 12


@pytest.mark.parametrize(
    "body",
    [
        {"callsPerSecond": -1},
        {"callsPerSecond": 1_000_001},
        {"callsPerSecond": 1.5},
        {"callsPerSecond": "5"},
        {"callsPerSecond": True},
        {},
    ],
)
async def test_what_is_no_rate_is_refused(shop: Any, body: Any) -> None:
    token_id, _ = await program(shop, "ci")
    reply = await shop.call("SetOrgTokenLimit", {"orgTokenId": token_id}, body=body)
    assert reply.status_code == 422
    assert "body.callsPerSecond" in reply.json()["message"]


async def test_bounds_are_inside(shop: Any) -> None:
    token_id, _ = await program(shop, "ci")
    for rate in (0, 1_000_000, None):
        await limit(shop, token_id, rate)


async def test_another_orgs_token_is_not_there(shop: Any) -> None:
    ours, theirs = await open_two(shop)
    boss = (await ours.studio.ask(users.create_user_token, BOSS)).plain_text
    headers = {"authorization": f"Bearer {boss}"}
    for token_id in (ours.ids["orgTokenId"], "org-token-none"):
        reply = await shop.call(
            "SetOrgTokenLimit",
            {"orgTokenId": token_id},
            body={"callsPerSecond": 1},
            headers=headers,
        )
        assert (reply.status_code, reply.json()["message"]) == (
            404,
            f'Token "{token_id}" not found',
        )
    listed = await ours.studio.ask(tokens.list_tokens, ours.ids["orgId"])
    assert {token.calls_per_second for token in listed} == {None}
    own = await shop.call(
        "SetOrgTokenLimit",
        {"orgTokenId": theirs.ids["orgTokenId"]},
        body={"callsPerSecond": 1},
        headers=headers,
    )
    assert own.status_code == 200


async def test_the_caller_carries_the_rate(shop: Any) -> None:
    token_id, ci = await program(shop, "ci")
    text = ci["authorization"].removeprefix("Bearer ")
    for rate in (None, 0, 7):
        await limit(shop, token_id, rate)
        caller = await shop.studio.store.read(lambda tx: callers.identify(tx, text))
        assert caller.calls_per_second == rate


# ---------------------------------------------------------------- the table of rates


def taken(limit: TokenLimit, caller: object) -> int:
    for count in range(50):
        try:
            limit.take(caller)
        except Exhausted:
            return count
    return 50


def test_the_call_that_tells_the_rate_counts() -> None:
    rates = TokenLimit(None, Ticks())
    rates.take("a")
    rates.learn("a", 4)
    assert taken(rates, "a") == 3
    rates.learn("a", 4)  # nothing new
    assert taken(rates, "a") == 0
    assert taken(rates, "b") == 50


def test_rates_are_bounded_and_whoever_calls_is_remembered() -> None:
    ticks = Ticks()
    rates = TokenLimit(RateLimit("calls", 10, 1.0, ticks), ticks, rates_max=100)
    rates.learn("busy", 1)
    for number in range(1000):
        rates.learn(number, 0)
        assert taken(rates, "busy") == 0
    assert len(rates._own) == 100
    assert (taken(rates, 0), taken(rates, 999)) == (10, 50)
    for number in range(1000):
        rates.learn(number, None)
    assert list(rates._own) == ["busy"]
