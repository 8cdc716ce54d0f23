"""FleetsV2, FleetsV1 and NodesV1: shapes first, rows last (behaviour.md 8.9).

V1 names shapes differently, and says the baseline of a region in vCPUs; so does an older call of V2.
"""

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import UNSET

from innkeeper.api import wire_generated as wire
from innkeeper.api.apps import read_nothing, write_nothing
from innkeeper.api.operation import Operation, under_names
from innkeeper.api.request import Request
from innkeeper.core.fleet_metrics import FleetMetric
from innkeeper.core.fleets import FAMILIES, Fleet, FleetRegion, Node, NodeShape
from innkeeper.core.usage import Points
from innkeeper.usecases import fleet_metrics, fleets
from innkeeper.usecases.fleet_metrics import FleetMetricsWanted
from innkeeper.usecases.fleets import FleetChange, NewFleet

_METRICS: Mapping[str, FleetMetric] = {
    "provisionedTotal": "provisioned_total",
    "provisionedBareMetal": "provisioned_bare_metal",
    "provisionedCloud": "provisioned_cloud",
    "utilized": "utilized",
    "systemOverhead": "system_overhead",
}


def _read_new(shape_name: str) -> Callable[[Request], NewFleet]:
    """What CreateFleet is asked for; the shape goes by ``shape_name``."""

    def read(request: Request) -> NewFleet:
        body = request.body
        return NewFleet(
            name=body.name,
            shape=getattr(body, shape_name),
            scale_up_threshold=body.autoscalerConfig.scaleUpThreshold,
            shape_field=f"body.{shape_name}",
        )

    return read


def _read_change(shape_name: str) -> Callable[[Request], FleetChange]:
    """What UpdateFleet changes; the shape goes by ``shape_name``."""

    def read(request: Request) -> FleetChange:
        body = request.body
        shape = getattr(body, shape_name)
        return FleetChange(
            fleet_id=request.path["fleetId"],
            name=None if body.name is UNSET else body.name,
            shape=None if shape is UNSET else shape,
            scale_up_threshold=body.autoscalerConfig.scaleUpThreshold,
            shape_field=f"body.{shape_name}",
        )

    return read


def read_fleet_id(request: Request) -> str:
    """The fleet of the path."""
    fleet_id: str = request.path["fleetId"]
    return fleet_id


def read_region(request: Request) -> tuple[str, str]:
    """(fleet id, region)."""
    return request.path["fleetId"], request.path["region"]


def read_baseline(request: Request) -> tuple[str, str, int]:
    """(fleet id, region, nodes)."""
    return *read_region(request), request.body.nodeBaseline


def read_cloud_min(request: Request) -> tuple[str, str, int]:
    """(fleet id, region, vCPUs)."""
    return *read_region(request), request.body.cloudMinVcpus


def read_nodes(request: Request) -> tuple[str, str | None]:
    """(fleet id, region if one is named)."""
    return request.path["fleetId"], request.query.get("region")


def read_node_id(request: Request) -> str:
    """The node of the path."""
    node_id: str = request.path["nodeId"]
    return node_id


def read_metrics(request: Request) -> FleetMetricsWanted:
    """Which series, each once: all of them unless some are named."""
    asked = tuple(dict.fromkeys(request.query.get("metrics") or _METRICS))
    return FleetMetricsWanted(
        fleet_id=request.path["fleetId"],
        region=request.path.get("region"),
        names=tuple(_METRICS[name] for name in asked),
        start_s=request.query.get("start"),
        end_s=request.query.get("end"),
        step_s=request.query["step"],
    )


def _shared(fleet: Fleet) -> dict[str, Any]:
    return {
        "fleetId": fleet.fleet_id,
        "orgId": fleet.org_id,
        "name": fleet.name,
        "autoscalerConfig": wire.AutoscalerConfig(scaleUpThreshold=fleet.scale_up_threshold),
    }


def write_fleet(fleet: Fleet) -> wire.FleetV2:
    """A fleet."""
    return wire.FleetV2(**_shared(fleet), nodeShapeId=fleet.shape.shape_id)


def write_fleet_v1(fleet: Fleet) -> wire.Fleet:
    """A fleet with its shape under the older name."""
    return wire.Fleet(**_shared(fleet), nodeShape=fleet.shape.old_name)


def write_fleets(listed: list[Fleet]) -> wire.FleetsPageV2:
    """The org's fleets."""
    return wire.FleetsPageV2(fleets=[write_fleet(fleet) for fleet in listed])


def write_fleets_v1(listed: list[Fleet]) -> wire.FleetsPage:
    """The org's fleets with the older names."""
    return wire.FleetsPage(fleets=[write_fleet_v1(fleet) for fleet in listed])


def write_region(region: FleetRegion) -> wire.FleetRegion:
    """A fleet in a region: the baseline in both units."""
    return wire.FleetRegion(
        nodeBaseline=region.node_baseline,
        cloudMinVcpus=region.cloud_min_vcpus,
        cloudMinVcpusUpdatedAt=region.updated_at,
        scaleIncrementVcpus=region.increment_vcpus,
    )


def write_shapes(shapes: tuple[NodeShape, ...]) -> list[wire.NodeShapeV2]:
    """The shapes that a fleet may have."""
    return [
        wire.NodeShapeV2(
            nodeShapeId=shape.shape_id,
            name=shape.name,
            familyId=shape.family_id,
            familyName=FAMILIES[shape.family_id],
            minCPU=shape.vcpus,
            minMemoryMB=shape.memory_mb,
            minGPU=0,
        )
        for shape in shapes
    ]


def write_node(node: Node) -> wire.NodeV1:
    """This machine."""
    return wire.NodeV1(
        nodeId=node.node_id,
        host=node.host,
        hosting="metal",
        status="running",
        region=node.region,
        cpu=node.cores,
        memoryMb=node.memory_mb,
        gpu=None,
        startedAt=node.started_at,
        stoppedAt=None,
    )


def write_nodes(nodes: list[Node]) -> list[wire.NodeV1]:
    """The nodes of a fleet."""
    return [write_node(node) for node in nodes]


def write_metrics(found: dict[FleetMetric, Points]) -> wire.FleetMetricsData:
    """Only what was asked for."""
    return wire.FleetMetricsData(
        **{
            shown: [wire.MetricValue(value=v, timestamp=at / 1000) for at, v in found[name]]
            for shown, name in _METRICS.items()
            if name in found
        }
    )


_READ, _WRITE = "fleets:read", "fleets:read-write"

_metrics = fleet_metrics.fleet_metrics

_V2 = (
    Operation("GetFleetMetrics", read_metrics, _metrics, write_metrics, "read", _READ),
    Operation("GetFleetRegionMetrics", read_metrics, _metrics, write_metrics, "read", _READ),
    Operation("GetNodeShapes", read_nothing, fleets.list_shapes, write_shapes, "read", _READ),
    Operation("GetFleets", read_nothing, fleets.list_fleets, write_fleets, "read", _READ),
    Operation(
        "CreateFleet", _read_new("nodeShapeId"), fleets.create_fleet, write_fleet, scope=_WRITE
    ),
    Operation("GetFleet", read_fleet_id, fleets.get_fleet, write_fleet, "read", _READ),
    Operation(
        "UpdateFleet", _read_change("nodeShapeId"), fleets.update_fleet, write_nothing, scope=_WRITE
    ),
    Operation("GetFleetRegion", read_region, fleets.get_region, write_region, "read", _READ),
    Operation("UpdateFleetRegion", read_baseline, fleets.set_baseline, write_nothing, scope=_WRITE),
    Operation(
        "DeprecatedUpdateFleetRegionV2",
        read_cloud_min,
        fleets.set_cloud_min,
        write_nothing,
        scope=_WRITE,
    ),
)

OPERATIONS = (
    *_V2,
    Operation(
        "GetFleetsDeprecated", read_nothing, fleets.list_fleets, write_fleets_v1, "read", _READ
    ),
    Operation(
        "CreateFleetDeprecated",
        _read_new("nodeShape"),
        fleets.create_fleet,
        write_fleet_v1,
        scope=_WRITE,
    ),
    Operation("GetFleetDeprecated", read_fleet_id, fleets.get_fleet, write_fleet_v1, "read", _READ),
    Operation(
        "UpdateFleetDeprecated",
        _read_change("nodeShape"),
        fleets.update_fleet,
        write_nothing,
        scope=_WRITE,
    ),
    *under_names(
        _V2,
        {
            "GetFleetMetrics": "GetFleetMetricsDeprecated",
            "GetFleetRegionMetrics": "GetFleetRegionMetricsDeprecated",
            "GetFleetRegion": "GetFleetRegionDeprecated",
            "DeprecatedUpdateFleetRegionV2": "UpdateFleetRegionDeprecated",
        },
    ),
    Operation("ListProvisionedNodes", read_nodes, fleets.list_nodes, write_nodes, "read", _READ),
    Operation("GetNode", read_node_id, fleets.get_node, write_node, "read", _READ),
)
