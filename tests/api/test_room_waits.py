"""``CreateRoom?wait=``: active when it is, or why not; nobody hangs, and the store has its peace."""

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from innkeeper.api.rows import OPERATIONS
from innkeeper.api.waiters import Waiters
from innkeeper.core.processes import Exit
from innkeeper.interfaces import Context, Tx
from innkeeper.testing.studio import TOKEN
from innkeeper.usecases import lifecycle, processes, rooms, waiting

PROCESSES_MAX = 8  # of this size, on the studio's machine


class Desk:
    """A shop in which rooms are waited for, and what a reconciler would record."""

    def __init__(self, shop: Any, deployment_id: str) -> None:
        self.shop = shop
        self.studio = shop.studio
        self.deployment_id = deployment_id

    def ask(self, wait: str = "30s", room_id: str = "r") -> "asyncio.Task[httpx.Response]":
        call = self.shop.call(
            "CreateRoom",
            {"appId": self.shop.app},
            json={"region": "Tokyo"},
            params={"wait": wait, "roomId": room_id},
        )
        return asyncio.ensure_future(call)

    async def record(self, fn: Callable[[Tx, Context], Any]) -> Any:
        context = self.studio.context()
        return await self.studio.store.write(lambda tx: fn(tx, context))

    async def waits(self, room_id: str = "r") -> str | None:
        """Done when the room is recorded and its caller waits; the id of its process."""
        async with asyncio.timeout(10):
            while self.shop.house.services.tail.resting:
                await asyncio.sleep(0)
        found = await self.studio.ask(rooms.get_room, (self.shop.app, room_id))
        return None if found.current is None else str(found.current.process_id)

    async def starts(self, process_id: str | None) -> None:
        """The process binds its port."""
        assert process_id is not None
        await self.record(lambda tx, c: lifecycle.record_attempt(tx, process_id, c.now))
        await self.record(
            lambda tx, c: lifecycle.record_start(tx, process_id, self.deployment_id, c.now, c.now)
        )

    async def fills(self) -> str:
        """The machine has no place any more; the id of a process that could end."""
        for _ in range(PROCESSES_MAX):
            made = await self.studio.ask(processes.create_process, (self.shop.app, "London"))
        return str(made.process_id)

    async def ends(self, process_id: str, code: int = 3) -> None:
        now = self.studio.clock()
        how = Exit(code, None, False, now)
        await self.record(lambda tx, c: lifecycle.record_terminated(tx, process_id, how, c))

    async def status(self, room_id: str = "r") -> tuple[str, str | None]:
        room = await self.studio.ask(rooms.get_room, (self.shop.app, room_id))
        return room.status, room.end_reason

    @property
    def waiters(self) -> Waiters:
        waiters: Waiters = self.shop.house.services.waiters
        return waiters


@pytest.fixture
async def desk(shop: Any) -> Desk:
    deployment = await shop.studio.deploy(cpu=8, rooms_per_process=1)
    return Desk(shop, deployment.deployment_id)


async def answered(asked: "asyncio.Task[httpx.Response]") -> httpx.Response:
    async with asyncio.timeout(10):
        return await asked


async def test_it_is_answered_when_players_can_connect(desk: Desk) -> None:
    asked = desk.ask()
    process_id = await desk.waits()
    assert not asked.done()
    await desk.starts(process_id)
    reply = await answered(asked)
    assert reply.status_code == 201
    told = reply.json()
    assert (told["status"], told["processId"], told["roomId"]) == ("active", process_id, "r")
    assert told["exposedPort"]["host"] == "play.test"
    assert desk.shop.house.services.tail.resting, "it listens no longer"


async def test_one_that_is_ready_is_answered_at_once(desk: Desk) -> None:
    made = await desk.studio.ask(processes.create_process, (desk.shop.app, "Tokyo"))
    await desk.starts(made.process_id)
    reply = await answered(desk.ask())
    assert (reply.status_code, reply.json()["status"]) == (201, "active")


async def test_at_the_end_of_the_wait_one_that_starts_is_told_as_without_it(desk: Desk) -> None:
    reply = await answered(desk.ask("20ms"))
    assert (reply.status_code, reply.json()["status"]) == (201, "starting")
    assert "exposedPort" not in reply.json()
    assert await desk.status() == ("active", None)


async def test_a_crash_is_told_with_its_reason(desk: Desk) -> None:
    asked = desk.ask()
    process_id = await desk.waits()
    assert process_id is not None
    await desk.ends(process_id)
    reply = await answered(asked)
    assert reply.status_code == 400
    assert reply.json()["message"] == (
        f'Room "r" ended on process {process_id} before it was ready: process ended: Exited with code 3'
    )


async def test_a_room_that_somebody_destroys_is_told(desk: Desk) -> None:
    asked = desk.ask()
    await desk.waits()
    await desk.studio.ask(rooms.destroy_room, (desk.shop.app, "r"))
    reply = await answered(asked)
    assert reply.status_code == 404
    assert "it was destroyed while it was waited for" in reply.json()["message"]


async def test_without_capacity_it_ends_with_what_was_short(desk: Desk) -> None:
    await desk.fills()
    reply = await answered(desk.ask("20ms"))
    assert reply.status_code == 429
    assert int(reply.headers["retry-after"]) > 0
    message = reply.json()["message"]
    assert message.startswith(
        "No capacity in Tokyo: The machine is full: CPU: 8 vCPU asked, 0 free"
    )
    assert await desk.status() == ("destroyed", message)


async def test_without_wait_a_full_machine_is_told_at_once(desk: Desk) -> None:
    await desk.fills()
    for query in ({}, {"wait": "0"}):
        reply = await desk.shop.call(
            "CreateRoom", {"appId": desk.shop.app}, json={"region": "Tokyo"}, params=query
        )
        assert reply.status_code == 429
        assert reply.json()["message"].startswith("The machine is full")


async def test_capacity_that_comes_is_taken(desk: Desk) -> None:
    other = await desk.fills()
    asked = desk.ask()
    assert await desk.waits() is None
    assert await desk.status() == ("scheduling", None)
    poll = await desk.shop.call("GetConnectionInfo", {"appId": desk.shop.app, "roomId": "r"})
    assert poll.json()["status"] == "starting"
    await desk.ends(other)
    assert await desk.record(lambda tx, c: waiting.place(tx, "r", c))
    process_id = await desk.waits()
    await desk.starts(process_id)
    reply = await answered(asked)
    assert (reply.status_code, reply.json()["processId"]) == (201, process_id)


async def test_at_its_end_the_server_answers_as_things_stand(desk: Desk) -> None:
    starting = desk.ask("100s", "starting")
    await desk.waits("starting")
    for _ in range(PROCESSES_MAX - 1):
        await desk.studio.ask(processes.create_process, (desk.shop.app, "London"))
    in_line = desk.ask("100s", "in-line")
    async with asyncio.timeout(10):
        while not await _stands(desk):
            await asyncio.sleep(0)
    desk.waiters.end()
    first, second = await answered(starting), await answered(in_line)
    assert (first.status_code, first.json()["status"]) == (201, "starting")
    assert second.status_code == 429
    assert (await desk.status("in-line"))[0] == "destroyed"
    # And who comes now does not wait.
    late = await answered(desk.ask("100s", "late"))
    assert late.status_code == 429


async def _stands(desk: Desk) -> bool:
    found = await desk.studio.store.read(lambda tx: tx.one("waiting.by_room", room_id="in-line"))
    return found is not None


async def test_one_who_leaves_frees_the_place_and_the_room_lives_on(desk: Desk) -> None:
    application = desk.shop.house.application(*OPERATIONS)
    left = asyncio.Event()
    body = b'{"region":"Tokyo"}'
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        nonlocal body
        if body:
            whole, body = body, b""
            return {"type": "http.request", "body": whole}
        await left.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    path = f"/rooms/v2/{desk.shop.app}/create"
    scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"roomId=r&wait=100s",
        "headers": [(b"authorization", f"Bearer {TOKEN}".encode())],
        "client": ("192.0.2.7", 1),
    }
    serving = asyncio.ensure_future(application(scope, receive, send))
    await desk.waits()
    left.set()
    async with asyncio.timeout(10):
        await serving
    assert sent == []
    assert desk.shop.house.services.tail.resting
    assert await desk.status() == ("active", None)


async def test_more_than_may_wait_are_answered_as_without_it(desk: Desk) -> None:
    desk.shop.house.services.waiters = Waiters(most=1)
    asked = desk.ask()
    process_id = await desk.waits()
    second = await answered(desk.ask(room_id="second"))
    assert (second.status_code, second.json()["status"]) == (201, "starting")
    await desk.starts(process_id)
    assert (await answered(asked)).json()["status"] == "active"


@pytest.mark.parametrize(
    "wait", ["", "-1", "30m", "1e3", "121", "120001ms", "s", "5 s", "٣s", "nan"]
)
async def test_other_times_are_refused(desk: Desk, wait: str) -> None:
    reply = await answered(desk.ask(wait))
    assert reply.status_code == 422
    assert "query.wait" in reply.json()["details"]


@pytest.mark.parametrize("wait", ["0", "0s", "0ms", "0.5ms"])
async def test_short_times_are_times(desk: Desk, wait: str) -> None:
    assert (await answered(desk.ask(wait))).status_code == 201


async def test_who_waits_does_not_ask_the_store_again_and_again(desk: Desk) -> None:
    """What happens to others wakes nobody, and while nothing happens nobody looks."""
    asked = desk.ask()
    process_id = await desk.waits()
    looked: list[str] = []
    read = desk.shop.house.services.store.read

    def counted(fn: Any) -> Any:
        looked.append(fn.__qualname__)
        return read(fn)

    desk.shop.house.services.store.read = counted
    for _ in range(5):
        await desk.studio.ask(processes.create_process, (desk.shop.app, "London"))
    await asyncio.sleep(0.02)
    own = [name for name in looked if "_settled" in name]
    assert len(own) <= 1  # once more as the tail joins the journal
    await desk.starts(process_id)
    await answered(asked)
    own = [name for name in looked if "_settled" in name]
    assert 1 <= len(own) <= 6
