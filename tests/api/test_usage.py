"""Process metrics and usage limits on the wire."""

from dataclasses import replace
from typing import Any

import pytest

from innkeeper.core.billing import Prices
from innkeeper.testing.studio import Studio
from innkeeper.usecases import lifecycle, metering, processes
from innkeeper.usecases.metering import Measured
from tests.api.conftest import Shop

V3, V1 = "GetProcessMetrics", "GetMetricsDeprecated"


async def started(studio: Studio) -> str:
    deployment = await studio.deploy(cpu=0.5)
    context = studio.context()

    def make(tx: Any) -> str:
        process_id = processes.new_process(
            tx, studio.caller.org_id, deployment, "Tokyo", None, context, "for a test"
        )
        lifecycle.record_attempt(tx, process_id, context.now)
        lifecycle.record_booted(tx, process_id, context.now)
        lifecycle.record_started(tx, process_id, deployment.deployment_id, context.now)
        return process_id

    return await studio.store.write(make)


async def measured(studio: Studio, process_id: str) -> None:
    for tick in range(1, 7):
        studio.clock.move(10)
        now, org, app = studio.clock.now, studio.caller.org_id, studio.app_id
        one = Measured(process_id, org, app, now, now, tick * 5000, 2**20, tick * 1000, 3)
        await studio.store.write(lambda tx, one=one: metering.record(tx, [one]))


@pytest.fixture
async def place(shop: Shop) -> dict[str, str]:
    process_id = await started(shop.studio)
    await measured(shop.studio, process_id)
    return {"appId": shop.app, "processId": process_id}


async def test_v3_and_v1_tell_the_same_under_their_own_names(
    shop: Shop, place: dict[str, str]
) -> None:
    at = shop.studio.clock.now.timestamp()
    for operation, rate, total, connections in (
        (V3, "rateEgress", "totalEgress", "activeConnections"),
        (V1, "rate_egress", "total_egress", "active_connections"),
    ):
        names = ["cpu", "memory", rate, total, connections]
        reply = await shop.call(operation, place, params={"metrics": names})
        assert reply.status_code == 200
        assert reply.json() == {
            "cpu": [{"timestamp": at, "value": 100.0}],
            "memory": [{"timestamp": at, "value": 2**20}],
            rate: [{"timestamp": at, "value": 100.0}],
            total: [{"timestamp": at, "value": 6000}],
            connections: [{"timestamp": at, "value": 3}],
        }


async def test_the_default_is_cpu_memory_and_the_rate_of_egress(
    shop: Shop, place: dict[str, str]
) -> None:
    assert set((await shop.call(V3, place)).json()) == {"cpu", "memory", "rateEgress"}
    assert set((await shop.call(V1, place)).json()) == {"cpu", "memory", "rate_egress"}


async def test_gpus_are_known_by_name_only(shop: Shop, place: dict[str, str]) -> None:
    asked = {"metrics": ["gpuMemory", "gpuUtilization"]}
    reply = await shop.call(V3, place, params=asked)
    assert reply.json() == {"gpuMemory": [], "gpuUtilization": []}


async def test_a_comma_list_and_a_name_given_twice(shop: Shop, place: dict[str, str]) -> None:
    reply = await shop.call(V3, place, params={"metrics": "cpu,memory,cpu"})
    assert set(reply.json()) == {"cpu", "memory"}


async def test_moments_are_seconds_and_may_have_a_fraction(
    shop: Shop, place: dict[str, str]
) -> None:
    end = shop.studio.clock.now.timestamp()
    asked = {"start": end - 30.5, "end": end - 0.5, "step": 10, "metrics": "totalEgress"}
    points = (await shop.call(V3, place, params=asked)).json()["totalEgress"]
    assert points == [
        {"timestamp": end - 30.5, "value": 2000},
        {"timestamp": end - 20.5, "value": 3000},
        {"timestamp": end - 10.5, "value": 4000},
        {"timestamp": end - 0.5, "value": 5000},
    ]


@pytest.mark.parametrize("operation", [V3, V1])
@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"metrics": "heat"}, "query.metrics"),
        ({"start": "soon"}, "query.start"),
        ({"start": "nan"}, "query.start"),
        ({"start": "1e400"}, "query.start"),
        ({"start": 2, "end": 1}, "query.start"),
        ({"start": 1e300, "end": 2e300}, "query.start"),
        ({"start": 0, "end": 1_769_860_800_000}, "query.end"),
        ({"step": 0}, "query.step"),
        ({"step": 1.5}, "query.step"),
        ({"start": 0, "step": 60}, "query.step"),
    ],
)
async def test_what_is_refused(
    shop: Shop, place: dict[str, str], operation: str, asked: dict[str, Any], field: str
) -> None:
    reply = await shop.call(operation, place, params=asked)
    assert reply.status_code == 422
    assert list(reply.json()["details"]) == [field]


async def test_of_a_process_that_is_not_there(shop: Shop, place: dict[str, str]) -> None:
    for wrong in ({"appId": "app-x"}, {"processId": "p-x"}):
        for operation in (V3, V1):
            assert (await shop.call(operation, place | wrong)).status_code == 404


async def test_a_process_that_ended_keeps_its_history(shop: Shop, place: dict[str, str]) -> None:
    studio, context = shop.studio, shop.studio.context()
    await studio.store.write(
        lambda tx: lifecycle.record_terminated(tx, place["processId"], None, context)
    )
    assert len((await shop.call(V3, place)).json()["cpu"]) == 1


async def test_usage_limits(shop: Shop, place: dict[str, str]) -> None:
    reply = await shop.call("GetUsageLimits")
    assert reply.status_code == 200
    assert reply.json() == {
        "monthlyProcessVcpuHoursConsumed": 0.5 / 60,
        "concurrentProcessVcpus7DayMax": 0.5,
    }
    foreign = await shop.call("GetUsageLimits", params={"orgId": "org-x"})
    assert foreign.status_code == 404


async def test_the_limit_of_a_month_is_shown_where_there_is_one(shop: Shop) -> None:
    (org,) = (await shop.call("GetOrgs")).json()["orgs"]
    assert "monthlyProcessVcpuHoursLimit" not in org
    policy = replace(shop.studio.policy, monthly_vcpu_hours_limit=12.5)
    shop.studio.policy = shop.house.services.policy = policy
    (org,) = (await shop.call("GetOrgs")).json()["orgs"]
    assert org["monthlyProcessVcpuHoursLimit"] == 12.5
    limits = (await shop.call("GetUsageLimits")).json()
    assert limits["monthlyProcessVcpuHoursLimit"] == 12.5


async def test_used_up_hours_refuse_a_process_and_a_room(shop: Shop, place: dict[str, str]) -> None:
    policy = replace(
        shop.studio.policy, monthly_vcpu_hours_limit=0.001, prices=Prices(enforced=True)
    )
    shop.studio.policy = shop.house.services.policy = policy
    where = {"appId": shop.app, "region": "Tokyo"}
    refused = await shop.call("CreateProcess", where)
    assert (refused.status_code, "Monthly vCPU hours" in refused.text) == (402, True)
    # The running process still has a slot: nothing more is used, so nothing is refused.
    room = await shop.call("CreateRoom", where, body={"region": "Tokyo"})
    assert room.status_code == 201
    room = await shop.call("CreateRoom", where, body={"region": "Tokyo"})
    assert room.status_code == 402
