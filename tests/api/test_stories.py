"""Stories over the API: why a player was thrown out, from the beginning to the end."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from innkeeper.core.errors import NoCapacity
from innkeeper.core.processes import Exit
from innkeeper.usecases import lifecycle, rooms, waiting
from innkeeper.usecases.rooms import NewRoom

Shop = Any


class LastWords:
    """Every process said the same; ``fault`` comes in place of it."""

    fault: Exception | None = None

    async def stream(self, process_id: str, tail: int | None, follow: bool) -> AsyncIterator[bytes]:
        if self.fault is not None:
            raise self.fault
        for number in range(30 - (tail or 30), 30):
            yield f"line {number}\n".encode()


@pytest.fixture
async def said(shop: Shop) -> LastWords:
    await shop.studio.deploy(rooms_per_process=2)
    shop.house.services.logs = words = LastWords()
    return words


async def create(shop: Shop) -> Any:
    return await shop.studio.ask(rooms.create_room, NewRoom(shop.app, "Tokyo"))


async def story(shop: Shop, operation_id: str, status: int = 200, **values: str) -> Any:
    reply = await shop.call(operation_id, {"appId": shop.app, **values})
    assert reply.status_code == status, reply.text
    return reply.json()


async def crash(shop: Shop, process_id: str) -> None:
    studio = shop.studio
    end = Exit(3, None, False, studio.clock())
    await studio.store.write(
        lambda tx: lifecycle.record_terminated(tx, process_id, end, studio.context())
    )


async def test_why_the_players_were_thrown_out(shop: Shop, said: LastWords) -> None:
    first, second = await create(shop), await create(shop)
    now = shop.studio.clock()
    await shop.studio.store.write(lambda tx: lifecycle.record_attempt(tx, first.process_id, now))
    await shop.studio.store.write(lambda tx: lifecycle.record_booted(tx, first.process_id, now))
    before = await story(shop, "GetRoomStory", roomId=second.room_id)
    assert before["status"] == "starting"
    assert "cannot join yet" in before["now"]
    assert before["lastLines"] == [f"line {n}" for n in range(20, 30)]
    await crash(shop, first.process_id)
    told = await story(shop, "GetRoomStory", roomId=second.room_id)
    assert (told["status"], told["whole"]) == ("destroyed", True)
    assert "process ended: Exited with code 3" in told["now"]
    assert f"innkeeper logs {first.process_id[:8]}" in told["advice"][0]
    assert told["processId"] == first.process_id
    assert [(e["kind"], e.get("roomId")) for e in told["events"]] == [
        ("process.created", None),
        ("room.created", second.room_id),
        ("process.starting", None),
        ("process.booted", None),
        ("process.terminated", None),
        ("room.destroyed", second.room_id),
    ]
    assert {e["orgId"] for e in told["events"]} == {shop.studio.caller.org_id}
    assert told["events"][-1]["text"].startswith(f"Room {second.room_id} ended: process ended")
    whole = await story(shop, "GetProcessStory", processId=first.process_id)
    assert [e["id"] for e in whole["events"]] == sorted(
        (e["id"] for e in whole["events"]), key=lambda text: int(text.split("-")[1])
    )
    assert {e.get("roomId") for e in whole["events"]} == {None, first.room_id, second.room_id}
    assert whole["status"] == "failed"


async def test_a_room_that_moved_tells_of_both_its_processes(shop: Shop, said: LastWords) -> None:
    made = await create(shop)
    room = (shop.app, made.room_id)
    await shop.studio.ask(rooms.suspend_room, room)
    await crash(shop, made.process_id)
    shop.studio.clock.move(5)
    again = await shop.studio.ask(rooms.resume_room, room)
    assert again.process_id != made.process_id
    told = await story(shop, "GetRoomStory", roomId=made.room_id)
    assert {e.get("processId") for e in told["events"]} == {made.process_id, again.process_id}
    assert [e["kind"] for e in told["events"]].count("process.created") == 2
    assert (told["status"], told["processId"]) == ("starting", again.process_id)


async def test_a_start_that_is_held_back_says_until_when(shop: Shop, said: LastWords) -> None:
    for _ in range(3):
        await crash(shop, (await create(shop)).process_id)
    made = await create(shop)
    told = await story(shop, "GetRoomStory", roomId=made.room_id)
    assert "The last 3 starts" in told["now"]
    assert "(Exited with code 3)" in told["now"]
    assert "starts in 4 s" in told["now"]
    assert told["lastLines"] == []


async def test_a_room_that_waits_says_for_what(shop: Shop, said: LastWords) -> None:
    studio, made = shop.studio, []
    full = NoCapacity("The machine is full: 0 MB of memory are left", 10)
    until = studio.clock() + timedelta(seconds=30)
    for _ in range(2):
        wanted, context = NewRoom(shop.app, "Tokyo"), studio.context()
        made.append(
            await studio.store.write(
                lambda tx, w=wanted, c=context: waiting.stand_in_line(
                    tx, studio.caller, w, full, until, c
                )
            )
        )
    studio.clock.move(5)
    told = await story(shop, "GetRoomStory", roomId=made[1].room_id)
    assert told["now"] == (
        f"Room {made[1].room_id} waits for capacity, 25 s more at most: The machine is full: 0 MB of "
        "memory are left. 1 room waits before it."
    )
    assert "stop a process that nobody needs" in told["advice"][0]
    assert [event["kind"] for event in told["events"]] == ["room.created", "room.waiting"]


async def test_what_never_was_and_what_is_past_its_retention(shop: Shop, said: LastWords) -> None:
    for operation_id, values in (
        ("GetRoomStory", {"roomId": "never"}),
        ("GetProcessStory", {"processId": "00000000-0000-4000-8000-000000000000"}),
    ):
        wrong = await story(shop, operation_id, 404, **values)
        assert "of this app ever had this id" in wrong["message"]
    made = await create(shop)
    await shop.studio.ask(rooms.destroy_room, (shop.app, made.room_id))
    shop.studio.clock.move(shop.studio.policy.event_retention_hours * 3600 + 60)
    await create(shop)
    await shop.studio.store.write(lambda tx: lifecycle.sweep(tx, shop.studio.context()))
    told = await story(shop, "GetRoomStory", roomId=made.room_id)
    assert (told["status"], told["whole"], told["events"]) == ("destroyed", False, [])
    assert "destroyed by API request" in told["now"]
    assert "events are kept for 168 hours" in told["advice"][-1]


@pytest.mark.parametrize("fault", [OSError("a bad disk"), PermissionError("no")])
async def test_a_log_that_cannot_be_read_spoils_nothing(
    shop: Shop, said: LastWords, fault: Exception
) -> None:
    made = await create(shop)
    now = shop.studio.clock()
    await shop.studio.store.write(lambda tx: lifecycle.record_attempt(tx, made.process_id, now))
    said.fault = fault
    told = await story(shop, "GetRoomStory", roomId=made.room_id)
    assert (told["lastLines"], told["status"]) == ([], "starting")
