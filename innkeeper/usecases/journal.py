"""The event journal: written in the transaction that makes the change, so that it can neither lie nor lag.

Every change of a room or a process has one event, with its cause. Nothing else tells what happened.
"""

import re
from datetime import datetime, timedelta

from innkeeper.core.events import Event, EventKind
from innkeeper.core.moments import from_ms, to_ms
from innkeeper.interfaces import Row, Tx

# Where a reader stands: an order and a seq (see :class:`~innkeeper.core.events.Event`).
Place = tuple[int, int]
BEGINNING: Place = (0, 0)
_EVENT_ID = re.compile(r"([0-9]{1,19})-([0-9]{1,19})", re.ASCII)
_NUMBER_MAX = 2**62


def of_new_room(
    tx: Tx,
    kind: EventKind,
    cause: str,
    at_ms: int,
    *,
    org_id: str,
    app_id: str,
    room_id: str,
    process_id: str | None,
) -> None:
    """An event of a room that this transaction makes."""
    tx.put(
        "events.insert",
        at=at_ms,
        org_id=org_id,
        app_id=app_id,
        room_id=room_id,
        process_id=process_id,
        kind=kind,
        cause=cause,
    )


def of_app(tx: Tx, app_id: str, kind: EventKind, at_ms: int, cause: str) -> None:
    """An event of an app itself."""
    tx.put("events.of_app", app_id=app_id, kind=kind, at=at_ms, cause=cause)


def of_process(tx: Tx, process_id: str, kind: EventKind, at_ms: int, cause: str | None) -> None:
    """An event of one process."""
    tx.put("events.of_process", process_id=process_id, kind=kind, at=at_ms, cause=cause)


def of_room(tx: Tx, room_id: str, kind: EventKind, at_ms: int, cause: str | None) -> None:
    """An event of one room; call it while the room still is on the process that it is about."""
    tx.put("events.of_room", room_id=room_id, kind=kind, at=at_ms, cause=cause)


def of_rooms_on(tx: Tx, process_id: str, kind: EventKind, at_ms: int, cause: str | None) -> None:
    """The same event of every room on a process; call it while they still are on it."""
    tx.put("events.of_rooms_on_process", process_id=process_id, kind=kind, at=at_ms, cause=cause)


def of_unplaced_rooms(tx: Tx, app_id: str, kind: EventKind, at_ms: int, cause: str | None) -> None:
    """The same event of every live room of an app that is on no process; call it while they live."""
    tx.put("events.of_unplaced_rooms", app_id=app_id, kind=kind, at=at_ms, cause=cause)


def after(tx: Tx, place: Place, most: int = 1000) -> list[Event]:
    """What came after ``place``, oldest first, at most ``most``; nothing is told twice or left out."""
    rows = tx.all("events.after", after_order=place[0], after_seq=place[1], most=most)
    return [event_from(row) for row in rows]


def place_of(event: Event) -> Place:
    """The place of a reader who has seen this event, and all before it."""
    return event.order, event.seq


def place_text(place: Place) -> str:
    """A place as clients know it: the id of its event."""
    return f"{place[0]}-{place[1]}"


def place_from(text: str) -> Place | None:
    """The place after the event with this id; ``None`` where it is no id."""
    match = _EVENT_ID.fullmatch(text)
    if match is None:
        return None
    order, seq = int(match[1]), int(match[2])
    return (order, seq) if order <= _NUMBER_MAX and seq <= _NUMBER_MAX else None


def kept(tx: Tx, place: Place) -> bool:
    """Whether whoever goes on after ``place`` misses nothing: it lies within what is kept, or is the
    beginning of that. False also for a place that was never reached.
    """
    return place == BEGINNING or tx.one("events.kept", order=place[0], seq=place[1]) is not None


def newest(tx: Tx) -> Place:
    """The place of a reader who wants only what comes from now on."""
    row = tx.one("events.newest")
    assert row is not None, "an aggregate answers one row"
    return row["order"], row["seq"]


def forget(tx: Tx, now: datetime, keep_hours: int) -> int:
    """Drop events older than ``keep_hours``, a bounded share each time; returns how many."""
    return tx.run("events.forget", before=to_ms(now - timedelta(hours=keep_hours)))


def event_from(row: Row) -> Event:
    """An event from its row."""
    return Event(
        order=row["order"],
        seq=row["seq"],
        at=from_ms(row["at"]),
        org_id=row["org_id"],
        app_id=row["app_id"],
        room_id=row["room_id"],
        process_id=row["process_id"],
        kind=row["kind"],
        cause=row["cause"],
    )
