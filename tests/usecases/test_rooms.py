"""Rooms and their slots, on a real store (behaviour.md 5)."""

import asyncio
import random
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from innkeeper.core.accounts import Caller
from innkeeper.core.capacity import Machine
from innkeeper.core.catalog import ContainerPort
from innkeeper.core.errors import Exhausted, Invalid, NotFound, StateConflict
from innkeeper.core.placement import place_room
from innkeeper.core.processes import Exit
from innkeeper.core.rooms import Room
from innkeeper.store.opening import open_store
from innkeeper.testing.studio import PORTS, START, Studio
from innkeeper.usecases import builds, lifecycle, processes, rooms
from innkeeper.usecases.rooms import NewRoom, PlacedRoom


async def create(studio: Studio, **changes: object) -> PlacedRoom:
    wanted = NewRoom(**({"app_id": studio.app_id, "region": "Tokyo"} | changes))  # type: ignore[arg-type]
    placed: PlacedRoom = await studio.ask(rooms.create_room, wanted)
    return placed


async def begin(studio: Studio, process_id: str) -> None:
    """The process binds its port."""

    def record(tx):  # type: ignore[no-untyped-def]
        now = studio.clock()
        row = lifecycle.record_attempt(tx, process_id, now)
        lifecycle.record_booted(tx, process_id, now)
        return row and lifecycle.record_started(tx, process_id, row["deployment_id"], now)

    assert await studio.store.write(record)


async def process(studio: Studio, process_id: str) -> processes.Process:
    return await studio.ask(processes.get_process, (studio.app_id, process_id))


async def room(studio: Studio, room_id: str) -> Room:
    return await studio.ask(rooms.get_room, (studio.app_id, room_id))


async def end(studio: Studio, process_id: str, exit_: Exit | None) -> None:
    context = studio.context()
    await studio.store.write(lambda tx: lifecycle.record_terminated(tx, process_id, exit_, context))


async def test_a_room_without_a_deployment_says_so(studio: Studio) -> None:
    with pytest.raises(NotFound, match="no deployment yet"):
        await create(studio)


async def test_the_first_room_starts_a_process_and_is_readable_before_it_runs(
    studio: Studio,
) -> None:
    await studio.deploy(rooms_per_process=2)
    placed = await create(studio, room_config="{}")
    assert not placed.active
    assert placed.process_id is not None
    started = await process(studio, placed.process_id)
    assert (started.status, started.rooms_allocated) == ("starting", 1)
    assert started.initial_room_id == placed.room_id
    found = await room(studio, placed.room_id)
    assert (found.status, found.room_config) == ("active", "{}")
    assert found.current is not None
    assert found.current.process_id == placed.process_id
    assert found.allocations == (found.current,)


async def test_an_open_slot_is_used_before_a_process_is_started(studio: Studio) -> None:
    await studio.deploy(rooms_per_process=3)
    placed = [await create(studio) for _ in range(7)]
    counts = [[p.process_id for p in placed].count(i) for i in {p.process_id for p in placed}]
    assert sorted(counts) == [1, 3, 3]


async def test_a_room_on_a_running_process_is_active_at_once(studio: Studio) -> None:
    await studio.deploy(rooms_per_process=2)
    first = await create(studio)
    await begin(studio, first.process_id or "")
    second = await create(studio)
    assert second.process_id == first.process_id
    assert second.active
    assert PORTS[0] <= second.ports[0].port <= PORTS[1]


async def test_running_comes_before_starting_and_the_fullest_first(studio: Studio) -> None:
    await studio.deploy(rooms_per_process=3)
    one, two = await create(studio), None
    extra = await studio.ask(processes.create_process, (studio.app_id, "Tokyo"))
    await begin(studio, extra.process_id)
    two = await create(studio)
    assert two.process_id == extra.process_id, "running before starting, though emptier"
    await begin(studio, one.process_id or "")
    await studio.ask(rooms.destroy_room, (studio.app_id, two.room_id))
    three = await create(studio)
    assert three.process_id == one.process_id, "the fullest of two running ones"


async def test_a_new_deployment_takes_new_rooms_and_the_old_one_can_be_named(
    studio: Studio,
) -> None:
    old = await studio.deploy(rooms_per_process=5)
    first = await create(studio)
    await studio.deploy(rooms_per_process=5)
    second = await create(studio)
    assert second.process_id != first.process_id
    third = await create(studio, deployment_id=old.deployment_id)
    assert third.process_id == first.process_id


async def test_a_room_id_stays_taken_after_its_room_ended(studio: Studio) -> None:
    await studio.deploy()
    await create(studio, room_id="lobby-1")
    with pytest.raises(StateConflict, match='roomId "lobby-1" already exists'):
        await create(studio, room_id="lobby-1")
    await studio.ask(rooms.destroy_room, (studio.app_id, "lobby-1"))
    with pytest.raises(StateConflict):
        await create(studio, room_id="lobby-1")


async def test_a_refused_room_leaves_nothing_behind(studio: Studio) -> None:
    await studio.deploy()
    await create(studio, room_id="taken")
    before = await studio.store.read(lambda tx: tx.one("capacity.machine"))
    for refused in (
        {"room_id": "taken"},
        {"region": "Dubai"},
        {"client_ips": ("1.2.3.4",)},
        {"client_ips": ("nonsense",)},
        {"deployment_id": "dep-none"},
    ):
        with pytest.raises((StateConflict, NotFound, Invalid)):
            await create(studio, **refused)
    assert await studio.store.read(lambda tx: tx.one("capacity.machine")) == before


async def test_another_orgs_app_does_not_exist(studio: Studio) -> None:
    await studio.deploy()
    placed = await create(studio)
    studio.caller = Caller("org-other", "org-token-other", studio.caller.scopes)
    for use_case, wanted in (
        (rooms.create_room, NewRoom(studio.app_id, "Tokyo")),
        (rooms.get_room, (studio.app_id, placed.room_id)),
        (rooms.destroy_room, (studio.app_id, placed.room_id)),
        (processes.get_process, (studio.app_id, placed.process_id)),
        (processes.stop_process, (studio.app_id, placed.process_id)),
    ):
        with pytest.raises(NotFound):
            await studio.ask(use_case, wanted)


async def test_destroy_frees_the_slot_once(studio: Studio) -> None:
    await studio.deploy(rooms_per_process=2)
    placed = await create(studio, room_config="secret")
    await studio.ask(rooms.destroy_room, (studio.app_id, placed.room_id))
    with pytest.raises(NotFound):
        await studio.ask(rooms.destroy_room, (studio.app_id, placed.room_id))
    assert (await process(studio, placed.process_id or "")).rooms_allocated == 0
    gone = await room(studio, placed.room_id)
    assert (gone.status, gone.room_config, gone.current) == ("destroyed", None, None)
    assert [a.unscheduled_at for a in gone.allocations] == [START]


async def test_suspend_and_resume_keep_id_and_config(studio: Studio) -> None:
    await studio.deploy(rooms_per_process=1)
    placed = await create(studio, room_config="cfg")
    where = (studio.app_id, placed.room_id)
    await studio.ask(rooms.suspend_room, where)
    asleep = await room(studio, placed.room_id)
    assert (asleep.status, asleep.room_config, asleep.current) == ("suspended", "cfg", None)
    assert await studio.store.read(lambda tx: rooms.connection(tx, where)) is None
    with pytest.raises(NotFound):
        await studio.ask(rooms.suspend_room, where)
    again = await studio.ask(rooms.resume_room, where)
    assert again.process_id == placed.process_id, "its old slot is free again"
    assert await studio.ask(rooms.resume_room, where) == again
    assert len((await room(studio, placed.room_id)).allocations) == 2


async def test_stopping_a_process_ends_its_rooms_and_repeating_changes_nothing(
    studio: Studio,
) -> None:
    await studio.deploy(rooms_per_process=2)
    placed = await create(studio)
    where = (studio.app_id, placed.process_id)
    await studio.ask(processes.stop_process, where)
    stopped = await process(studio, placed.process_id or "")
    assert (stopped.status, stopped.rooms_allocated) == ("stopping", 0)
    assert (await room(studio, placed.room_id)).status == "destroyed"
    studio.clock.move(5)
    await studio.ask(processes.stop_process, where)
    assert await process(studio, placed.process_id or "") == stopped
    assert (await create(studio)).process_id != placed.process_id


async def test_the_end_gives_everything_back_and_ports_rest(studio: Studio) -> None:
    await studio.deploy(rooms_per_process=2)
    placed = await create(studio)
    process_id = placed.process_id or ""
    await begin(studio, process_id)
    studio.clock.move(3)
    await end(studio, process_id, Exit(3, None, False, studio.clock()))
    ended = await process(studio, process_id)
    assert (ended.status, ended.summary_exit_reason) == ("failed", "Exited with code 3")
    assert ended.stopping_at == ended.terminated_at == studio.clock()
    gone = await room(studio, placed.room_id)
    assert (gone.status, gone.end_reason) == ("destroyed", "process ended: Exited with code 3")
    machine = await studio.store.read(lambda tx: tx.one("capacity.machine"))
    assert machine is not None
    assert (machine["cpu_millis_promised"], machine["memory_mb_promised"]) == (0, 0)
    assert await studio.store.read(lambda tx: tx.all("capacity.ports_of", owner=process_id))
    context = studio.context()
    await studio.store.write(lambda tx: lifecycle.record_removed(tx, process_id, context))
    assert not await studio.store.read(lambda tx: tx.all("capacity.ports_of", owner=process_id))


async def test_a_second_end_changes_nothing(studio: Studio) -> None:
    await studio.deploy()
    placed = await create(studio)
    process_id = placed.process_id or ""
    await end(studio, process_id, None)
    before = await process(studio, process_id)
    await end(studio, process_id, Exit(7, None, False, studio.clock()))
    assert await process(studio, process_id) == before


async def test_host_ports_are_never_shared_and_rest_for_a_minute(studio: Studio) -> None:
    await studio.deploy(cpu=0.25)
    count = PORTS[1] - PORTS[0] + 1
    placed = await asyncio.gather(*(create(studio) for _ in range(count)))
    found = [(await process(studio, p.process_id or "")).exposed_ports[0].port for p in placed]
    assert sorted(found) == list(range(PORTS[0], PORTS[1] + 1))
    with pytest.raises(Exhausted, match="every host port"):
        await create(studio)
    await end(studio, placed[0].process_id or "", None)
    context = studio.context()
    await studio.store.write(
        lambda tx: lifecycle.record_removed(tx, placed[0].process_id or "", context)
    )
    studio.clock.move(59.9)
    with pytest.raises(Exhausted, match="at rest") as full:
        await create(studio)
    assert full.value.retry_after_s == 1
    studio.clock.move(0.1)
    again = await create(studio)
    assert (await process(studio, again.process_id or "")).exposed_ports[0].port == found[0]


async def test_additional_ports_each_get_their_own(studio: Studio) -> None:
    ports = (
        ContainerPort("default", 7777, "udp"),
        ContainerPort("query", 7778, "tcp"),
        ContainerPort("voice-chat", 7779, "udp"),
    )
    await studio.deploy(ports=ports)
    placed = await create(studio)
    exposed = (await process(studio, placed.process_id or "")).exposed_ports
    assert [p.name for p in exposed] == ["default", "query", "voice-chat"]
    assert len({p.port for p in exposed}) == 3


@pytest.mark.parametrize(
    ("machine", "short"), [(Machine(700, 64_000), "CPU"), (Machine(64_000, 700), "memory")]
)
async def test_a_full_machine_names_what_is_short(
    tmp_path: object, machine: Machine, short: str
) -> None:
    store = await open_store(tmp_path / "full.sqlite")  # type: ignore[operator]
    try:
        studio = await Studio(store, machine=machine).open()
        await studio.deploy()
        await create(studio)
        with pytest.raises(Exhausted, match=f"machine is full: {short}"):
            await create(studio)
    finally:
        await store.close()


async def test_a_deleted_build_starts_nothing_new_but_open_slots_still_serve(
    studio: Studio,
) -> None:
    await studio.deploy(rooms_per_process=2, build_id=await studio.build("mine"))
    first = await create(studio)
    context = studio.context()
    await studio.store.write(lambda tx: builds.delete_build(tx, studio.caller, "mine", context))
    assert (await create(studio)).process_id == first.process_id
    with pytest.raises(NotFound, match='Build "mine" not found: it was deleted'):
        await create(studio)


async def test_concurrent_rooms_never_pass_the_limit(studio: Studio) -> None:
    await studio.deploy(rooms_per_process=7, cpu=0.25)
    placed = await asyncio.gather(*(create(studio) for _ in range(300)))
    by_process: dict[str | None, int] = {}
    for one in placed:
        by_process[one.process_id] = by_process.get(one.process_id, 0) + 1
    assert sorted(by_process.values()) == [6, *([7] * 42)]
    assert len({p.room_id for p in placed}) == 300


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(seed=st.integers(0, 2**32))
async def test_the_query_places_as_the_rule_says(studio: Studio, seed: int) -> None:
    """Random creates, starts, destroys and stops: each placement is what core.placement would choose."""
    chance = random.Random(seed)
    deployment = await studio.deploy(rooms_per_process=3, cpu=0.25)
    living: list[str] = []
    for _ in range(25):
        studio.clock.move(1)
        move = chance.choice(["create", "create", "create", "start", "destroy", "stop", "spare"])
        found = [
            p
            for p in await studio.ask(
                processes.latest_processes, processes.ProcessFilter(studio.app_id)
            )
            if p.deployment_id == deployment.deployment_id
        ]
        starting = [p for p in found if p.status == "starting"]
        if move == "create":
            expected = place_room(found)
            placed = await create(studio)
            living.append(placed.room_id)
            if expected is not None:
                assert placed.process_id == expected.process_id
            else:
                assert placed.process_id not in {p.process_id for p in found}
        elif move == "start" and starting:
            await begin(studio, chance.choice(starting).process_id)
        elif move == "destroy" and living:
            room_id = living.pop(chance.randrange(len(living)))
            if (await room(studio, room_id)).status == "active":
                await studio.ask(rooms.destroy_room, (studio.app_id, room_id))
        elif move == "stop" and len(found) > 1:
            chosen = chance.choice(found)
            await studio.ask(processes.stop_process, (studio.app_id, chosen.process_id))
        elif move == "spare" and len(found) < 6:
            await studio.ask(processes.create_process, (studio.app_id, "Tokyo"))
        if len(found) >= 9:
            break
    for p in await studio.ask(processes.latest_processes, processes.ProcessFilter(studio.app_id)):
        await end(studio, p.process_id, None)
        context = replace(studio.context(), policy=replace(studio.policy, port_rest_s=0))
        await studio.store.write(
            lambda tx, i=p.process_id, c=context: lifecycle.record_removed(tx, i, c)
        )


async def test_config_can_be_replaced_until_the_room_ends(studio: Studio) -> None:
    await studio.deploy()
    placed = await create(studio)
    await studio.ask(rooms.update_config, (studio.app_id, placed.room_id, "new"))
    assert (await room(studio, placed.room_id)).room_config == "new"
    await studio.ask(rooms.destroy_room, (studio.app_id, placed.room_id))
    with pytest.raises(NotFound):
        await studio.ask(rooms.update_config, (studio.app_id, placed.room_id, "newer"))


async def test_lists_of_a_process_tell_active_and_inactive_rooms(studio: Studio) -> None:
    await studio.deploy(rooms_per_process=3)
    first, second = await create(studio), await create(studio)
    where = (studio.app_id, first.process_id)
    await studio.ask(rooms.destroy_room, (studio.app_id, first.room_id))
    active = await studio.ask(rooms.active_rooms, where)
    inactive = await studio.ask(rooms.inactive_rooms, where)
    assert [r.room_id for r in active] == [second.room_id]
    assert [r.room_id for r in inactive] == [first.room_id]


async def test_counts_and_lists_filter(studio: Studio) -> None:
    await studio.deploy()
    one = await create(studio)
    studio.clock.move(1)
    two = await create(studio, region="London")
    await begin(studio, two.process_id or "")

    def ask(**filters: object) -> object:
        wanted = processes.ProcessFilter(studio.app_id, **filters)  # type: ignore[arg-type]
        return studio.ask(processes.latest_processes, wanted)

    assert [p.process_id for p in await ask()] == [two.process_id, one.process_id]  # type: ignore[misc]
    assert [p.process_id for p in await ask(statuses=("running",))] == [two.process_id]  # type: ignore[misc]
    assert [p.process_id for p in await ask(regions=("Tokyo",))] == [one.process_id]  # type: ignore[misc]
    count = processes.ProcessFilter(studio.app_id, statuses=("starting", "failed"))
    assert await studio.ask(processes.count_processes, count) == 1
    assert await studio.ask(processes.count_processes, processes.ProcessFilter(studio.app_id)) == 2
