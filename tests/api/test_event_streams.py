"""Server-sent events over the API: at least once, in order, resumed by id, bounded, ended promptly."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import pytest

from innkeeper.api.rows import OPERATIONS
from innkeeper.api.stream_bounds import EventStreams
from innkeeper.testing.studio import TOKEN
from innkeeper.usecases import journal, lifecycle, rooms, tokens
from innkeeper.usecases.rooms import NewRoom
from innkeeper.usecases.tail import Tail, TailPace

Shop = Any
WAIT_S = 20.0


@dataclass
class Reader:
    """A client of one stream, that takes what it is sent while ``gate`` is open."""

    text: str = ""
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    left: asyncio.Event = field(default_factory=asyncio.Event)
    grew: asyncio.Event = field(default_factory=asyncio.Event)
    task: Any = None

    def __post_init__(self) -> None:
        self.gate.set()

    async def send(self, message: Any) -> None:
        await self.gate.wait()
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {k.decode(): v.decode() for k, v in message["headers"]}
        self.text += message.get("body", b"").decode()
        self.grew.set()

    async def receive(self) -> Any:
        await self.left.wait()
        return {"type": "http.disconnect"}

    @property
    def events(self) -> list[dict[str, str]]:
        blocks = [dict(_lines(block)) for block in self.text.split("\n\n")]
        return [{**json.loads(b["data"]), "sse": b["id"]} for b in blocks if "data" in b]

    @property
    def last_id(self) -> str:
        return [line[4:] for line in self.text.splitlines() if line.startswith("id: ")][-1]

    async def until(self, done: Callable[[], bool]) -> None:
        async with asyncio.timeout(WAIT_S):
            while not done():
                self.grew.clear()
                await self.grew.wait()

    async def end(self) -> None:
        self.left.set()
        await asyncio.wait_for(self.task, WAIT_S)


def _lines(block: str) -> list[tuple[str, str]]:
    return [(line.partition(": ")[0], line.partition(": ")[2]) for line in block.splitlines()]


Open = Callable[..., Awaitable[Reader]]


@pytest.fixture
async def stream(shop: Shop) -> AsyncIterator[Open]:
    services = shop.house.services
    services.event_streams = EventStreams(quiet_s=WAIT_S)
    services.tail = Tail(services.store, TailPace(look_s=WAIT_S, gap_s=0))
    application = shop.house.application(*OPERATIONS)
    readers: list[Reader] = []

    async def open_(
        app: str = shop.app,
        token: str = TOKEN,
        last: str = "",
        whole_org: bool = False,
        **query: str,
    ) -> Reader:
        reader = Reader()
        headers = [(b"authorization", f"Bearer {token}".encode())]
        headers += [(b"last-event-id", last.encode())] if last else []
        path = "/innkeeper/v1/events" if whole_org else f"/innkeeper/v1/apps/{app}/events"
        scope = {
            "type": "http",
            "method": "GET",
            "raw_path": path.encode(),
            "query_string": "&".join(f"{k}={quote(v)}" for k, v in query.items()).encode(),
            "headers": headers,
        }
        reader.task = asyncio.create_task(application(scope, reader.receive, reader.send))
        readers.append(reader)
        await reader.until(lambda: "\n\n" in reader.text or reader.status >= 400)
        return reader

    open_.application = application  # type: ignore[attr-defined]
    yield open_
    for reader in readers:
        reader.gate.set()
        reader.left.set()
        await asyncio.gather(reader.task, return_exceptions=True)
    assert not services.event_streams.open, "each stream gave its place back"


async def create(shop: Shop) -> str:
    made = await shop.studio.ask(rooms.create_room, NewRoom(shop.app, "Tokyo"))
    return str(made.room_id)


@pytest.fixture
async def rooms_on_one(shop: Shop) -> None:
    await shop.studio.deploy(rooms_per_process=10_000)
    await create(shop)


async def test_events_come_as_they_happen(shop: Shop, stream: Open, rooms_on_one: None) -> None:
    reader = await stream()
    assert reader.headers["content-type"] == "text/event-stream"
    assert reader.headers["cache-control"] == "no-cache"
    assert reader.events == []
    made = [await create(shop) for _ in range(3)]
    await reader.until(lambda: len(reader.events) == 3)
    assert [event["roomId"] for event in reader.events] == made
    told = await shop.studio.store.read(lambda tx: journal.after(tx, (0, 0)))
    assert [e["sse"] for e in reader.events] == [e.event_id for e in told[-3:]]
    assert all(e["sse"] == e["id"] for e in reader.events)
    assert reader.events[0]["text"].startswith(f"Room {made[0]} was created: ")


@pytest.mark.parametrize("how", ["last", "after"])
async def test_a_client_that_was_cut_off_goes_on(
    shop: Shop, stream: Open, rooms_on_one: None, how: str
) -> None:
    first = await stream()
    made = [await create(shop) for _ in range(2)]
    await first.until(lambda: len(first.events) == 2)
    await first.end()
    made += [await create(shop) for _ in range(3)]
    second = await stream(**{how: first.last_id})
    made.append(await create(shop))
    await second.until(lambda: len(second.events) == 4)
    assert [event["roomId"] for event in first.events + second.events] == made
    # An id in the header is newer than one in the URL, which a browser repeats.
    third = await stream(last=second.events[-2]["id"], after="0-0")
    await third.until(lambda: len(third.events) == 1)
    assert third.events == second.events[-1:]


async def test_filters(shop: Shop, stream: Open, rooms_on_one: None) -> None:
    room_id = await create(shop)
    of_room = await stream(roomId=room_id, after="0-0")
    of_kinds = await stream(kinds="room.destroyed,room.suspended", after="0-0")
    of_org = await stream(whole_org=True, after="0-0")
    await of_org.until(lambda: len(of_org.events) == 3)
    await shop.studio.ask(rooms.destroy_room, (shop.app, room_id))
    await of_room.until(lambda: len(of_room.events) == 2)
    await of_kinds.until(lambda: len(of_kinds.events) == 1)
    assert {event["roomId"] for event in of_room.events} == {room_id}
    assert [event["kind"] for event in of_kinds.events] == ["room.destroyed"]


async def test_what_is_wrong_is_refused(shop: Shop, stream: Open, rooms_on_one: None) -> None:
    for query in ({"after": "x"}, {"after": "1-" + "9" * 19}, {"kinds": "room.opened"}):
        reader = await stream(**query)
        assert reader.status == 422, query
    assert "must be one of room.created" in reader.text
    assert (await stream(app="app-none")).status == 404
    assert (await stream(token="nonsense")).status == 401
    reader = await stream(last="nonsense")
    assert (reader.status, "header.Last-Event-ID" in reader.text) == (422, True)


async def test_a_place_past_its_retention_is_gone(
    shop: Shop, stream: Open, rooms_on_one: None
) -> None:
    told = await shop.studio.store.read(lambda tx: journal.after(tx, (0, 0)))
    shop.studio.clock.move(shop.studio.policy.event_retention_hours * 3600 + 1)
    await create(shop)
    await shop.studio.store.write(lambda tx: lifecycle.sweep(tx, shop.studio.context()))
    reader = await stream(after=told[0].event_id)
    assert (reader.status, "some after it may be missing" in reader.text) == (410, True)
    ahead = await stream(after="0-999")
    assert ahead.status == 410, "an id from before a backup was restored"
    kept = await stream(after="0-0")
    await kept.until(lambda: len(kept.events) == 1)


async def test_a_slow_reader_misses_nothing_and_a_stuck_one_is_cut(
    shop: Shop, stream: Open, rooms_on_one: None
) -> None:
    services = shop.house.services
    services.tail = Tail(services.store, TailPace(look_s=WAIT_S, gap_s=0, page=5, ahead_max=3))
    slow = await stream()
    slow.gate.clear()
    made = [await create(shop) for _ in range(40)]
    assert services.tail.held <= 3
    slow.gate.set()
    await slow.until(lambda: len(slow.events) == 40)
    assert [event["roomId"] for event in slow.events] == made
    services.event_streams.stuck_s = 0.05
    stuck = await stream()
    stuck.gate.clear()
    await create(shop)
    await asyncio.wait_for(stuck.task, WAIT_S)  # as if its connection was cut


async def test_streams_are_bounded_and_end_when_the_server_does(
    shop: Shop, stream: Open, rooms_on_one: None
) -> None:
    shop.house.services.event_streams.of_org_max = 2
    first, second = await stream(), await stream()
    third = await stream()
    assert (third.status, third.headers["retry-after"]) == (429, "5")
    assert "at most 2 of an organization" in third.text
    await first.end()
    fourth = await stream()
    assert fourth.status == 200
    stream.application.end_streams()  # type: ignore[attr-defined]
    for reader in (second, fourth):
        await asyncio.wait_for(reader.task, WAIT_S)


async def test_a_quiet_stream_stays_alive_and_moves_on(
    shop: Shop, stream: Open, rooms_on_one: None
) -> None:
    shop.house.services.event_streams.quiet_s = 0.01
    reader = await stream(kinds="process.killed")
    begun = reader.last_id
    await create(shop)
    await reader.until(lambda: reader.last_id != begun)
    assert ": nothing for a while" in reader.text
    assert reader.events == []


async def test_a_revoked_token_and_an_old_stream_end(
    shop: Shop, stream: Open, rooms_on_one: None
) -> None:
    bounds, org_id = shop.house.services.event_streams, shop.studio.caller.org_id
    bounds.quiet_s = 0.01
    wanted = tokens.NewToken(org_id, "watcher", ("processes:read",))
    made = await shop.studio.ask(tokens.create_token, wanted)
    reader = await stream(token=made.plain_text)
    await reader.until(lambda: ": nothing" in reader.text)
    await shop.studio.ask(tokens.revoke_token, (org_id, made.token.org_token_id))
    await asyncio.wait_for(reader.task, WAIT_S)
    assert reader.text.endswith(": the token was revoked\n\n")
    bounds.life_s = 0
    old = await stream()
    await asyncio.wait_for(old.task, WAIT_S)
    assert old.text.endswith(": come back, and go on after the last id\n\n")
