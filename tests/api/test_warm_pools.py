"""Warm pools on the wire: kept whole, region by region."""

from typing import Any

import pytest

from innkeeper.interfaces import Tx
from innkeeper.usecases import allocations, processes


async def test_pools_are_replaced_whole_and_nought_keeps_none(shop: Any) -> None:
    where = {"appId": shop.app}
    assert (await shop.call("GetWarmPools", where)).json() == {"warmPools": []}
    tokyo, london = {"region": "Tokyo", "processes": 2}, {"region": "London", "processes": 1}
    put = await shop.call("SetWarmPools", where, json={"warmPools": [tokyo, london]})
    assert (put.status_code, put.json()) == (200, {"warmPools": [london, tokyo]})
    assert (await shop.call("GetWarmPools", where)).json() == {"warmPools": [london, tokyo]}
    less = [{"region": "London", "processes": 0}]
    put = await shop.call("SetWarmPools", where, json={"warmPools": less})
    assert put.json() == {"warmPools": []}


@pytest.mark.parametrize(
    ("pools", "field"),
    [
        ([{"region": "Sydney", "processes": 1}], "body.warmPools[0].region"),
        ([{"region": "Atlantis", "processes": 1}], "body.warmPools[0].region"),
        ([{"region": "Tokyo", "processes": -1}], "body.warmPools[0].processes"),
        ([{"region": "Tokyo", "processes": 1}] * 2, "body.warmPools[1].region"),
    ],
)
async def test_what_cannot_be_kept_is_refused(shop: Any, pools: Any, field: str) -> None:
    refused = await shop.call("SetWarmPools", {"appId": shop.app}, json={"warmPools": pools})
    assert refused.status_code == 422
    assert field in refused.json()["details"]
    assert (await shop.call("GetWarmPools", {"appId": shop.app})).json() == {"warmPools": []}


async def test_a_refused_room_makes_pools_give_way_and_others_do_not(shop: Any) -> None:
    """Not every refusal: one each two seconds tells as much, and where nobody has a pool none is told."""
    where, london = {"appId": shop.app}, (shop.app, "London")
    await shop.studio.deploy(cpu=8)
    for _ in range(8):
        await shop.studio.ask(processes.create_process, london)

    async def short() -> bool:
        def read(tx: Tx) -> bool:
            _, wanted = allocations.load_wanted(tx, london, shop.studio.clock())
            return wanted.rooms_wait

        found: bool = await shop.studio.store.read(read)
        return found

    async def refused() -> None:
        reply = await shop.call("CreateRoom", where, json={"region": "Tokyo"})
        assert reply.status_code == 429

    await refused()
    assert not await short()
    pools = {"warmPools": [{"region": "London", "processes": 1}]}
    await shop.call("SetWarmPools", where, json=pools)
    shop.http._transport.app.dispatch._shortages._quiet_until = 0.0
    await refused()
    assert await short()
    shop.studio.clock.move(15)
    assert not await short()
    await refused()  # too soon to tell it again
    assert not await short()
