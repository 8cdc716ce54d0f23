"""The journal as server-sent events, beyond the contract. Shapes first, rows last.

Every event has its id, with which a client goes on where it was cut off (``Last-Event-ID``).
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

import msgspec

from innkeeper.api.operation import Operation, Stream
from innkeeper.api.request import Request
from innkeeper.api.services import Services
from innkeeper.core.accounts import Caller
from innkeeper.core.errors import Gone, InnkeeperError, Invalid
from innkeeper.core.events import Event, check_kinds
from innkeeper.core.telling import fields
from innkeeper.interfaces import Context, Tx
from innkeeper.usecases import apps, callers, journal
from innkeeper.usecases.journal import Place

_RETRY_MS = 1000
_HEADERS = {"cache-control": "no-cache", "x-accel-buffering": "no"}
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class EventsWanted:
    """Which events. ``after`` is the id of the last one seen, and ``place`` where the request says so."""

    app_id: str | None
    room_id: str | None
    kinds: frozenset[str] | None
    after: Place | None
    place: str = ""

    def wants(self, event: Event) -> bool:
        """Whether the event is among them."""
        return event.is_among(self.app_id, self.kinds, self.room_id)


def read_events(request: Request) -> EventsWanted:
    """The filters; where a client comes back, its header says more than its URL, which is the old one."""
    query, header = request.query, request.header("last-event-id")
    text, place = (
        (header, "header.Last-Event-ID") if header else (query.get("after"), "query.after")
    )
    after = None
    if text is not None:
        after = journal.place_from(text)
        if after is None:
            raise Invalid(
                place, "must be the id of an event, such as 0-1234, or 0-0 for all that is kept"
            )
    kinds = query.get("kinds")
    check_kinds(kinds or (), "query.kinds")
    return EventsWanted(
        app_id=request.path.get("appId"),
        room_id=query.get("roomId"),
        kinds=frozenset(kinds) if kinds else None,
        after=after,
        place=place,
    )


def _begin(tx: Tx, caller: Caller, wanted: EventsWanted) -> Place:
    if wanted.app_id is not None:
        apps.require_app(tx, caller.org_id, wanted.app_id)
    if wanted.after is None:
        return journal.newest(tx)
    if not journal.kept(tx, wanted.after):
        raise Gone(
            f"{wanted.place}: the event is not kept any more, or not of this journal, so that some after "
            "it may be missing. Leave it out for what happens from now on, or say 0-0 for all that is kept"
        )
    return wanted.after


async def run_events(
    services: Services, caller: Caller, wanted: EventsWanted, context: Context
) -> AsyncGenerator[bytes]:
    """From the place on, without end. Raises :class:`NotFound`, :class:`Gone`, :class:`Exhausted`."""
    place = await services.store.read(lambda tx: _begin(tx, caller, wanted))
    services.event_streams.check_room(caller.org_id)
    return _counted(services, caller, wanted, place)


async def _counted(
    services: Services, caller: Caller, wanted: EventsWanted, place: Place
) -> AsyncGenerator[bytes]:
    streams, loop, pump = services.event_streams, asyncio.get_running_loop(), asyncio.current_task()
    assert pump is not None, "whoever sends it is a task"
    with streams.counted(caller.org_id):
        async with aclosing(_told(services, caller, wanted, place)) as pieces:
            async for piece in pieces:
                # Cut off, it comes back and goes on; let alone, it would hold its place for ever.
                stuck = loop.call_later(streams.stuck_s, pump.cancel)
                try:
                    yield piece
                finally:
                    stuck.cancel()


async def _told(
    services: Services, caller: Caller, wanted: EventsWanted, place: Place
) -> AsyncGenerator[bytes]:
    streams, clock = services.event_streams, asyncio.get_running_loop().time
    over = clock() + streams.life_s
    checked = clock()
    yield f"retry: {_RETRY_MS}\nid: {journal.place_text(place)}\n\n".encode()
    following = services.tail.follow(caller.org_id, place, wanted.wants, streams.quiet_s)
    async with aclosing(following) as steps:
        try:
            async for upto, events in steps:
                if clock() - checked >= streams.quiet_s:
                    checked = clock()
                    if not await services.store.read(lambda tx: callers.holds_still(tx, caller)):
                        yield b": the token was revoked\n\n"
                        return
                if clock() >= over:
                    yield b": come back, and go on after the last id\n\n"
                    return
                yield _framed(events) if events else _quiet(upto)
        except InnkeeperError as fault:
            yield f": {fault.message}\n\n".encode()


def _framed(events: list[Event]) -> bytes:
    return b"".join(
        b"id: %s\ndata: %s\n\n" % (event.event_id.encode(), _encode(fields(event)))
        for event in events
    )


def _quiet(upto: Place) -> bytes:
    """No event, but an id: nobody need look again at what they did not want."""
    return f": nothing for a while\nid: {journal.place_text(upto)}\n\n".encode()


def write_events(pieces: AsyncGenerator[bytes]) -> Stream:
    """As they come; no proxy shall hold them back."""
    return Stream(pieces, _HEADERS)


_READ = "processes:read"

OPERATIONS = (
    Operation("StreamAppEvents", read_events, run_events, write_events, "async", _READ),
    Operation("StreamEvents", read_events, run_events, write_events, "async", _READ),
)
