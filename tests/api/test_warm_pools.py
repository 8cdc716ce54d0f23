"""Warm pools on the wire: kept whole, region by region."""

from typing import Any

import pytest


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
