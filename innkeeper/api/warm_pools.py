"""Warm pools on the wire: an extension of ours."""

from innkeeper.api import wire_generated as wire
from innkeeper.api.operation import Operation
from innkeeper.api.request import Request
from innkeeper.usecases import warm_pools
from innkeeper.usecases.warm_pools import Pools


def read_app_id(request: Request) -> str:
    """Whose pools."""
    app_id: str = request.path["appId"]
    return app_id


def read_pools(request: Request) -> tuple[str, Pools]:
    """(app id, the pools that it shall have)."""
    body: wire.InnkeeperWarmPools = request.body
    return request.path["appId"], [(pool.region, pool.processes) for pool in body.warmPools]


def write_pools(pools: Pools) -> wire.InnkeeperWarmPools:
    """The pools, by region."""
    return wire.InnkeeperWarmPools(
        warmPools=[
            wire.InnkeeperWarmPool(region=region, processes=count)  # type: ignore[arg-type]
            for region, count in pools
        ]
    )


OPERATIONS = (
    Operation(
        "GetWarmPools",
        read_app_id,
        warm_pools.get_pools,
        write_pools,
        "read",
        "applications:read",
    ),
    Operation(
        "SetWarmPools",
        read_pools,
        warm_pools.set_pools,
        write_pools,
        scope="applications:read-write",
    ),
)
