"""FleetsV2, FleetsV1 and NodesV1 on the wire (behaviour.md 8.9)."""

from typing import Any

import pytest

from innkeeper.usecases import fleet_metrics

V2 = {"name": "eu", "nodeShapeId": "shape-amd64-8-16", "autoscalerConfig": {"scaleUpThreshold": 85}}
V1 = {"name": "us", "nodeShape": "cpu-4-16", "autoscalerConfig": {"scaleUpThreshold": 100}}


async def test_a_fleet_of_either_version_is_one_fleet(shop: Any) -> None:
    made = await shop.call("CreateFleet", body=V2)
    assert made.status_code == 200
    fleet = made.json()
    assert fleet == {**V2, "orgId": shop.studio.caller.org_id, "fleetId": fleet["fleetId"]}
    at = {"fleetId": fleet["fleetId"]}
    assert (await shop.call("GetFleet", at)).json() == fleet
    old = {**fleet, "nodeShape": "cpu-8-16"}
    del old["nodeShapeId"]
    assert (await shop.call("GetFleetDeprecated", at)).json() == old
    made_v1 = await shop.call("CreateFleetDeprecated", body=V1)
    assert made_v1.status_code == 200
    older = made_v1.json()
    assert (older["nodeShape"], older["name"]) == ("cpu-4-16", "us")
    org = (await shop.call("GetOrgs")).json()["orgs"][0]
    listed = (await shop.call("GetFleets")).json()["fleets"]
    assert {f["fleetId"] for f in listed} == {
        org["defaultFleetId"],
        fleet["fleetId"],
        older["fleetId"],
    }
    listed_v1 = (await shop.call("GetFleetsDeprecated")).json()["fleets"]
    assert older in listed_v1
    assert old in listed_v1
    for operation_id, shape in (
        ("UpdateFleetDeprecated", {"nodeShape": "cpu-16-32"}),
        ("UpdateFleet", {"nodeShapeId": "shape-amd64-32-64", "name": "more"}),
    ):
        body = {"autoscalerConfig": {"scaleUpThreshold": 90}, **shape}
        assert (await shop.call(operation_id, at, body=body)).status_code == 204
    changed = (await shop.call("GetFleet", at)).json()
    assert (changed["name"], changed["nodeShapeId"]) == ("more", "shape-amd64-32-64")


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"name": "default"}, "body.name"),
        ({"nodeShapeId": "shape-l4-1"}, "body.nodeShapeId"),
        ({"nodeShapeId": "shape-nowhere"}, "body.nodeShapeId"),
        ({"autoscalerConfig": {"scaleUpThreshold": 0}}, "body.autoscalerConfig.scaleUpThreshold"),
        ({"autoscalerConfig": {}}, "body.autoscalerConfig.scaleUpThreshold"),
    ],
)
async def test_a_bad_fleet_is_refused(shop: Any, change: dict[str, Any], place: str) -> None:
    refused = await shop.call("CreateFleet", body={**V2, **change})
    assert (refused.status_code, list(refused.json()["details"])) == (422, [place])


async def test_regions_have_a_baseline_in_two_units(shop: Any) -> None:
    fleet_id = (await shop.call("CreateFleet", body=V2)).json()["fleetId"]
    at = {"fleetId": fleet_id, "region": "Tokyo"}
    assert (await shop.call("UpdateFleetRegion", at, body={"nodeBaseline": 2})).status_code == 204
    shown = (await shop.call("GetFleetRegion", at)).json()
    assert shown == {
        "nodeBaseline": 2,
        "cloudMinVcpus": 16,
        "scaleIncrementVcpus": 8,
        "cloudMinVcpusUpdatedAt": "2026-01-31T12:00:00.000Z",
    }
    assert (await shop.call("GetFleetRegionDeprecated", at)).json() == shown
    for operation_id in ("UpdateFleetRegionDeprecated", "DeprecatedUpdateFleetRegionV2"):
        early = await shop.call(operation_id, at, body={"cloudMinVcpus": 8})
        assert early.status_code == 422
        shop.studio.clock.move(300)
        done = await shop.call(operation_id, at, body={"cloudMinVcpus": 8})
        assert done.status_code == 204
    assert (await shop.call("GetFleetRegion", at)).json()["nodeBaseline"] == 1
    too_many = await shop.call("UpdateFleetRegion", at, body={"nodeBaseline": 11})
    assert too_many.status_code == 422
    elsewhere = {**at, "region": "Dubai"}
    assert (await shop.call("GetFleetRegion", elsewhere)).status_code == 404
    nowhere = {**at, "region": "Atlantis"}
    assert (await shop.call("GetFleetRegion", nowhere)).status_code == 422


async def test_shapes_are_those_a_fleet_may_have(shop: Any) -> None:
    shapes = (await shop.call("GetNodeShapes")).json()
    assert len(shapes) == 9
    assert shapes[0] == {
        "nodeShapeId": "shape-amd64-4-8",
        "name": "4 vCPU, 8 GB",
        "familyId": "family-amd64-1-2",
        "familyName": "AMD64, 2 GB for each vCPU",
        "minCPU": 4,
        "minMemoryMB": 8192,
        "minGPU": 0,
    }
    for number, shape in enumerate(shapes):
        body = {**V2, "name": f"f{number}", "nodeShapeId": shape["nodeShapeId"]}
        assert (await shop.call("CreateFleet", body=body)).status_code == 200


async def test_the_node_is_this_machine(shop: Any) -> None:
    fleet_id = (await shop.call("GetFleets")).json()["fleets"][0]["fleetId"]
    (node,) = (await shop.call("ListProvisionedNodes", {"fleetId": fleet_id})).json()
    assert node == {
        "nodeId": node["nodeId"],
        "host": "play.test",
        "hosting": "metal",
        "status": "running",
        "region": "Tokyo",
        "cpu": 16,
        "memoryMb": 65_536,
        "gpu": None,
        "startedAt": "2026-01-31T12:00:00.000Z",
        "stoppedAt": None,
    }
    assert (await shop.call("GetNode", {"nodeId": node["nodeId"]})).json() == node
    assert (await shop.call("GetNode", {"nodeId": "node-x"})).status_code == 404
    for region, count in (("London", 1), ("Dubai", 0)):
        asked = await shop.call(
            "ListProvisionedNodes", {"fleetId": fleet_id}, params={"region": region}
        )
        assert [n["region"] for n in asked.json()] == [region] * count


async def test_fleets_of_another_org_are_unknown(shop: Any) -> None:
    await shop.call("CreateUser", body={"userEmail": "ben@b", "orgName": "Other"})
    token = (await shop.call("CreateUserToken", {"userEmail": "ben@b"})).json()["plainTextToken"]
    ben = {"authorization": f"Bearer {token}"}
    theirs = (await shop.call("CreateFleet", body=V2, headers=ben)).json()["fleetId"]
    assert (await shop.call("CreateFleet", body=V2)).status_code == 200
    for fleet_id in (theirs, "fleet-none"):
        for operation_id in ("GetFleet", "GetFleetDeprecated", "ListProvisionedNodes"):
            reply = await shop.call(operation_id, {"fleetId": fleet_id})
            said = (reply.status_code, reply.json()["message"])
            assert said == (404, f'Fleet "{fleet_id}" not found')


async def test_metrics_are_series_of_vcpus(shop: Any) -> None:
    fleet_id = (await shop.call("GetFleets")).json()["fleets"][0]["fleetId"]
    studio = shop.studio
    studio.clock.move(60)
    now = studio.clock.now
    await studio.store.write(lambda tx: fleet_metrics.record_sample(tx, now, 25))
    at = {"fleetId": fleet_id, "region": "Tokyo"}
    point = {"timestamp": now.timestamp()}
    for operation_id in ("GetFleetMetrics", "GetFleetMetricsDeprecated"):
        shown = (await shop.call(operation_id, at)).json()
        assert shown == {
            "provisionedTotal": [{**point, "value": 16.0}],
            "provisionedBareMetal": [{**point, "value": 16.0}],
            "provisionedCloud": [{**point, "value": 0.0}],
            "utilized": [{**point, "value": 0.0}],
            "systemOverhead": [{**point, "value": 0.025}],
        }
    for operation_id in ("GetFleetRegionMetrics", "GetFleetRegionMetricsDeprecated"):
        few = {"metrics": ["utilized", "systemOverhead", "utilized"], "step": 30}
        shown = (await shop.call(operation_id, at, params=few)).json()
        assert set(shown) == {"utilized", "systemOverhead"}
    for wrong in ({"step": 0}, {"start": 2, "end": 1}, {"metrics": "cpu"}, {"start": 0, "step": 1}):
        refused = await shop.call("GetFleetMetrics", at, params=wrong)
        assert refused.status_code == 422
