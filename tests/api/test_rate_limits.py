"""How often one address, or one org token, may call (behaviour.md 0.2, 9)."""

import sys
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from innkeeper.api import contract
from innkeeper.api.rate_limits import RateLimit, RateLimits, TokenLimit, address_key
from innkeeper.api.rows import OPERATIONS
from innkeeper.core.errors import Exhausted
from innkeeper.testing.contract_check import check_reply
from innkeeper.testing.studio import TOKEN

DECLARED = contract.load().operations


class Ticks:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def ticks() -> Ticks:
    return Ticks()


def taken(limit: RateLimit | TokenLimit, caller: object) -> int:
    """How many calls pass until one is refused; 0 to 1000."""
    for count in range(1000):
        try:
            limit.take(caller)
        except Exhausted:
            return count
    return 1000


@pytest.mark.parametrize(("count", "period_s"), [(1, 60.0), (10, 1.0), (600, 60.0), (7, 3.0)])
def test_so_many_at_once_and_so_many_a_period(ticks: Ticks, count: int, period_s: float) -> None:
    limit = RateLimit("calls", count, period_s, ticks)
    assert taken(limit, "a") == count
    assert taken(limit, "b") == count
    ticks.now += period_s / count * 1.001
    assert taken(limit, "a") == 1
    ticks.now += period_s * 5
    assert taken(limit, "a") == count


def test_a_refusal_says_when_to_come_back(ticks: Ticks) -> None:
    limit = RateLimit("logins", 2, 60.0, ticks)
    assert taken(limit, "a") == 2
    ticks.now += 0.5
    with pytest.raises(Exhausted) as refused:
        limit.take("a")
    assert refused.value.message == "Too many logins: at most 2 in a minute"
    assert refused.value.retry_after_s == 30
    ticks.now += refused.value.retry_after_s
    limit.take("a")


def test_memory_is_bounded(ticks: Ticks) -> None:
    limit = RateLimit("calls", 5, 1.0, ticks, callers_max=100)
    for _ in range(5):
        limit.take("busy")
    for number in range(1000):
        limit.take(number)
        with pytest.raises(Exhausted):
            limit.take("busy")  # whoever calls is remembered
    assert sys.getsizeof(limit._full_at) < 20_000
    assert len(limit._full_at) == 100


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff:1:2:3", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("::1", "::2", True),
        ("fe80::1%eth0", "fe80::2%eth0", True),
        ("not:an:address", "not:an:other", False),
    ],
)
def test_who_counts_as_one_client(one: str, other: str, same: bool) -> None:
    assert (address_key(one) == address_key(other)) is same


def test_which_operation_has_which_limit() -> None:
    limits = RateLimits(
        logins_per_minute=1,
        lobby_calls_per_minute=2,
        public_reads_per_second=3,
        polls_per_second=10,
        developer_calls_per_second=5,
    )
    kinds: dict[int | None, set[str]] = {}
    for operation_id, declaration in DECLARED.items():
        limit = limits.of(declaration)
        count = None if limit is None else taken(limit, operation_id)
        kinds.setdefault(count, set()).add(operation_id)
    assert {"LoginAnonymous", "LoginNickname", "LoginGoogle"} <= kinds[1]
    assert len(kinds[2]) == 7
    assert {"ListActivePublicLobbies", "GetLobbyInfoByShortCode", "GetLobbyInfo"} <= kinds[3]
    assert kinds[10] == {"GetConnectionInfo", "GetConnectionInfoDeprecated"}
    assert {"CreateRoom", "SetLobbyState"} <= kinds[5]
    for operation_id in kinds[None]:
        declaration = DECLARED[operation_id]
        assert declaration.extension or 429 not in declaration.errors


def test_without_numbers_nothing_is_limited() -> None:
    for limit in {RateLimits().of(declaration) for declaration in DECLARED.values()}:
        assert limit is None or taken(limit, "x") == 1000  # org tokens may have rates of their own


Client = Callable[..., httpx.AsyncClient]


@pytest.fixture
def client(house: Any) -> Client:
    """A client of the product's rows from any address."""

    def make(address: str = "192.0.2.1", token: str | None = TOKEN) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(application(), client=(address, 5))
        headers = {"authorization": f"Bearer {token}"} if token else {}
        return httpx.AsyncClient(transport=transport, base_url="http://a.test", headers=headers)

    made: list[Any] = []

    def application() -> Any:
        if not made:
            made.append(house.application(*OPERATIONS))
        return made[0]

    return make


async def test_a_limited_address_gets_429(house: Any, client: Client, ticks: Ticks) -> None:
    house.services.rate_limits = RateLimits(public_reads_per_second=2, monotonic=ticks)
    path = f"/lobby/v3/{house.studio.app_id}/list/public"
    async with client() as one, client("192.0.2.9") as other:
        statuses = [(await one.get(path)).status_code for _ in range(3)]
        assert statuses == [200, 200, 429]
        reply = await one.get(path)
        check_reply("ListActivePublicLobbies", reply.status_code, reply.headers, reply.content)
        assert reply.headers["retry-after"] == "1"
        assert (await other.get(path)).status_code == 200
        ticks.now += 1
        assert (await one.get(path)).status_code == 200


async def test_developers_are_limited_by_token(house: Any, client: Client, ticks: Ticks) -> None:
    house.services.rate_limits = RateLimits(developer_calls_per_second=1, monotonic=ticks)
    async with client() as one, client("192.0.2.9") as elsewhere, client(token="x" * 20) as other:
        assert (await one.get("/apps/v2/apps")).status_code == 200
        assert (await one.get("/apps/v2/apps")).status_code == 429
        assert (await elsewhere.get("/apps/v2/apps")).status_code == 429
        assert (await other.get("/apps/v2/apps")).status_code == 401
    async with client(token=None) as nobody:
        assert (await nobody.get("/apps/v2/apps")).status_code == 401
