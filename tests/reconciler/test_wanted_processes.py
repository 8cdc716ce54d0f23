"""Static allocation through the real loop and store: kept, replaced, bounded, told (behaviour.md 8.7)."""

from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from innkeeper.core.capacity import Machine
from innkeeper.core.errors import Exhausted
from innkeeper.core.processes import (
    DRAINED_BY_REQUEST,
    REPLACED,
    SCALED_DOWN,
    Exit,
    Process,
)
from innkeeper.interfaces import Tx
from innkeeper.reconciler.sampling import Sampler
from innkeeper.testing.house import House, open_house
from innkeeper.usecases import (
    apps,
    autoscaling,
    builds,
    journal,
    lifecycle,
    processes,
    rooms,
    warm_pools,
)
from innkeeper.usecases.processes import process_from

MACHINE = Machine(2_000, 64_000, 16, 65_536)  # four processes of half a core


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with open_house(tmp_path, machine=MACHINE) as made:
        yield made


async def want(house: House, least: int, target: int, most: int | None, **more: Any) -> None:
    entry = {
        "region": "Tokyo",
        "minProcesses": least,
        "targetProcesses": target,
        "maxProcesses": most,
    }
    config = {"staticProcessAllocation": [entry | more]}
    patch = apps.AppPatch(house.studio.app_id, service_config=config)
    await house.studio.ask(apps.patch_app, patch)


async def live(house: House) -> list[Process]:
    def read(tx: Tx) -> list[Process]:
        found = (process_from(row) for row in tx.all("invariants.processes"))
        return [p for p in found if p.terminated_at is None]

    return await house.studio.store.read(read)


async def told(house: House, kind: str) -> list[str | None]:
    events = await house.studio.store.read(lambda tx: journal.after(tx, (0, 0)))
    return [event.cause for event in events if event.kind == kind]


async def test_the_target_is_kept_and_what_ends_is_replaced(house: House) -> None:
    await house.studio.deploy(idle_timeout_enabled=False)
    await want(house, 1, 2, 3)
    await house.settle()
    first = await live(house)
    assert [(p.status, p.made_for) for p in first] == [("running", "allocation")] * 2
    assert house.host.starts == Counter({p.process_id: 1 for p in first})
    crashed = first[0].process_id
    house.host.processes[crashed].exit = Exit(3, None, False, house.studio.clock())
    await house.settle()
    await house.settle()
    left = await live(house)
    assert [p.status for p in left] == ["running"] * 2
    assert crashed not in {p.process_id for p in left}
    assert (
        await told(house, "process.created")
        == ["the static allocation of its region wants one more"] * 3
    )


async def test_target_nought_keeps_nothing_and_rooms_still_start_some(house: House) -> None:
    await house.studio.deploy(idle_timeout_enabled=False)
    await want(house, 0, 0, 1)
    await house.settle()
    assert await live(house) == []
    placed = await house.create()
    with pytest.raises(
        Exhausted, match="maxProcesses of the static allocation in Tokyo is reached: 1"
    ):
        await house.create()
    await house.settle()
    assert [p.process_id for p in await live(house)] == [placed.process_id]


async def test_max_bounds_what_people_ask_for_too(house: House) -> None:
    await house.studio.deploy()
    await want(house, 0, 1, 2)
    wanted = (house.studio.app_id, "Tokyo")
    for _ in range(2):
        await house.studio.ask(processes.create_process, wanted)
    with pytest.raises(Exhausted) as full:
        await house.studio.ask(processes.create_process, wanted)
    assert full.value.retry_after_s > 0
    # Other regions have their own bounds, or none.
    await house.studio.ask(processes.create_process, (house.studio.app_id, "London"))


async def test_a_lowered_target_stops_the_empty_and_drains_the_others(house: House) -> None:
    await house.studio.deploy(idle_timeout_enabled=False)
    await want(house, 0, 3, 9)
    await house.settle()
    placed = [await house.create(), await house.create()]
    await want(house, 0, 1, 9)
    await house.settle()
    states = {p.process_id: (p.status, p.drain_reason) for p in await live(house)}
    assert states == {
        placed[0].process_id: ("running", None),
        placed[1].process_id: ("draining", SCALED_DOWN),
    }
    # Demand takes it back before a new one is made.
    again = await house.create()
    assert again.process_id not in states
    await house.studio.ask(rooms.destroy_room, (house.studio.app_id, placed[1].room_id))
    await house.settle()
    gone = await house.process(placed[1].process_id)
    assert gone.summary_exit_reason == SCALED_DOWN


async def test_one_that_drains_takes_rooms_again_before_a_new_one_is_made(house: House) -> None:
    await house.studio.deploy(idle_timeout_enabled=False, rooms_per_process=2)
    await want(house, 0, 2, 2)
    await house.settle()
    rooms_of = [await house.create() for _ in range(3)]
    last = rooms_of[2].process_id
    await want(house, 0, 1, 2)
    await house.settle()
    assert (await house.process(last)).draining
    placed = await house.create()
    assert placed.process_id == last
    await house.settle()
    assert not (await house.process(last)).draining, "its rooms are demand now"
    assert await told(house, "process.reopened") == ["one more is wanted again"]


async def test_a_new_deployment_replaces_them_within_the_bounds(house: House) -> None:
    await house.studio.deploy(idle_timeout_enabled=False)
    await want(house, 2, 3, 3)
    await house.settle()
    placed = await house.create()
    before = {p.process_id for p in await live(house)}
    latest = await house.studio.deploy(idle_timeout_enabled=False)
    for _ in range(30):
        await house.turn()
        now = await live(house)
        assert sum(p.stopping_at is None for p in now) <= 3
        assert sum(p.status in ("running", "draining") for p in now) >= 2
    kept = await live(house)
    new = [p for p in kept if p.deployment_id == latest.deployment_id]
    (old,) = [p for p in kept if p.process_id in before]
    assert len(new) == 2
    assert (old.process_id, old.status) == (placed.process_id, "draining")
    assert await house.room_status(placed.room_id) == "active"
    await house.studio.ask(rooms.destroy_room, (house.studio.app_id, placed.room_id))
    for _ in range(5):
        await house.turn()
    assert {p.deployment_id for p in await live(house)} == {latest.deployment_id}
    assert (await house.process(placed.process_id)).summary_exit_reason == REPLACED


async def test_with_min_as_max_one_at_a_time_is_missing(house: House) -> None:
    await house.studio.deploy(idle_timeout_enabled=False)
    await want(house, 2, 2, 2)
    await house.settle()
    latest = await house.studio.deploy(idle_timeout_enabled=False)
    for _ in range(30):
        await house.turn()
        now = await live(house)
        assert sum(p.stopping_at is None for p in now) <= 2
        assert sum(p.status == "running" for p in now) >= 1
    kept = await live(house)
    assert [(p.deployment_id, p.status) for p in kept] == [(latest.deployment_id, "running")] * 2


async def test_a_full_machine_is_told_once_and_tried_again_when_something_ends(
    house: House,
) -> None:
    await house.studio.deploy(idle_timeout_enabled=False)
    others = [
        await house.studio.ask(processes.create_process, (house.studio.app_id, "London"))
        for _ in range(3)
    ]
    await want(house, 0, 2, 9)
    for _ in range(40):
        await house.turn(5)
    assert [p.region for p in await live(house)].count("Tokyo") == 1
    (why,) = await told(house, "allocation.held")
    assert why is not None
    assert "Tokyo: no process could be made of" in why
    assert "The machine is full: CPU: 0.5 vCPU asked, 0 free of 2" in why
    wanted = (house.studio.app_id, others[0].process_id)
    await house.studio.ask(processes.stop_process, wanted)
    for _ in range(4):
        await house.turn()
    assert [p.region for p in await live(house)].count("Tokyo") == 2


async def test_a_deleted_build_starts_nothing_and_is_told_once(house: House) -> None:
    build_id = await house.studio.build("soon-gone")
    await house.studio.deploy(build_id=build_id)
    await house.studio.ask(builds.delete_build, build_id)
    await want(house, 1, 1, 1)
    for _ in range(5):
        await house.turn()
    assert await live(house) == []
    (why,) = await told(house, "allocation.held")
    assert why is not None
    assert "was deleted" in why
    await house.studio.deploy(idle_timeout_enabled=False)
    await house.settle()
    assert [p.status for p in await live(house)] == ["running"]


async def test_a_crash_loop_is_replaced_ever_more_slowly(house: House) -> None:
    await house.studio.deploy(idle_timeout_enabled=False)
    await want(house, 1, 1, 1)
    for _ in range(120):
        await house.turn()
        for process in house.host.processes.values():
            if process.exit is None:
                process.exit = Exit(1, None, False, house.studio.clock())
    made = len(await told(house, "process.created"))
    assert 5 <= made <= 10, made


async def test_a_deleted_app_wants_nothing_any_more(house: House) -> None:
    await house.studio.deploy(idle_timeout_enabled=False)
    await want(house, 1, 2, 3)
    await house.settle()
    await house.studio.ask(apps.delete_app, house.studio.app_id)
    for _ in range(5):
        await house.turn()
    assert await live(house) == []
    assert await house.studio.store.read(lifecycle.unfinished_keys) == []


async def test_a_room_that_comes_meanwhile_keeps_its_process(house: House) -> None:
    """Between the look that found it empty and the record there is a moment."""
    await house.studio.deploy()
    placed = await house.create()
    await house.settle()
    await house.studio.ask(rooms.destroy_room, (house.studio.app_id, placed.room_id))
    await house.turn()
    house.studio.clock.move(400)
    await house.loop.observe_once()
    (key,) = house.loop.take_dirty()
    (stop,) = await house.loop.one_pass(key)
    came = await house.create()
    while tasks := house.loop.tasks():
        await next(iter(tasks))
    assert came.process_id == placed.process_id, stop
    assert await house.room_status(came.room_id) == "active"


async def test_a_warm_pool_is_refilled_as_rooms_take_from_it_and_survives_idle(
    house: House,
) -> None:
    await house.studio.deploy()
    await house.studio.ask(warm_pools.set_pools, (house.studio.app_id, [("Tokyo", 1)]))
    await house.settle()
    (waiting,) = await live(house)
    assert (waiting.status, waiting.made_for) == ("running", "pool")
    placed = await house.create()
    assert (placed.process_id, placed.active) == (waiting.process_id, True)
    await house.settle()
    assert sorted(p.rooms_allocated for p in await live(house)) == [0, 1]
    house.studio.clock.move(400)
    for _ in range(3):
        await house.turn()
    assert sorted(p.rooms_allocated for p in await live(house)) == [0, 1]
    # With its room gone it idles out; the one in reserve stays.
    await house.studio.ask(rooms.destroy_room, (house.studio.app_id, placed.room_id))
    await house.turn()
    house.studio.clock.move(400)
    for _ in range(5):
        await house.turn()
    assert [p.rooms_allocated for p in await live(house)] == [0]
    latest = await house.studio.deploy()
    for _ in range(5):
        await house.turn()
    assert [p.deployment_id for p in await live(house)] == [latest.deployment_id]


async def test_one_that_is_drained_by_request_stops_when_it_is_empty(house: House) -> None:
    await house.studio.deploy(idle_timeout_enabled=False)
    placed = await house.create()
    await house.settle()
    where = (house.studio.app_id, placed.process_id)
    await house.studio.ask(processes.drain_process, where)
    await house.settle()
    assert (await house.process(placed.process_id)).status == "draining"
    await house.studio.ask(rooms.destroy_room, (house.studio.app_id, placed.room_id))
    for _ in range(3):
        await house.turn()
    assert (await house.process(placed.process_id)).summary_exit_reason == DRAINED_BY_REQUEST
    assert await told(house, "process.draining") == [DRAINED_BY_REQUEST]


async def test_what_is_taken_out_of_the_setting_goes(house: House) -> None:
    await house.studio.deploy(idle_timeout_enabled=False)
    await want(house, 1, 2, 3)
    await house.settle()
    patch = apps.AppPatch(house.studio.app_id, service_config={"staticProcessAllocation": []})
    await house.studio.ask(apps.patch_app, patch)
    for _ in range(5):
        await house.turn()
    assert await live(house) == []


async def autoscale(house: House, least: int, most: int) -> None:
    scaler = {"targetMetric": {"metricName": "concurrent-requests", "metricValue": 2}}
    entry = {
        "region": "Tokyo",
        "minProcesses": least,
        "maxProcesses": most,
        "autoscalingEnabled": True,
    }
    config = {"staticProcessAllocation": [entry], "processAutoscalerConfig": scaler}
    patch = apps.AppPatch(house.studio.app_id, service_config=config)
    await house.studio.ask(apps.patch_app, patch)


async def target(house: House) -> int:
    app = await house.studio.ask(apps.get_app, house.studio.app_id)
    return int(app.targets["Tokyo"])


async def minutes(house: House, sampler: Sampler, count: float) -> None:
    """So long, with a measurement each ten seconds."""
    for _ in range(round(count * 6)):
        await house.turn(10)
        await sampler.tick()


async def test_an_autoscaled_region_follows_its_players(house: House) -> None:
    async def at_once(_: float) -> None:
        return

    sampler = Sampler(house.around, house.loop.watch, sleep=at_once)
    await house.studio.deploy(idle_timeout_enabled=False)
    await autoscale(house, 1, 3)
    await minutes(house, sampler, 1)
    (only,) = await live(house)
    house.host.processes[only.process_id].connections = 5
    await minutes(house, sampler, 1.5)
    assert await target(house) == 3
    assert len(await live(house)) == 3
    # One of them cannot be measured: nothing is taken away, however long.
    house.host.processes[only.process_id].connections = None
    await minutes(house, sampler, 8)
    assert await target(house) == 3
    house.host.processes[only.process_id].connections = 0
    await minutes(house, sampler, 5)
    assert await target(house) == 3
    await minutes(house, sampler, 2)
    assert await target(house) == 1
    assert len(await live(house)) == 1
    assert await told(house, "allocation.scaled") == [
        "Tokyo: 2 processes wanted; 2.5 concurrent requests on average, 2 for each process: 2",
        "Tokyo: 3 processes wanted; 4.167 concurrent requests on average, 2 for each process: 3",
        "Tokyo: 1 processes wanted; for five minutes 1 were enough: 2 for each process",
    ]


async def test_an_autoscaled_target_lives_through_other_changes_within_its_bounds(
    house: House,
) -> None:
    await autoscale(house, 1, 4)
    key = (house.studio.app_id, "Tokyo")
    context = house.studio.context()
    await house.studio.store.write(
        lambda tx: autoscaling.set_target(tx, key, 3, "many came", context)
    )
    await autoscale(house, 0, 4)
    assert await target(house) == 3
    await autoscale(house, 0, 2)
    assert await target(house) == 2
    await autoscale(house, 3, 4)
    assert await target(house) == 3
