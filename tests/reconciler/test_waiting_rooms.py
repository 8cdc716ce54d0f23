"""Rooms that wait for capacity: in their order, never overtaken, ended with what was short."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from innkeeper.core.accounts import Caller
from innkeeper.core.capacity import Machine
from innkeeper.core.errors import NoCapacity, NotFound
from innkeeper.core.lobbies import Visibility
from innkeeper.core.players import Player
from innkeeper.core.processes import GAVE_WAY
from innkeeper.testing.house import House, open_house
from innkeeper.usecases import (
    apps,
    builds,
    journal,
    lifecycle,
    lobbies,
    processes,
    rooms,
    waiting,
    warm_pools,
)
from innkeeper.usecases.rooms import NewRoom, PlacedRoom

TWO = Machine(1_000, 64_000, 16, 65_536)  # two processes of half a core


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with open_house(tmp_path, machine=TWO) as made:
        await made.studio.deploy(idle_timeout_enabled=False)
        yield made


async def waits(
    house: House, room_id: str, region: str = "Tokyo", app_id: str | None = None, s: float = 100
) -> PlacedRoom:
    """As a caller who would wait: the room, placed or in line."""
    studio = house.studio
    wanted = NewRoom(app_id or studio.app_id, region, room_id)
    try:
        placed: PlacedRoom = await studio.ask(rooms.create_room, wanted)
    except NoCapacity as error:
        full = error
    else:
        return placed
    context = studio.context()
    deadline = context.now + timedelta(seconds=s)
    return await studio.store.write(
        lambda tx: waiting.stand_in_line(tx, studio.caller, wanted, full, deadline, context)
    )


async def room(house: House, room_id: str) -> Any:
    return await house.studio.ask(rooms.get_room, (house.studio.app_id, room_id))


async def statuses(house: House, *ids: str) -> list[str]:
    return [(await room(house, room_id)).status for room_id in ids]


async def ends(house: House, room_id: str) -> None:
    await house.studio.ask(rooms.destroy_room, (house.studio.app_id, room_id))


async def full(house: House, region: str = "Tokyo") -> list[str]:
    """Both places are taken by rooms ``a`` and ``b``; the ids of their processes."""
    placed = [await waits(house, name, region) for name in "ab"]
    await house.settle()
    return [str(each.process_id) for each in placed]


async def turns(house: House, count: int = 4) -> None:
    for _ in range(count):
        await house.turn()


async def test_who_came_first_is_placed_first(house: House) -> None:
    await full(house)
    for name in "cde":
        placed = await waits(house, name)
        assert (placed.process_id, placed.active) == (None, False)
    assert await statuses(house, *"cde") == ["scheduling"] * 3
    await ends(house, "a")
    await turns(house)
    assert await statuses(house, *"cde") == ["active", "scheduling", "scheduling"]
    await ends(house, "d")  # one that waits may be destroyed as any other
    await ends(house, "b")
    await turns(house)
    assert await statuses(house, *"cde") == ["active", "destroyed", "active"]
    assert (await room(house, "c")).allocations[0].room_allocation_id


async def test_who_does_not_wait_does_not_overtake(house: House) -> None:
    (first, _) = await full(house)
    await waits(house, "c")
    await ends(house, "a")  # a slot is free, and not for the next who comes
    with pytest.raises(
        NoCapacity, match="1 room\\(s\\) wait for capacity in Tokyo before this one"
    ):
        await house.create()
    await turns(house)
    assert (await room(house, "c")).current.process_id == first
    # Where nobody waits any more, all is as before; and other regions were never held up.
    await ends(house, "c")
    assert (await house.create()).process_id == first


async def test_one_that_was_suspended_does_not_overtake_either(house: House) -> None:
    await full(house)
    await house.studio.ask(rooms.suspend_room, (house.studio.app_id, "a"))
    await waits(house, "filler")
    await waits(house, "c")
    with pytest.raises(NoCapacity):
        await house.studio.ask(rooms.resume_room, (house.studio.app_id, "a"))


async def test_in_vain_it_ends_with_what_was_short(house: House) -> None:
    await full(house)
    await waits(house, "c", s=30)
    await house.turn(29)
    assert await statuses(house, "c") == ["scheduling"]
    await house.turn(1)
    ended = await room(house, "c")
    assert ended.status == "destroyed"
    assert ended.end_reason.startswith(
        "No capacity in Tokyo: The machine is full: CPU: 0.5 vCPU asked"
    )
    story = await house.studio.store.read(lambda tx: journal.after(tx, (0, 0)))
    told = [(event.kind, event.cause) for event in story if event.room_id == "c"]
    assert [kind for kind, _ in told] == ["room.created", "room.waiting", "room.destroyed"]
    assert told[2][1] == ended.end_reason
    assert (
        await house.studio.store.read(lambda tx: waiting.queue(tx, (house.studio.app_id, "Tokyo")))
        == ()
    )


async def test_the_end_of_another_apps_process_is_heard(house: House) -> None:
    """At once, and where nobody told, by the timer."""
    (first, _) = await full(house, "London")
    other = await house.studio.ask(apps.create_app, apps.NewApp("other", {}))
    mine, house.studio.app = house.studio.app, other
    await house.studio.deploy()
    await waits(house, "c", app_id=other.app_id)
    house.studio.app = mine
    await turns(house)
    house.loop.take_dirty()
    house.woken.clear()
    context = house.studio.context()
    await house.studio.store.write(lambda tx: lifecycle.record_terminated(tx, first, None, context))
    assert (other.app_id, "Tokyo") in context.wake
    assert (other.app_id, "Tokyo") in await house.studio.store.read(lifecycle.unfinished_keys)
    await house.loop.one_pass((other.app_id, "Tokyo"))
    while tasks := house.loop.tasks():
        await next(iter(tasks))
    house.studio.app = other
    assert await statuses(house, "c") == ["active"]


async def test_max_of_the_static_allocation_is_waited_for_too(house: House) -> None:
    entry = {"region": "Tokyo", "minProcesses": 0, "targetProcesses": 0, "maxProcesses": 1}
    patch = apps.AppPatch(house.studio.app_id, service_config={"staticProcessAllocation": [entry]})
    await house.studio.ask(apps.patch_app, patch)
    await waits(house, "a")
    await waits(house, "c", s=600)
    await turns(house)
    assert await statuses(house, "c") == ["scheduling"]
    process_id = (await room(house, "a")).current.process_id
    await house.studio.ask(processes.stop_process, (house.studio.app_id, process_id))
    await turns(house, 6)
    assert await statuses(house, "c") == ["active"]


async def test_a_pool_gives_way_one_by_one_and_is_filled_again(house: House) -> None:
    other = await house.studio.ask(apps.create_app, apps.NewApp("other", {}))
    await house.studio.ask(warm_pools.set_pools, (house.studio.app_id, [("Tokyo", 2)]))
    await house.settle()
    mine, house.studio.app = house.studio.app, other
    await house.studio.deploy(idle_timeout_enabled=False)
    await waits(house, "c", app_id=other.app_id)
    await turns(house, 6)
    assert await statuses(house, "c") == ["active"]
    story = await house.studio.store.read(lambda tx: journal.after(tx, (0, 0)))
    stopped = [event.cause for event in story if event.kind == "process.stopping"]
    assert stopped == [GAVE_WAY]
    await ends(house, "c")
    process_id = (await room(house, "c")).allocations[0].process_id
    await house.studio.ask(processes.stop_process, (other.app_id, process_id))
    for _ in range(10):
        await house.turn(10)
    house.studio.app = mine
    found = await house.studio.ask(
        processes.count_processes, processes.ProcessFilter(house.studio.app_id)
    )
    assert found == 2


async def test_a_build_that_is_gone_ends_it_at_once(house: House) -> None:
    build_id = await house.studio.build("soon-gone")
    await full(house)
    await house.studio.deploy(build_id=build_id)
    await waits(house, "c")
    await house.studio.ask(builds.delete_build, build_id)
    await turns(house)
    ended = await room(house, "c")
    assert ended.status == "destroyed"
    assert "it was deleted" in ended.end_reason


async def test_a_deleted_app_has_nobody_in_line(house: House) -> None:
    await full(house)
    await waits(house, "c")
    key = (house.studio.app_id, "Tokyo")
    await house.studio.ask(apps.delete_app, house.studio.app_id)
    assert await house.studio.store.read(lambda tx: waiting.queue(tx, key)) == ()
    await turns(house, 6)
    assert await house.studio.store.read(lifecycle.unfinished_keys) == []


@pytest.mark.parametrize("visibility", ["local"])
async def test_a_local_lobbys_room_is_never_placed(house: House, visibility: Visibility) -> None:
    player = Player(house.studio.app_id, house.studio.caller.org_id, "player-1")
    context = house.studio.context()
    made = await house.studio.store.write(
        lambda tx: lobbies.create_lobby(tx, player, lobbies.NewLobby(visibility, "Tokyo"), context)
    )
    await waits(house, "a")
    await turns(house, 6)
    assert await statuses(house, made.room_id, "a") == ["scheduling", "active"]


async def test_those_who_poll_are_told_to_poll_on_and_then_that_it_is_over(house: House) -> None:
    await full(house)
    await waits(house, "c", s=10)
    where = (house.studio.app_id, "c")
    told = await house.studio.store.read(lambda tx: rooms.connection(tx, where))
    assert told == PlacedRoom("c", None, ())
    await house.turn(10)
    with pytest.raises(NotFound):
        await house.studio.store.read(lambda tx: rooms.connection(tx, where))


async def test_too_many_do_not_wait(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "QUEUE_MAX", 1)
    await full(house)
    await waits(house, "c")
    with pytest.raises(NoCapacity):
        await waits(house, "d")


async def test_strangers_do_not_wait(house: House) -> None:
    await full(house)
    mine, house.studio.caller = house.studio.caller, Caller("org-other", "x", frozenset())
    with pytest.raises(NotFound):
        await waits(house, "c")
    house.studio.caller = replace(mine)
