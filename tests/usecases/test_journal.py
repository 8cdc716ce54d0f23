"""The journal on a real store: every change has one event, with its cause, in order."""

from datetime import datetime
from functools import partial

import pytest

from innkeeper.core.errors import Exhausted
from innkeeper.core.events import ASKED_FOR, ON_NEW, ON_RUNNING, PORTS_BOUND, for_room
from innkeeper.core.processes import Exit
from innkeeper.core.rooms import DESTROYED_BY_REQUEST, SUSPENDED_BY_REQUEST
from innkeeper.interfaces import Tx
from innkeeper.testing.studio import Studio
from innkeeper.usecases import apps, journal, lifecycle, processes, rooms
from innkeeper.usecases.rooms import NewRoom, PlacedRoom

Told = list[tuple[str, str | None, str | None]]


async def told(studio: Studio, process_id: str) -> Told:
    """(kind, room id, cause) of all that happened; every event that names a process names this one."""
    events = await studio.store.read(lambda tx: journal.after(tx, (0, 0)))
    assert {event.process_id for event in events} <= {process_id, None}
    assert {(event.org_id, event.app_id) for event in events} == {
        (studio.caller.org_id, studio.app_id)
    }
    return [(event.kind, event.room_id, event.cause) for event in events]


async def create(studio: Studio) -> PlacedRoom:
    placed: PlacedRoom = await studio.ask(rooms.create_room, NewRoom(studio.app_id, "Tokyo"))
    return placed


async def test_the_story_of_two_rooms(studio: Studio) -> None:
    deployment = await studio.deploy(rooms_per_process=2)
    first = await create(studio)
    process_id = first.process_id
    assert process_id is not None
    now = studio.clock()
    await studio.store.write(lambda tx: lifecycle.record_attempt(tx, process_id, now))
    await studio.store.write(
        lambda tx: lifecycle.record_start(tx, process_id, deployment.deployment_id, now, now)
    )
    second = await create(studio)
    await studio.ask(rooms.suspend_room, (studio.app_id, second.room_id))
    await studio.ask(rooms.resume_room, (studio.app_id, second.room_id))
    await studio.ask(rooms.destroy_room, (studio.app_id, second.room_id))
    crash, context = Exit(3, None, False, now), studio.context()
    for _ in range(2):  # a repeated record changes nothing, and so tells nothing
        await studio.store.write(
            lambda tx: lifecycle.record_terminated(tx, process_id, crash, context)
        )
        await studio.store.write(lambda tx: lifecycle.record_removed(tx, process_id, context))
    assert await told(studio, process_id) == [
        ("process.created", None, for_room(first.room_id)),
        ("room.created", first.room_id, ON_NEW),
        ("process.starting", None, None),
        ("process.booted", None, None),
        ("process.running", None, PORTS_BOUND),
        ("room.created", second.room_id, ON_RUNNING),
        ("room.suspended", second.room_id, SUSPENDED_BY_REQUEST),
        ("room.resumed", second.room_id, ON_RUNNING),
        ("room.destroyed", second.room_id, DESTROYED_BY_REQUEST),
        ("process.terminated", None, "Exited with code 3"),
        ("room.destroyed", first.room_id, "process ended: Exited with code 3"),
        ("process.removed", None, None),
    ]


async def test_a_stop_tells_its_reason_and_its_signals(studio: Studio) -> None:
    await studio.deploy()
    made = await studio.ask(processes.create_process, (studio.app_id, "Tokyo"))
    now = studio.clock()
    for _ in range(2):
        await studio.ask(processes.stop_process, (studio.app_id, made.process_id))
    await studio.store.write(lambda tx: lifecycle.record_signal(tx, made.process_id, False, now))
    await studio.store.write(lambda tx: lifecycle.record_signal(tx, made.process_id, True, now))
    kinds = [(kind, cause) for kind, _, cause in await told(studio, made.process_id)]
    assert kinds == [
        ("process.created", ASKED_FOR),
        ("process.stopping", "Stopped by API request"),
        ("process.signalled", "it was asked to end"),
        ("process.killed", "it had not ended within its grace time"),
    ]


async def test_what_was_refused_is_not_told(studio: Studio) -> None:
    await studio.deploy(memory_mb=8192, cpu=4)
    for _ in range(7):
        await create(studio)
    before = await studio.store.read(journal.newest)
    with pytest.raises(Exhausted):
        await create(studio)
    assert await studio.store.read(lambda tx: journal.after(tx, before)) == []


async def test_rooms_of_a_deleted_app_end_with_its_reason(studio: Studio) -> None:
    await studio.deploy()
    placed = await create(studio)
    await studio.ask(rooms.suspend_room, (studio.app_id, placed.room_id))
    before = await studio.store.read(journal.newest)
    await studio.ask(apps.delete_app, studio.app_id)
    told_of = await studio.store.read(lambda tx: journal.after(tx, before))
    assert [(e.kind, e.room_id, e.cause) for e in told_of] == [
        ("room.destroyed", placed.room_id, "Application deleted")
    ]


async def test_old_events_are_forgotten_and_no_id_is_given_twice(studio: Studio) -> None:
    await studio.deploy()
    await create(studio)
    last = await studio.store.read(journal.newest)
    studio.clock.move(studio.policy.event_retention_hours * 3600 + 1)
    context = studio.context()
    assert await studio.store.write(lambda tx: lifecycle.sweep(tx, context)) > 0
    assert await studio.store.read(journal.newest) == last
    await create(studio)
    fresh = await studio.store.read(lambda tx: journal.after(tx, (0, 0)))
    assert next(event.seq for event in fresh) == last[1]
    assert len({event.event_id for event in fresh}) == len(fresh) == 3


async def test_a_signal_whose_record_is_repeated_is_told_once(studio: Studio) -> None:
    """The answer to a commit may get lost after it was made durable: then the loop does it again."""
    await studio.deploy()
    placed = await create(studio)
    await studio.ask(processes.stop_process, (studio.app_id, placed.process_id))
    before = await studio.store.read(journal.newest)
    process_id, now = str(placed.process_id), studio.clock()
    for _ in range(2):
        await studio.store.write(lambda tx: lifecycle.record_signal(tx, process_id, False, now))
    events = await studio.store.read(lambda tx: journal.after(tx, before))
    assert [event.kind for event in events] == ["process.signalled"]


async def test_a_signal_that_came_after_the_end_is_not_told(studio: Studio) -> None:
    """A pass may have looked before the end was recorded, and act after it."""
    await studio.deploy()
    placed = await create(studio)
    process_id, context = str(placed.process_id), studio.context()
    await studio.store.write(
        lambda tx: lifecycle.record_terminated(tx, process_id, None, context, "broken")
    )
    before = await studio.store.read(journal.newest)
    for kill in (False, True):
        now = studio.clock()
        await studio.store.write(partial(_signal, process_id=process_id, kill=kill, now=now))
    assert await studio.store.read(lambda tx: journal.after(tx, before)) == []


async def test_no_idle_time_begins_where_a_room_came_or_the_end_began(studio: Studio) -> None:
    """Since the look that saw nobody."""
    await studio.deploy()
    placed = await create(studio)
    process_id, now = str(placed.process_id), studio.clock()
    before = await studio.store.read(journal.newest)
    await studio.store.write(lambda tx: lifecycle.record_idle(tx, process_id, now))
    assert await studio.store.read(lambda tx: journal.after(tx, before)) == []
    await studio.ask(processes.stop_process, (studio.app_id, process_id))
    before = await studio.store.read(journal.newest)
    await studio.store.write(lambda tx: lifecycle.record_idle(tx, process_id, now))
    assert await studio.store.read(lambda tx: journal.after(tx, before)) == []


def _signal(tx: Tx, process_id: str, kill: bool, now: datetime) -> None:
    lifecycle.record_signal(tx, process_id, kill, now)
