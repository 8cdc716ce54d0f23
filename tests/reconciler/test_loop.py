"""The loop over a real store and a runtime that runs nothing: it reaches rest, whatever went before."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from innkeeper.core.processes import Exit
from innkeeper.interfaces import ProcessSpec
from innkeeper.reconciler import patience
from innkeeper.runtime.fake import FakeHost
from innkeeper.store.opening import open_store
from innkeeper.testing.house import House
from innkeeper.testing.studio import Studio
from innkeeper.usecases import apps, journal, processes, rooms


@pytest.fixture
async def studio(tmp_path: Path) -> AsyncIterator[Studio]:
    store = await open_store(tmp_path / "innkeeper.sqlite")
    yield await Studio(store).open()
    await store.close()


@pytest.fixture
def house(studio: Studio) -> House:
    return House(studio, FakeHost())


async def test_a_room_becomes_active_once_its_process_binds(house: House) -> None:
    await house.studio.deploy(idle_timeout_enabled=False)
    placed = await house.create()
    await house.settle()
    process = await house.process(placed.process_id)
    assert process.status == "running"
    assert process.created_at <= process.booted_at <= process.started_at  # type: ignore[operator]
    where = (house.studio.app_id, placed.room_id)
    found = await house.studio.store.read(lambda tx: rooms.connection(tx, where))
    assert found is not None
    assert found.active


async def test_the_game_is_told_its_room_and_ports(house: House) -> None:
    await house.studio.deploy()
    placed = await house.create(room_config='{"map":"x"}')
    await house.settle()
    spec: ProcessSpec = house.host.processes[placed.process_id or ""].spec
    assert spec.env["HATHORA_INITIAL_ROOM_ID"] == placed.room_id
    assert spec.env["HATHORA_INITIAL_ROOM_CONFIG"] == '{"map":"x"}'
    assert spec.env["HATHORA_DEFAULT_PORT"] == str(spec.ports[0].host_port)
    assert spec.env["HATHORA_REGION"] == "Tokyo"
    assert "PORT" not in spec.env


async def test_never_bound_is_stopped_and_failed_with_the_reason(house: House) -> None:
    await house.studio.deploy()
    house.host.binds = False
    placed = await house.create()
    await house.settle()
    assert (await house.process(placed.process_id)).status == "starting"
    house.studio.clock.move(100)
    await house.settle()
    process = await house.process(placed.process_id)
    assert (process.status, process.summary_exit_reason) == (
        "failed",
        "Failed to bind port 7777 within 100 seconds",
    )
    assert await house.room_status(placed.room_id) == "destroyed"
    assert house.host.processes == {}
    assert house.logs.kept == [placed.process_id]


async def test_an_exit_is_told_apart_and_leaves_nothing(house: House) -> None:
    await house.studio.deploy(rooms_per_process=1)
    ends = [
        (Exit(0, None, False, house.studio.clock()), "stopped", "Exited with code 0"),
        (Exit(3, None, False, house.studio.clock()), "failed", "Exited with code 3"),
        (Exit(None, 11, False, house.studio.clock()), "failed", "Killed by signal 11"),
        (Exit(137, None, True, house.studio.clock()), "failed", "Out of memory"),
    ]
    for exit_, status, reason in ends:
        placed = await house.create()
        await house.settle()
        house.runtime.end(placed.process_id or "", exit_)
        await house.settle()
        process = await house.process(placed.process_id)
        assert (process.status, process.summary_exit_reason) == (status, reason)
        assert process.removed
        assert await house.room_status(placed.room_id) == "destroyed"
    assert house.host == FakeHost(starts=house.host.starts)


async def test_stop_is_term_then_kill_after_the_grace(house: House) -> None:
    await house.studio.deploy()
    house.host.term_ends = False
    placed = await house.create()
    await house.settle()
    await house.studio.ask(processes.stop_process, (house.studio.app_id, placed.process_id))
    await house.settle()
    assert (await house.process(placed.process_id)).status == "stopping"
    assert house.host.processes[placed.process_id or ""].terms == 1
    house.studio.clock.move(31)
    await house.settle()
    process = await house.process(placed.process_id)
    assert (process.status, process.summary_exit_reason) == ("stopped", "Stopped by API request")


async def test_a_lost_process_is_ended_and_an_orphan_is_removed(house: House) -> None:
    await house.studio.deploy()
    placed = await house.create()
    await house.settle()
    lost = house.host.processes.pop(placed.process_id or "")
    house.host.ports.clear()
    house.host.processes["nobody"] = lost
    await house.settle()
    process = await house.process(placed.process_id)
    assert (process.status, process.summary_exit_reason) == ("failed", "Node lost")
    assert house.host.processes == {}


async def test_an_orphan_with_a_record_is_told(house: House) -> None:
    await house.studio.deploy()
    placed = await house.create()
    await house.settle()
    left = house.host.processes[placed.process_id or ""]
    await house.studio.ask(processes.stop_process, (house.studio.app_id, placed.process_id))
    house.studio.clock.move(31)
    await house.settle()
    house.host.processes[placed.process_id or ""] = left
    await house.settle()
    assert house.host.processes == {}
    told = await house.studio.store.read(lambda tx: journal.after(tx, (0, 0)))
    assert [(e.kind, e.cause) for e in told][-2:] == [
        ("process.removed", None),
        ("process.orphan_removed", "the runtime still held it after its record had ended"),
    ]


async def test_a_new_control_plane_goes_on_from_the_facts(house: House) -> None:
    await house.studio.deploy(rooms_per_process=1)
    placed = [await house.create() for _ in range(3)]
    await house.loop.observe_once()
    await house.loop.one_pass((house.studio.app_id, "Tokyo"))
    # Killed while the starts are under way: the tasks are gone, the host is not.
    for task in house.loop._tasks:
        task.cancel()
    await asyncio.gather(*house.loop._tasks, return_exceptions=True)
    again = House(house.studio, house.host)
    await again.settle(6)
    for one in placed:
        assert (await again.process(one.process_id)).status == "running"
        assert again.host.starts[one.process_id or ""] == 1


async def test_a_start_that_fails_tells_why_and_backs_off(house: House) -> None:
    await house.studio.deploy()
    house.host.next_start_fails = ["no such file: /game", "no such file: /game"]
    first = await house.create()
    await house.settle()
    process = await house.process(first.process_id)
    assert process.status == "failed"
    assert process.summary_exit_reason == "Image could not be started: no such file: /game"
    assert await house.room_status(first.room_id) == "destroyed"
    second = await house.create()
    house.studio.clock.move(-1.5)
    await house.settle(0)
    assert (await house.process(second.process_id)).attempted_at is None, "it waits its second"


async def test_a_port_that_somebody_else_holds_is_replaced(house: House) -> None:
    await house.studio.deploy()
    placed = await house.create()
    first = (await house.process(placed.process_id)).exposed_ports[0].port
    house.host.ports[first] = "somebody"
    await house.settle()
    process = await house.process(placed.process_id)
    assert process.status == "running"
    assert process.exposed_ports[0].port != first


async def test_idle_is_five_minutes_without_rooms_and_connections(house: House) -> None:
    await house.studio.deploy()
    placed = await house.create()
    await house.settle()
    house.studio.clock.move(3600)
    await house.settle()
    assert (await house.process(placed.process_id)).status == "running", "it has a room"
    await house.studio.ask(rooms.destroy_room, (house.studio.app_id, placed.room_id))
    house.host.processes[placed.process_id or ""].connections = 1
    await house.settle()
    house.studio.clock.move(3600)
    await house.settle()
    assert (await house.process(placed.process_id)).status == "running", "somebody is connected"
    house.host.processes[placed.process_id or ""].connections = 0
    await house.settle()
    house.studio.clock.move(290)
    await house.settle()
    assert (await house.process(placed.process_id)).status == "running", "not yet"
    house.studio.clock.move(10)
    await house.settle()
    process = await house.process(placed.process_id)
    assert (process.status, process.summary_exit_reason) == ("stopped", "Idle timeout")


async def test_unmeasured_connections_count_as_present(house: House) -> None:
    await house.studio.deploy()
    placed = await house.create()
    await house.settle()
    house.host.processes[placed.process_id or ""].connections = None
    await house.studio.ask(rooms.destroy_room, (house.studio.app_id, placed.room_id))
    house.studio.clock.move(3600)
    await house.settle()
    house.studio.clock.move(3600)
    await house.settle()
    assert (await house.process(placed.process_id)).status == "running"


async def test_an_engine_that_is_away_proves_nothing(house: House) -> None:
    await house.studio.deploy()
    placed = await house.create()
    await house.settle()
    house.host.away = True
    with pytest.raises(Exception, match="does not answer"):
        await house.loop.observe_once()
    await house.loop.one_pass((house.studio.app_id, "Tokyo"))
    assert (await house.process(placed.process_id)).status == "running"
    house.host.away = False
    await house.settle()
    assert (await house.process(placed.process_id)).status == "running"


async def test_deleting_an_app_stops_its_processes(house: House) -> None:
    await house.studio.deploy()
    placed = await house.create()
    await house.settle()
    context = house.studio.context()
    app_id = house.studio.app_id
    await house.studio.store.write(
        lambda tx: apps.delete_app(tx, house.studio.caller, app_id, context)
    )
    await house.settle()
    row = await house.studio.store.read(
        lambda tx: tx.one("processes.any_by_id", process_id=placed.process_id)
    )
    assert row is not None
    assert (row["removed"], row["summary_exit_reason"]) == (1, "Application deleted")
    assert house.host.processes == {}


async def test_one_apps_trouble_keeps_no_other_waiting(house: House) -> None:
    troubled, woken = ("app-troubled", "Tokyo"), asyncio.Event()
    passes: list[tuple[str, str]] = []

    async def one_pass(key: tuple[str, str]) -> list[Any]:
        passes.append(key)
        if key == troubled:
            raise ValueError("a record that nobody foresaw")
        woken.set()
        return []

    house.loop.one_pass = one_pass  # type: ignore[method-assign]
    house.loop.wake(troubled)
    house.loop.wake((house.studio.app_id, "Tokyo"))
    running = asyncio.create_task(house.loop._passing())
    async with asyncio.timeout(10):
        await woken.wait()
    assert not running.done()
    assert passes == [troubled, (house.studio.app_id, "Tokyo")]
    running.cancel()


async def test_sandboxes_are_made_ahead_joined_and_replaced(studio: Studio) -> None:
    house = House(studio, FakeHost(), ahead=2)
    await studio.deploy()
    await house.settle()
    assert len(house.host.sandboxes) == 2
    placed = await house.create()
    joined = (await house.process(placed.process_id)).sandbox_id
    assert joined in house.host.sandboxes
    await house.settle()
    assert (await house.process(placed.process_id)).status == "running"
    assert len(house.host.sandboxes) == 3, "two ahead, one joined"
    await studio.ask(processes.stop_process, (studio.app_id, placed.process_id))
    await house.settle()
    assert len(house.host.sandboxes) == 2
    await studio.deploy()
    await house.settle()
    assert len(house.host.sandboxes) == 2, "only the latest deployment's"
    machine = await studio.store.read(lambda tx: tx.one("capacity.machine"))
    assert machine is not None
    assert machine["memory_mb_promised"] == 2 * 4


async def test_an_ended_sandbox_without_a_record_is_removed_and_one_on_record_is_not(
    studio: Studio,
) -> None:
    """Its process was removed, and we were killed before its sandbox was."""
    house = House(studio, FakeHost(), ahead=1)
    await studio.deploy()
    await house.settle()
    (recorded,) = house.host.sandboxes
    house.host.sandboxes["left"] = house.host.sandboxes[recorded]
    assert house.keeper is not None
    now = studio.clock()
    await house.keeper.keep({recorded}, now, frozenset({"left"}))
    assert set(house.host.sandboxes) == {recorded}
    await house.keeper.keep({recorded}, now, frozenset({recorded}))
    assert set(house.host.sandboxes) == {recorded}


async def test_the_loop_ends_when_told_to_although_a_hint_arrives_at_that_moment(
    house: House,
) -> None:
    """Otherwise a control plane never ends, and one that lost its lease goes on looking."""
    await house.studio.deploy()
    for turns in range(20, 26):
        running = asyncio.create_task(house.loop.run())
        for _ in range(turns):
            await asyncio.sleep(0)
        house.loop._look_again.set()
        running.cancel()
        done, _ = await asyncio.wait({running}, timeout=5)
        assert done, "it never ended"


async def test_a_call_that_never_answers_holds_nothing_up_for_ever(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The driver hangs as the game is asked to end; the next pass asks again."""
    monkeypatch.setattr(patience, "CALL_MAX_S", 0.01)
    await house.studio.deploy()
    placed = await house.create()
    await house.settle()
    signal = house.runtime.signal

    async def hangs(process_id: str, kill: bool) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(house.runtime, "signal", hangs)
    await house.studio.ask(processes.stop_process, (house.studio.app_id, placed.process_id))
    async with asyncio.timeout(20):
        await house.turn()
    monkeypatch.setattr(house.runtime, "signal", signal)
    await house.settle()
    assert (await house.process(placed.process_id)).status == "stopped"
