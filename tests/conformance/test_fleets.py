"""FleetsV2, FleetsV1 and NodesV1: the real machine and what was asked of it (behaviour.md 8.9)."""

import itertools
import os
import time
from datetime import UTC, datetime
from typing import Any

import pytest

from innkeeper.core.fleets import SHAPES
from innkeeper.testing.live import LiveServer, eventually
from innkeeper.testing.live_studio import LiveStudio
from innkeeper.testing.official_sdk import Sdk, refused

AUTOSCALER = {"scaleUpThreshold": 85}
_numbers = itertools.count(1)


@pytest.fixture
def fleet_id(sdk: Sdk) -> str:
    """A fleet of this test's own, of 8 vCPUs a node."""
    name = f"fleet {next(_numbers)}"
    wanted = {"name": name, "nodeShapeId": "shape-amd64-8-16", "autoscalerConfig": AUTOSCALER}
    made, (reply,) = sdk.answered("fleetsV2.createFleet", wanted)
    assert reply.status == 200
    assert {**wanted, "fleetId": made["fleetId"], "orgId": made["orgId"]} == made
    return str(made["fleetId"])


def test_a_fleet_is_the_same_in_both_versions(sdk: Sdk, org_id: str, fleet_id: str) -> None:
    fleet = sdk("fleetsV2.getFleet", fleet_id)
    older = sdk("fleetsV1.getFleetDeprecated", fleet_id)
    assert older["nodeShape"] == "cpu-8-16"
    assert all(older[name] == fleet[name] for name in ("name", "orgId", "autoscalerConfig"))
    assert fleet in sdk("fleetsV2.getFleets")["fleets"]
    assert older in sdk("fleetsV1.getFleetsDeprecated", org_id)["fleets"]

    change = {"nodeShape": "cpu-64-128", "autoscalerConfig": {"scaleUpThreshold": 100}}
    _, (reply,) = sdk.answered("fleetsV1.updateFleetDeprecated", fleet_id, change)
    assert (reply.status, reply.body) == (204, b"")
    change = {"name": f"renamed {fleet_id}", "autoscalerConfig": {"scaleUpThreshold": 100}}
    _, (reply,) = sdk.answered("fleetsV2.updateFleet", fleet_id, change)
    assert (reply.status, reply.body) == (204, b"")
    changed = sdk("fleetsV2.getFleet", fleet_id)
    assert changed == {**fleet, **change, "nodeShapeId": "shape-amd64-64-128"}
    with refused(422, "family"):
        other = {"nodeShapeId": "shape-amd64-8-32", "autoscalerConfig": AUTOSCALER}
        sdk("fleetsV2.updateFleet", fleet_id, other)


def test_a_fleet_of_v1_and_what_no_fleet_may_be(sdk: Sdk, live: LiveServer) -> None:
    wanted = {
        "name": f"old {live.runtime}",
        "nodeShape": "cpu-4-16",
        "autoscalerConfig": AUTOSCALER,
    }
    made, (reply,) = sdk.answered("fleetsV1.createFleetDeprecated", wanted)
    assert (reply.status, made["nodeShape"]) == (200, "cpu-4-16")
    assert sdk("fleetsV2.getFleet", made["fleetId"])["nodeShapeId"] == "shape-amd64-4-16"
    for change, word in (
        ({}, "already used"),
        ({"name": "g", "nodeShape": "gpu-l4-1-4-16"}, "GPU"),
        ({"name": "t", "autoscalerConfig": {"scaleUpThreshold": 101}}, "scaleUpThreshold"),
        ({"name": ""}, "name"),
    ):
        with refused(422, word):
            sdk("fleetsV1.createFleetDeprecated", {**wanted, **change})


def test_shapes_can_be_chosen(sdk: Sdk) -> None:
    shapes = sdk("fleetsV2.getNodeShapes")
    assert [shape["nodeShapeId"] for shape in shapes] == [shape.shape_id for shape in SHAPES]
    for shape in shapes:
        _, _, cpu, memory_gb = shape["nodeShapeId"].split("-")
        assert (shape["minCPU"], shape["minMemoryMB"]) == (int(cpu), int(memory_gb) * 1024)
        assert shape["minGPU"] == 0


def test_the_baseline_of_a_region(sdk: Sdk, fleet_id: str) -> None:
    at = (fleet_id, "Tokyo")
    fresh = sdk("fleetsV2.getFleetRegion", *at)
    assert (fresh["nodeBaseline"], fresh["cloudMinVcpus"], fresh["scaleIncrementVcpus"]) == (
        0,
        0,
        8,
    )
    for vcpus in (4, 88):
        with refused(422, "cloudMinVcpus"):
            sdk("fleetsV1.updateFleetRegionDeprecated", *at, {"cloudMinVcpus": vcpus})
    call = "fleetsV1.updateFleetRegionDeprecated"
    _, (reply,) = sdk.answered(call, *at, {"cloudMinVcpus": 16})
    assert (reply.status, reply.body) == (204, b"")
    region = sdk("fleetsV2.getFleetRegion", *at)
    assert (region["nodeBaseline"], region["cloudMinVcpus"]) == (2, 16)
    assert region["cloudMinVcpusUpdatedAt"] > fresh["cloudMinVcpusUpdatedAt"]
    assert sdk("fleetsV1.getFleetRegionDeprecated", *at) == region
    with refused(422, "5 minutes"):
        sdk("fleetsV2.deprecatedUpdateFleetRegionV2", *at, {"cloudMinVcpus": 8})
    call = "fleetsV2.deprecatedUpdateFleetRegionV2"
    _, (reply,) = sdk.answered(call, fleet_id, "London", {"cloudMinVcpus": 80})
    assert reply.status == 204
    _, (reply,) = sdk.answered("fleetsV2.updateFleetRegion", *at, {"nodeBaseline": 7})
    assert reply.status == 204
    assert sdk("fleetsV2.getFleetRegion", *at)["cloudMinVcpus"] == 56
    with refused(422, "maxCloudBaseline"):
        sdk("fleetsV2.updateFleetRegion", *at, {"nodeBaseline": 11})


def test_the_node_is_this_machine(sdk: Sdk, fleet_id: str) -> None:
    (node,) = sdk("nodesV1.listProvisionedNodes", fleet_id)
    assert node["cpu"] == len(os.sched_getaffinity(0))
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 1024**2
    assert node["memoryMb"] == total
    assert (node["hosting"], node["status"]) == ("metal", "running")
    assert (node["gpu"], node["stoppedAt"]) == (None, None)
    started = datetime.fromisoformat(node["startedAt"])
    assert 0 <= (datetime.now(UTC) - started).total_seconds() < 3600
    assert sdk("nodesV1.getNode", node["nodeId"]) == node
    (there,) = sdk("nodesV1.listProvisionedNodes", fleet_id, None, "Sydney")
    assert there == {**node, "region": "Sydney"}
    with refused(404, "node-nowhere"):
        sdk("nodesV1.getNode", "node-nowhere")


def test_a_deployment_names_its_fleet(
    sdk: Sdk, studio: LiveStudio, build_id: str, fleet_id: str
) -> None:
    app_id = studio.app()
    org = sdk("organizationsV1.getOrgs")["orgs"][0]
    assert studio.deploy(app_id, build_id)["fleetId"] == org["defaultFleetId"]
    assert sdk("fleetsV2.getFleet", org["defaultFleetId"])["name"] == "default"
    assert studio.deploy(app_id, build_id, fleetId=fleet_id)["fleetId"] == fleet_id
    process = sdk("processesV3.createProcess", "Tokyo", app_id)
    assert (process["fleetId"], process["hosting"]) == (fleet_id, "metal")
    sdk("processesV3.stopProcess", process["processId"], app_id)
    with refused(404, "fleet-nowhere"):
        studio.deploy(app_id, build_id, fleetId="fleet-nowhere")


@pytest.mark.parametrize(
    ("call", "region"),
    [
        ("fleetsV2.getFleetMetrics", None),
        ("fleetsV2.getFleetRegionMetrics", "Tokyo"),
        ("fleetsV1.getFleetMetricsDeprecated", None),
        ("fleetsV1.getFleetRegionMetricsDeprecated", "Tokyo"),
    ],
)
def test_metrics_show_the_machine(sdk: Sdk, fleet_id: str, call: str, region: str | None) -> None:
    """The first sample is taken when the control plane starts."""
    asked: dict[str, Any] = {"fleetId": fleet_id, **({"region": region} if region else {})}
    found = eventually(
        lambda: sdk(call, asked) if sdk(call, asked)["provisionedTotal"] else None, 20, "a sample"
    )
    assert set(found) == {
        "provisionedTotal",
        "provisionedBareMetal",
        "provisionedCloud",
        "utilized",
        "systemOverhead",
    }
    for point in found["provisionedTotal"]:
        assert point["value"] == len(os.sched_getaffinity(0))
        assert time.time() - 3700 < point["timestamp"] <= time.time()
    assert {point["value"] for point in found["provisionedCloud"]} == {0}
    assert {point["value"] for point in found["utilized"]} == {0}
    few = sdk(call, {**asked, "metrics": ["utilized"], "step": 10, "end": time.time() + 5})
    assert set(few) == {"utilized"}
    with refused(422, "start"):
        sdk(call, {**asked, "start": 20, "end": 10})


def test_fleets_of_another_organization_are_unknown(stranger: Sdk, fleet_id: str) -> None:
    for unknown in (fleet_id, "fleet-nowhere"):
        with refused(404, unknown):
            stranger("fleetsV2.getFleet", unknown)
        with refused(404, unknown):
            stranger("nodesV1.listProvisionedNodes", unknown)
        with refused(404, unknown):
            stranger("fleetsV2.getFleetMetrics", {"fleetId": unknown})
