"""Fleets, their regions, and this machine as their node (behaviour.md 8.9)."""

from dataclasses import replace
from typing import Any

import pytest

from innkeeper.core.accounts import Caller
from innkeeper.core.errors import Invalid, NotFound
from innkeeper.core.fleets import FLEETS_MAX, SHAPES, largest_fitting, shape_named
from innkeeper.testing.studio import START, Studio
from innkeeper.usecases import callers, deployments, fleets, processes, users
from innkeeper.usecases.fleets import FleetChange, NewFleet
from innkeeper.usecases.users import NewUser

FIELD = "body.nodeShapeId"


def new(name: str = "eu", shape: str = "shape-amd64-8-16", threshold: int = 85) -> NewFleet:
    return NewFleet(name, shape, threshold, FIELD)


async def other_admin(desk: Any) -> Caller:
    """The admin of a second organization."""
    await desk.ask(users.create_user, NewUser("ben@b", "Other"))
    made = await desk.ask(users.create_user_token, "ben@b")
    caller: Caller = await desk.tx(callers.identify, made.plain_text)
    return caller


def test_each_shape_has_a_name_of_either_version() -> None:
    for shape in SHAPES:
        assert shape_named(FIELD, shape.shape_id) is shape
        assert shape_named(FIELD, shape.old_name) is shape
    assert shape_named(FIELD, "cpu-16-64").memory_mb == 64 * 1024
    for name in ("shape-l4-1", "gpu-h100-1-26-234", ""):
        with pytest.raises(Invalid, match="GPU"):
            shape_named(FIELD, name)


@pytest.mark.parametrize(
    ("cores", "memory_mb", "name"),
    [
        (2, 4096, "cpu-4-8"),
        (4, 16_000, "cpu-4-8"),
        (8, 32_768, "cpu-8-32"),
        (96, 200_000, "cpu-64-128"),
        (0, 0, "cpu-4-8"),
    ],
)
def test_the_largest_shape_that_fits(cores: int, memory_mb: int, name: str) -> None:
    assert largest_fitting(cores, memory_mb).old_name == name


async def test_each_org_has_a_default_fleet_that_fits_the_machine(desk: Any) -> None:
    (fleet,) = await desk.ask(fleets.list_fleets, None)
    assert (fleet.name, fleet.scale_up_threshold) == ("default", 85)
    assert fleet.shape.old_name == "cpu-16-64"
    boss = await other_admin(desk)
    (theirs,) = await desk.ask(fleets.list_fleets, None, caller=boss)
    assert theirs.org_id == boss.org_id
    with pytest.raises(NotFound, match="Fleet"):
        await desk.ask(fleets.get_fleet, fleet.fleet_id, caller=boss)
    await desk.tx(fleets.ensure_default, desk.caller.org_id, desk.studio.context())
    assert await desk.ask(fleets.list_fleets, None) == [fleet]


async def test_a_fleet_is_made_and_changed_within_its_family(desk: Any) -> None:
    fleet = await desk.ask(fleets.create_fleet, new())
    assert (fleet.name, fleet.shape.old_name) == ("eu", "cpu-8-16")
    change = FleetChange(fleet.fleet_id, "us", "shape-amd64-64-128", 100, FIELD)
    await desk.ask(fleets.update_fleet, change)
    changed = await desk.ask(fleets.get_fleet, fleet.fleet_id)
    assert (changed.name, changed.shape.vcpus, changed.scale_up_threshold) == ("us", 64, 100)
    await desk.ask(fleets.update_fleet, FleetChange(fleet.fleet_id, None, None, 50, FIELD))
    kept = await desk.ask(fleets.get_fleet, fleet.fleet_id)
    assert kept == replace(changed, scale_up_threshold=50)
    with pytest.raises(Invalid, match="family"):
        await desk.ask(fleets.update_fleet, replace(change, shape="shape-amd64-8-32"))
    with pytest.raises(Invalid, match="already used"):
        await desk.ask(fleets.update_fleet, replace(change, name="default"))
    with pytest.raises(NotFound):
        await desk.ask(fleets.update_fleet, replace(change, fleet_id="fleet-none"))


@pytest.mark.parametrize(
    "wanted",
    [new(""), new("x" * 65), new("default"), new(threshold=0), new(threshold=101), new(shape="x")],
    ids=str,
)
async def test_a_bad_fleet_is_refused(desk: Any, wanted: NewFleet) -> None:
    with pytest.raises(Invalid):
        await desk.ask(fleets.create_fleet, wanted)


async def test_fleets_are_bounded(desk: Any) -> None:
    for number in range(FLEETS_MAX - 1):
        await desk.ask(fleets.create_fleet, new(f"fleet-{number}"))
    with pytest.raises(Invalid, match="too many"):
        await desk.ask(fleets.create_fleet, new("one more"))


async def test_the_baseline_is_one_number_in_two_units(desk: Any) -> None:
    fleet = await desk.ask(fleets.create_fleet, new())
    at = (fleet.fleet_id, "Tokyo")
    fresh = await desk.ask(fleets.get_region, at)
    assert (fresh.node_baseline, fresh.cloud_min_vcpus) == (0, 0)
    assert fresh.updated_at == fleet.created_at
    await desk.ask(fleets.set_baseline, (*at, 3))
    region = await desk.ask(fleets.get_region, at)
    assert (region.node_baseline, region.cloud_min_vcpus, region.increment_vcpus) == (3, 24, 8)
    assert region.updated_at > fresh.updated_at
    desk.studio.clock.move(300)
    await desk.ask(fleets.set_cloud_min, (*at, 80))
    assert (await desk.ask(fleets.get_region, at)).node_baseline == 10
    assert (await desk.ask(fleets.get_region, (fleet.fleet_id, "London"))).node_baseline == 0
    for nodes in (-1, 11):
        with pytest.raises(Invalid, match="maxCloudBaseline"):
            await desk.ask(fleets.set_baseline, (*at, nodes))


async def test_cloud_min_vcpus_change_seldom_and_in_whole_nodes(desk: Any) -> None:
    fleet = await desk.ask(fleets.create_fleet, new())
    at = (fleet.fleet_id, "Tokyo")
    for vcpus, problem in ((4, "multiple"), (88, "maxCloudBaseline"), (-8, "between 0")):
        with pytest.raises(Invalid, match=problem):
            await desk.ask(fleets.set_cloud_min, (*at, vcpus))
    await desk.ask(fleets.set_cloud_min, (*at, 8))
    desk.studio.clock.move(297)
    with pytest.raises(Invalid, match="once in 5 minutes: wait 2 s"):
        await desk.ask(fleets.set_cloud_min, (*at, 16))
    await desk.ask(fleets.set_cloud_min, (fleet.fleet_id, "London", 16))
    desk.studio.clock.move(2)
    await desk.ask(fleets.set_cloud_min, (*at, 16))
    assert (await desk.ask(fleets.get_region, at)).node_baseline == 2


async def test_a_region_that_is_not_served_is_unknown(desk: Any) -> None:
    (fleet,) = await desk.ask(fleets.list_fleets, None)
    for use_case, *more in ((fleets.get_region,), (fleets.set_baseline, 1)):
        with pytest.raises(NotFound, match="not available"):
            await desk.ask(use_case, (fleet.fleet_id, "Sydney", *more))


async def test_the_node_is_this_machine(desk: Any) -> None:
    (fleet,) = await desk.ask(fleets.list_fleets, None)
    (node,) = await desk.ask(fleets.list_nodes, (fleet.fleet_id, None))
    assert (node.cores, node.memory_mb, node.region) == (16, 65_536, "Tokyo")
    assert node.host == "play.test"
    assert node.started_at == START
    assert await desk.ask(fleets.get_node, node.node_id) == node
    (in_london,) = await desk.ask(fleets.list_nodes, (fleet.fleet_id, "London"))
    assert in_london == replace(node, region="London")
    assert await desk.ask(fleets.list_nodes, (fleet.fleet_id, "Sydney")) == []
    for use_case, wanted in ((fleets.get_node, "node-x"), (fleets.list_nodes, ("fleet-x", None))):
        with pytest.raises(NotFound):
            await desk.ask(use_case, wanted)


async def test_a_deployment_goes_to_its_fleet_or_the_default_one(desk: Any) -> None:
    app, build = await desk.app(), await desk.succeeded_build()
    wanted = desk.deployment_of(app.app_id, build.build_id)
    (default,) = await desk.ask(fleets.list_fleets, None)
    made = await desk.ask(deployments.create_deployment, wanted)
    assert made.fleet_id == default.fleet_id
    fleet = await desk.ask(fleets.create_fleet, new())
    there = replace(wanted, fleet_id=fleet.fleet_id)
    assert (await desk.ask(deployments.create_deployment, there)).fleet_id == fleet.fleet_id
    boss = await other_admin(desk)
    (theirs,) = await desk.ask(fleets.list_fleets, None, caller=boss)
    for unknown in (theirs.fleet_id, "fleet-none"):
        with pytest.raises(NotFound, match="Fleet"):
            await desk.ask(deployments.create_deployment, replace(wanted, fleet_id=unknown))


async def test_a_process_runs_in_its_deployments_fleet(studio: Studio) -> None:
    (default,) = await studio.ask(fleets.list_fleets, None)
    fleet = await studio.ask(fleets.create_fleet, new())
    for fleet_id, hosting in (
        (None, "shared"),
        (default.fleet_id, "shared"),
        (fleet.fleet_id, "metal"),
    ):
        await studio.deploy(fleet_id=fleet_id)
        made = await studio.ask(processes.create_process, (studio.app_id, "Tokyo"))
        assert (made.fleet_id, made.hosting) == (fleet_id or default.fleet_id, hosting)
