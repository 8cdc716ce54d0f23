"""Reads the journal as a stranger would, and says what must be in the store: checked after every step.

Every change of a process or a room has its event, in order, once, with a cause where there is one to tell.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from innkeeper.core.events import Event
from innkeeper.core.processes import Process
from innkeeper.interfaces import Row, Tx
from innkeeper.usecases import journal

# What speaks for itself.
_NO_CAUSE = {"process.starting", "process.booted", "process.removed"}
# Which events may come after which, of one process; "" is before its first.
_BEFORE_BOOT = {"created", "starting", "ports_changed", "draining", "reopened"}
_LIVES = _BEFORE_BOOT | {"booted", "running", "idle"}
_MAY_FOLLOW = {
    "created": {""},
    "starting": _BEFORE_BOOT,
    "ports_changed": _BEFORE_BOOT | {"stopping"},
    "booted": _BEFORE_BOOT | {"stopping", "signalled", "killed"},
    "running": {"booted", "draining", "reopened"},
    "idle": {"running", "idle", "draining", "reopened"},
    "draining": _LIVES,
    "reopened": _LIVES,
    "stopping": _LIVES,
    "signalled": {"stopping", "booted", "killed"},
    "killed": {"stopping", "booted", "signalled", "killed", "ports_changed"},
    "terminated": _LIVES | {"stopping", "signalled", "killed"},
    "removed": {"terminated"},
}
_ONCE = ("created", "booted", "running", "stopping", "signalled", "terminated", "removed")
_ROOM_STATUS = {
    "room.created": "active",
    "room.waiting": "scheduling",
    "room.placed": "active",
    "room.suspended": "suspended",
    "room.resumed": "active",
    "room.destroyed": "destroyed",
}


@dataclass(slots=True)
class _ProcessStory:
    last: str = ""
    told: dict[str, Event] = field(default_factory=dict)
    draining: bool = False


@dataclass(slots=True)
class _RoomStory:
    status: str = ""
    process_id: str | None = None
    end_reason: str | None = None


class JournalReplay:
    """What the journal has told so far."""

    def __init__(self) -> None:
        self._place: journal.Place = (0, 0)
        self._processes: dict[str, _ProcessStory] = {}
        self._rooms: dict[str, _RoomStory] = {}

    def read_on(self, tx: Tx) -> list[Event]:
        """Take in what is new, and return it. Raises ``AssertionError`` for what cannot follow."""
        new: list[Event] = []
        while events := journal.after(tx, self._place):
            new += events
            for event in events:
                assert (event.order, event.seq) > self._place, f"told twice: {event}"
                self._place = event.order, event.seq
                assert event.cause or event.kind in _NO_CAUSE, f"it has no cause: {event}"
                if event.kind.startswith("room."):
                    self._room(event)
                elif event.kind.startswith("process."):
                    self._process(event)
        return new

    def _process(self, event: Event) -> None:
        assert event.process_id is not None, event
        assert event.room_id is None, event
        kind = event.kind.partition(".")[2]
        story = self._processes.setdefault(event.process_id, _ProcessStory())
        earlier = _MAY_FOLLOW.get(kind, {story.last})
        assert story.last in earlier, f"{event} came after {story.last or 'nothing'}"
        assert kind not in _ONCE or kind not in story.told, f"it happened twice: {event}"
        if kind == "orphan_removed":
            assert "terminated" in story.told, f"no orphan: {event}"
            return
        if kind in ("draining", "reopened"):
            before = story.told.get("draining") if story.draining else None
            if kind == "draining":  # once more for another reason, which then is the one that holds
                assert before is None or before.cause != event.cause, f"told already: {event}"
            else:
                assert before is not None, f"it took rooms already: {event}"
            story.draining = kind == "draining"
        story.last = kind
        story.told[kind] = event

    def _room(self, event: Event) -> None:
        assert event.room_id is not None, event
        known = event.room_id in self._rooms
        assert known == (event.kind != "room.created"), f"it was made twice, or never: {event}"
        story = self._rooms.setdefault(event.room_id, _RoomStory())
        assert story.status != "destroyed", f"it was over already: {event}"
        status = _ROOM_STATUS[event.kind]
        assert story.status != status or event.kind == "room.waiting", f"it was so already: {event}"
        if status == "destroyed":
            assert event.process_id == story.process_id, f"of another process: {event}"
            story.end_reason = event.cause
        story.status = status
        story.process_id = event.process_id if status == "active" else None

    # ------------------------------------------------------------ beside the store

    def check(self, processes: Iterable[Process], rooms: Iterable[Row]) -> None:
        """The store shows what the journal tells, and nothing else."""
        count = 0
        for process in processes:
            count += 1
            self._check_process(process)
        assert count == len(self._processes), "the journal tells of processes that are not there"
        count = 0
        for room in rooms:
            count += 1
            story = self._rooms.get(room["room_id"], _RoomStory())
            shown = room["status"], room["process_id"], room["end_reason"]
            told = story.status, story.process_id, story.end_reason
            assert shown == told, f"room {room['room_id']} is {shown}; the journal says {told}"
        assert count == len(self._rooms), "the journal tells of rooms that are not there"

    def _check_process(self, process: Process) -> None:
        story = self._processes.get(process.process_id)
        assert story is not None, f"the journal does not know {process}"
        told = story.told
        facts = {
            "starting": process.scheduled_at is not None,
            "booted": process.booted_at is not None,
            "running": process.started_at is not None,
            "stopping": process.stop_reason is not None,
            "signalled": process.term_sent_at is not None,
            "killed": process.kill_sent_at is not None,
            "terminated": process.terminated_at is not None,
            "removed": process.removed,
        }
        for kind, so in facts.items():
            assert (kind in told) == so, f"{kind}: the journal is silent or lies: {process}"
        assert story.draining == process.draining, f"draining: {process}"
        if story.draining:
            assert told["draining"].cause == process.drain_reason, process
        if "terminated" in told:
            assert told["terminated"].cause == process.summary_exit_reason, process
        if "stopping" in told:
            assert told["stopping"].cause == process.stop_reason, process
