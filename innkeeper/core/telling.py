"""The journal in sentences for people: what each event says, and durations as they are spoken of."""

from datetime import datetime

from innkeeper.core import moments
from innkeeper.core.events import Event

# {process} and {room} are who it is about; the cause follows a colon where there is one.
_SAID: dict[str, str] = {
    "room.created": "Room {room} was created",
    "room.waiting": "Room {room} waits for capacity",
    "room.placed": "Room {room} got its place",
    "room.suspended": "Room {room} was taken off its process, to go on later",
    "room.resumed": "Room {room} was given a process again",
    "room.destroyed": "Room {room} ended",
    "process.created": "Process {process} was recorded",
    "process.starting": "Process {process} was handed to the runtime",
    "process.ports_changed": "Process {process} got other ports",
    "process.booted": "Process {process} began to run",
    "process.running": "Process {process} is ready for players",
    "process.idle": "Process {process} became idle",
    "process.draining": "Process {process} takes no new rooms from now on",
    "process.reopened": "Process {process} takes rooms again",
    "process.stopping": "Process {process} shall stop",
    "process.signalled": "Process {process} got SIGTERM",
    "process.killed": "Process {process} got SIGKILL",
    "process.terminated": "Process {process} ended",
    "process.removed": "The runtime let go of process {process}; its log is kept",
    "process.orphan_removed": "Process {process} ran although its record had ended, and was removed",
    "allocation.held": "A process that the app wants cannot be made for now",
    "allocation.scaled": "The app wants another number of processes",
}


def sentence(event: Event) -> str:
    """What happened, and why. Processes go by the beginning of their id, as `innkeeper logs` takes it."""
    said = _SAID.get(event.kind, event.kind).format(
        room=event.room_id, process=short(event.process_id)
    )
    return f"{said}." if event.cause is None else f"{said}: {ended(event.cause)}"


def short(process_id: str | None) -> str:
    """The beginning of a process's id."""
    return "" if process_id is None else process_id[:8]


def ended(text: str) -> str:
    """With a full stop at its end, unless it has an end."""
    return text if text.endswith((".", "!", "?")) else f"{text}."


def span(seconds: float) -> str:
    """A duration in at most two units: ``0.25 s``, ``40 s``, ``3 min 20 s``, ``2 h 5 min``, ``3 d 4 h``."""
    if seconds < 10:
        return f"{max(seconds, 0):.3f}".rstrip("0").rstrip(".") + " s"
    whole = round(seconds)
    for size, unit, below, smaller in (
        (86400, "d", 3600, "h"),
        (3600, "h", 60, "min"),
        (60, "min", 1, "s"),
    ):
        if whole >= size:
            rest = whole % size // below
            return f"{whole // size} {unit}" + (f" {rest} {smaller}" if rest else "")
    return f"{whole} s"


def ago(moment: datetime, now: datetime) -> str:
    """How long ago, in words, to a tenth of a second."""
    return f"{span(round((now - moment).total_seconds(), 1))} ago"


def fields(event: Event) -> dict[str, str]:
    """The event as it is sent, by the names of the wire; what it does not have is left out."""
    told = {
        "id": event.event_id,
        "at": moments.shown(event.at),
        "kind": event.kind,
        "cause": event.cause,
        "orgId": event.org_id,
        "appId": event.app_id,
        "roomId": event.room_id,
        "processId": event.process_id,
        "text": sentence(event),
    }
    return {name: value for name, value in told.items() if value is not None}
