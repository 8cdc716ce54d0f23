"""Fleets: names for nodes of one shape over regions, and the nodes themselves (behaviour.md 8.9).

A self-hosted installation has one node, this machine, which serves every fleet and region.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from innkeeper.core.errors import Invalid

NAME_LENGTH_MAX = 64
FLEETS_MAX = 100  # of one organization
CLOUD_BASELINE_MAX = 10  # nodes; what an organization has that says nothing of it (8.5)
CLOUD_MIN_EVERY = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class NodeShape:
    """What the nodes of a fleet have. ``old_name`` is V1's."""

    shape_id: str
    old_name: str
    family_id: str
    vcpus: int
    memory_mb: int

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.vcpus} vCPU, {self.memory_mb // 1024} GB"


FAMILIES: Mapping[str, str] = {
    "family-amd64-1-2": "AMD64, 2 GB for each vCPU",
    "family-amd64-1-4": "AMD64, 4 GB for each vCPU",
}


def _shape(vcpus: int, memory_gb: int) -> NodeShape:
    size = f"{vcpus}-{memory_gb}"
    family_id = f"family-amd64-1-{memory_gb // vcpus}"
    return NodeShape(f"shape-amd64-{size}", f"cpu-{size}", family_id, vcpus, memory_gb * 1024)


# Those without a GPU, smallest first within a family: no machine here offers one.
SHAPES: tuple[NodeShape, ...] = (
    *(_shape(vcpus, vcpus * 2) for vcpus in (4, 8, 16, 32, 64)),
    *(_shape(vcpus, vcpus * 4) for vcpus in (4, 8, 16, 32)),
)
_BY_EITHER_NAME = {name: shape for shape in SHAPES for name in (shape.shape_id, shape.old_name)}


@dataclass(frozen=True, slots=True)
class Fleet:
    """A fleet. ``scale_up_threshold`` is per cent; 100 turns scaling ahead of need off."""

    fleet_id: str
    org_id: str
    name: str
    shape: NodeShape
    scale_up_threshold: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class FleetRegion:
    """What was asked of a fleet in a region; ``node_baseline`` is the least number of nodes.

    Older versions say the same in vCPUs, at as many for each node as its shape has.
    """

    node_baseline: int
    increment_vcpus: int
    updated_at: datetime

    @property
    def cloud_min_vcpus(self) -> int:
        """The baseline in the older unit."""
        return self.node_baseline * self.increment_vcpus


@dataclass(frozen=True, slots=True)
class Node:
    """A machine that processes run on: this one. CPU in cores, memory in MB, as the system reports them."""

    node_id: str
    host: str
    region: str
    cores: int
    memory_mb: int
    started_at: datetime


def shape_named(field: str, name: str) -> NodeShape:
    """A shape by V2's id or V1's name. Raises :class:`Invalid` for one with a GPU."""
    shape = _BY_EITHER_NAME.get(name)
    if shape is None:
        raise Invalid(
            field, f"must be a shape without a GPU: this machine offers none to games ({name})"
        )
    return shape


def largest_fitting(cores: int, memory_mb: int) -> NodeShape:
    """The largest shape that a machine has room for; the smallest of all where none fits."""
    fitting = [s for s in SHAPES if s.vcpus <= cores and s.memory_mb <= memory_mb]
    return max(fitting, key=lambda s: (s.vcpus, s.memory_mb), default=SHAPES[0])


def check_fleet(name: str, scale_up_threshold: int) -> None:
    """Raise :class:`Invalid` for what no fleet may have."""
    if not 1 <= len(name) <= NAME_LENGTH_MAX:
        raise Invalid("body.name", f"must have 1 to {NAME_LENGTH_MAX} characters")
    if not 1 <= scale_up_threshold <= 100:
        raise Invalid(
            "body.autoscalerConfig.scaleUpThreshold", "must be between 1 and 100 per cent"
        )


def check_family(field: str, before: NodeShape, after: NodeShape) -> None:
    """A fleet keeps its family of shapes. Raises :class:`Invalid`."""
    if before.family_id != after.family_id:
        raise Invalid(field, f"must be of the fleet's family, {before.family_id}")


def check_baseline(field: str, node_baseline: int) -> None:
    """Raise :class:`Invalid` outside the bounds of the organization (behaviour.md 8.9)."""
    if not 0 <= node_baseline <= CLOUD_BASELINE_MAX:
        raise Invalid(
            field, f"must be between 0 and {CLOUD_BASELINE_MAX} nodes, the maxCloudBaseline"
        )


def baseline_of(cloud_min_vcpus: int, increment_vcpus: int) -> int:
    """The baseline that V1 gives in vCPUs. Raises :class:`Invalid` unless it is whole nodes."""
    if cloud_min_vcpus % increment_vcpus:
        raise Invalid(
            "body.cloudMinVcpus", f"must be a multiple of {increment_vcpus}, the increment"
        )
    return cloud_min_vcpus // increment_vcpus


def check_not_early(last: datetime | None, now: datetime) -> None:
    """``cloudMinVcpus`` changes at most once in five minutes. Raises :class:`Invalid`."""
    if last is not None and now - last < CLOUD_MIN_EVERY:
        left_s = (CLOUD_MIN_EVERY - (now - last)).total_seconds()
        raise Invalid(
            "body.cloudMinVcpus", f"may change once in 5 minutes: wait {left_s:.0f} s more"
        )
