"""Samples of fleets: what is kept, for how long, and whose it is (behaviour.md 8.9)."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from innkeeper.core.errors import Invalid, NotFound
from innkeeper.testing.studio import START, Studio
from innkeeper.usecases import fleet_metrics, fleets, processes
from innkeeper.usecases.fleet_metrics import FleetMetricsWanted
from innkeeper.usecases.fleets import NewFleet

ALL = ("provisioned_total", "utilized", "system_overhead")


async def sample(studio: Studio, overhead: int = 30) -> None:
    """A minute passes, and is sampled."""
    studio.clock.move(60)
    now = studio.clock.now
    await studio.store.write(lambda tx: fleet_metrics.record_sample(tx, now, overhead))


async def ask(studio: Studio, fleet_id: str, region: str | None = None, **more: Any) -> Any:
    wanted = FleetMetricsWanted(fleet_id, region, ALL, **more)
    found = await studio.ask(fleet_metrics.fleet_metrics, wanted)
    return [[value for _, value in found[name]] for name in ALL]


async def test_a_fleet_shows_what_its_processes_requested(studio: Studio) -> None:
    (default,) = await studio.ask(fleets.list_fleets, None)
    other = await studio.ask(fleets.create_fleet, NewFleet("eu", "cpu-4-8", 85, ""))
    await sample(studio)
    await studio.deploy(cpu=0.5)
    await studio.ask(processes.create_process, (studio.app_id, "Tokyo"))
    await studio.ask(processes.create_process, (studio.app_id, "London"))
    await studio.deploy(cpu=2, fleet_id=other.fleet_id)
    await studio.ask(processes.create_process, (studio.app_id, "Tokyo"))
    await sample(studio, 40)
    for fleet_id, region, used in (
        (default.fleet_id, None, 1.0),
        (default.fleet_id, "Tokyo", 0.5),
        (other.fleet_id, "Tokyo", 2.0),
        (other.fleet_id, "London", 0.0),
    ):
        found = await ask(studio, fleet_id, region, start_s=START.timestamp() + 60)
        assert found == [[16.0, 16.0], [0.0, used], [0.03, 0.04]]


async def test_what_another_org_used_is_not_shown(studio: Studio) -> None:
    (fleet,) = await studio.ask(fleets.list_fleets, None)
    studio.caller = replace(studio.caller, org_id="org-other")
    for region in (None, "Tokyo"):
        with pytest.raises(NotFound, match="Fleet"):
            await ask(studio, fleet.fleet_id, region)


async def test_a_window_that_cannot_be_is_refused(studio: Studio) -> None:
    (fleet,) = await studio.ask(fleets.list_fleets, None)
    for more in (
        {"start_s": 20, "end_s": 10},
        {"step_s": 0},
        {"start_s": 0, "end_s": 11_001, "step_s": 1},
        {"start_s": 1e12},
    ):
        with pytest.raises(Invalid):
            await ask(studio, fleet.fleet_id, **more)
    with pytest.raises(NotFound, match="not available"):
        await ask(studio, fleet.fleet_id, "Dubai")


async def test_a_week_is_kept(studio: Studio) -> None:
    (fleet,) = await studio.ask(fleets.list_fleets, None)
    await studio.deploy()
    await studio.ask(processes.create_process, (studio.app_id, "Tokyo"))
    await sample(studio)
    studio.clock.now = START + timedelta(days=7)
    await sample(studio)
    week = {"start_s": START.timestamp(), "step_s": 3600}
    assert (await ask(studio, fleet.fleet_id, **week))[1] == [0.5]
    studio.clock.move(61)
    await sample(studio)
    assert (await ask(studio, fleet.fleet_id, **week))[1] == []
    rows = await studio.store.read(
        lambda tx: tx.all(
            "fleets.samples", fleet_id=fleet.fleet_id, region=None, since=0, until=2**60
        )
    )
    assert len(rows) == 2
