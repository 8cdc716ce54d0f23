"""Fleets, their regions, and the node that serves them all: this machine (behaviour.md 8.9).

Scaling has nothing to act on here: what is asked of it is kept and shown.
"""

from dataclasses import dataclass

from innkeeper.core import fleets as rules
from innkeeper.core.accounts import Caller
from innkeeper.core.errors import Invalid, NotFound
from innkeeper.core.fleets import SHAPES, Fleet, FleetRegion, Node, NodeShape
from innkeeper.core.moments import from_ms, to_ms
from innkeeper.interfaces import Context, Row, Tx

DEFAULT_NAME = "default"
_DEFAULT_THRESHOLD = 85  # per cent: where the original scaled up (behaviour.md 0.2)


@dataclass(frozen=True, slots=True)
class NewFleet:
    """What makes a fleet. ``shape_field`` names the shape's place in the request."""

    name: str
    shape: str
    scale_up_threshold: int
    shape_field: str


@dataclass(frozen=True, slots=True)
class FleetChange:
    """What an update leaves; ``None`` keeps what is there."""

    fleet_id: str
    name: str | None
    shape: str | None
    scale_up_threshold: int
    shape_field: str


def create_fleet(tx: Tx, caller: Caller, wanted: NewFleet, context: Context) -> Fleet:
    """Make a fleet. Raises :class:`Invalid` for a bad or used name, shape or threshold, or one too many."""
    rules.check_fleet(wanted.name, wanted.scale_up_threshold)
    shape = rules.shape_named(wanted.shape_field, wanted.shape)
    _check_name_free(tx, caller.org_id, wanted.name)
    counted = tx.one("fleets.count", org_id=caller.org_id)
    if counted is not None and counted["count"] >= rules.FLEETS_MAX:
        raise Invalid("body.name", f"is one fleet too many: there may be {rules.FLEETS_MAX}")
    fleet_id = _insert(tx, caller.org_id, wanted.name, shape, wanted.scale_up_threshold, context)
    return require_fleet(tx, caller.org_id, fleet_id)


def list_fleets(tx: Tx, caller: Caller, wanted: None, context: Context) -> list[Fleet]:
    """The org's fleets, oldest first."""
    return [_fleet(row) for row in tx.all("fleets.of_org", org_id=caller.org_id)]


def get_fleet(tx: Tx, caller: Caller, fleet_id: str, context: Context) -> Fleet:
    """One fleet. Raises :class:`NotFound`."""
    return require_fleet(tx, caller.org_id, fleet_id)


def update_fleet(tx: Tx, caller: Caller, wanted: FleetChange, context: Context) -> None:
    """Change a fleet; its family of shapes stays. Raises :class:`NotFound`, :class:`Invalid`."""
    fleet = require_fleet(tx, caller.org_id, wanted.fleet_id)
    name = fleet.name if wanted.name is None else wanted.name
    rules.check_fleet(name, wanted.scale_up_threshold)
    shape = fleet.shape
    if wanted.shape is not None:
        shape = rules.shape_named(wanted.shape_field, wanted.shape)
        rules.check_family(wanted.shape_field, fleet.shape, shape)
    _check_name_free(tx, caller.org_id, name, but=fleet.fleet_id)
    tx.run(
        "fleets.change",
        fleet_id=fleet.fleet_id,
        name=name,
        node_shape_id=shape.shape_id,
        scale_up_threshold=wanted.scale_up_threshold,
    )


def get_region(tx: Tx, caller: Caller, wanted: tuple[str, str], context: Context) -> FleetRegion:
    """A fleet in one region; ``wanted`` is (fleet id, region). Raises :class:`NotFound`."""
    fleet_id, region = wanted
    fleet = require_fleet_in(tx, caller, fleet_id, region, context)
    row = tx.one("fleets.region", fleet_id=fleet_id, region=region)
    return FleetRegion(
        node_baseline=0 if row is None else row["node_baseline"],
        increment_vcpus=fleet.shape.vcpus,
        updated_at=fleet.created_at if row is None else from_ms(row["updated_at"]),
    )


def set_baseline(tx: Tx, caller: Caller, wanted: tuple[str, str, int], context: Context) -> None:
    """The least number of nodes; ``wanted`` is (fleet id, region, nodes).

    Raises :class:`NotFound`, :class:`Invalid`.
    """
    fleet_id, region, nodes = wanted
    require_fleet_in(tx, caller, fleet_id, region, context)
    rules.check_baseline("body.nodeBaseline", nodes)
    _put_region(tx, fleet_id, region, nodes, context)


def set_cloud_min(tx: Tx, caller: Caller, wanted: tuple[str, str, int], context: Context) -> None:
    """The same in vCPUs, as V1 says it, and at most once in five minutes.

    Raises :class:`NotFound`, :class:`Invalid`.
    """
    fleet_id, region, vcpus = wanted
    fleet = require_fleet_in(tx, caller, fleet_id, region, context)
    nodes = rules.baseline_of(vcpus, fleet.shape.vcpus)
    rules.check_baseline("body.cloudMinVcpus", nodes)
    row = tx.one("fleets.region", fleet_id=fleet_id, region=region)
    rules.check_not_early(None if row is None else from_ms(row["updated_at"]), context.now)
    _put_region(tx, fleet_id, region, nodes, context)


def list_shapes(tx: Tx, caller: Caller, wanted: None, context: Context) -> tuple[NodeShape, ...]:
    """The shapes that a fleet may have here: those without a GPU."""
    return SHAPES


def list_nodes(
    tx: Tx, caller: Caller, wanted: tuple[str, str | None], context: Context
) -> list[Node]:
    """The nodes of a fleet, in one region or at all; ``wanted`` is (fleet id, region).

    This machine serves every fleet, and is shown in the region that is asked for. Raises
    :class:`NotFound` for the fleet.
    """
    fleet_id, region = wanted
    require_fleet(tx, caller.org_id, fleet_id)
    if region is not None and region not in context.policy.regions:
        return []
    return [_node(tx, region, context)]


def get_node(tx: Tx, caller: Caller, node_id: str, context: Context) -> Node:
    """One node. Every organization's processes run on it, so each may see it. Raises :class:`NotFound`."""
    node = _node(tx, None, context)
    if node.node_id != node_id:
        raise NotFound("Node", node_id)
    return node


def require_fleet(tx: Tx, org_id: str, fleet_id: str) -> Fleet:
    """One of the org's fleets. Raises :class:`NotFound`."""
    row = tx.one("fleets.by_id", fleet_id=fleet_id, org_id=org_id)
    if row is None:
        raise NotFound("Fleet", fleet_id)
    return _fleet(row)


def require_fleet_in(tx: Tx, caller: Caller, fleet_id: str, region: str, context: Context) -> Fleet:
    """One of the caller's fleets, in a region that is served here. Raises :class:`NotFound`."""
    fleet = require_fleet(tx, caller.org_id, fleet_id)
    if region not in context.policy.regions:
        raise NotFound("Region", region, "it is not available here")
    return fleet


def fleet_of_deployment(tx: Tx, org_id: str, fleet_id: str | None) -> str | None:
    """The fleet that a deployment names, else the org's default. Raises :class:`NotFound`."""
    if fleet_id is not None:
        return require_fleet(tx, org_id, fleet_id).fleet_id
    row = tx.one("fleets.default_of", org_id=org_id)
    return None if row is None else row["default_fleet_id"]


def ensure_default(tx: Tx, org_id: str, context: Context) -> None:
    """Make the org's default fleet, of a shape that fits this machine; nothing where there is one."""
    row = tx.one("fleets.default_of", org_id=org_id)
    if row is None or row["default_fleet_id"] is not None:
        return
    node = tx.one("fleets.node")
    cores, memory_mb = (0, 0) if node is None else (node["cores"], node["total_memory_mb"])
    shape = rules.largest_fitting(cores, memory_mb)
    fleet_id = _insert(tx, org_id, DEFAULT_NAME, shape, _DEFAULT_THRESHOLD, context)
    tx.run("fleets.set_default", org_id=org_id, fleet_id=fleet_id)


def _insert(
    tx: Tx, org_id: str, name: str, shape: NodeShape, threshold: int, context: Context
) -> str:
    fleet_id = context.ids.prefixed("fleet")
    tx.run(
        "fleets.insert",
        fleet_id=fleet_id,
        org_id=org_id,
        name=name,
        node_shape_id=shape.shape_id,
        scale_up_threshold=threshold,
        created_at=to_ms(context.now),
    )
    return fleet_id


def _put_region(tx: Tx, fleet_id: str, region: str, nodes: int, context: Context) -> None:
    tx.run(
        "fleets.put_region",
        fleet_id=fleet_id,
        region=region,
        node_baseline=nodes,
        updated_at=to_ms(context.now),
    )


def _check_name_free(tx: Tx, org_id: str, name: str, but: str | None = None) -> None:
    row = tx.one("fleets.by_name", org_id=org_id, name=name)
    if row is not None and row["fleet_id"] != but:
        raise Invalid("body.name", f'is already used by another fleet: "{name}"')


def _fleet(row: Row) -> Fleet:
    return Fleet(
        fleet_id=row["fleet_id"],
        org_id=row["org_id"],
        name=row["name"],
        shape=rules.shape_named("node_shape_id", row["node_shape_id"]),
        scale_up_threshold=row["scale_up_threshold"],
        created_at=from_ms(row["created_at"]),
    )


def _node(tx: Tx, region: str | None, context: Context) -> Node:
    row = tx.one("fleets.node")
    assert row is not None, "the machine row is made when the store is opened"
    return Node(
        node_id=row["node_id"],
        host=context.policy.public_host,
        region=region or context.policy.regions[0],
        cores=row["cores"],
        memory_mb=row["total_memory_mb"],
        started_at=from_ms(row["created_at"]),
    )
