"""The journal's words: what can happen to a room and to a process, each with its cause."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from innkeeper.core.errors import Invalid

EventKind = Literal[
    "room.created",  # accepted; the cause says where it was placed, and why there
    "room.waiting",  # no capacity: it waits for some
    "room.placed",  # capacity was found
    "room.suspended",
    "room.resumed",
    "room.destroyed",
    "process.created",  # recorded; the cause says what it is for
    "process.starting",  # handed to the runtime
    "process.ports_changed",  # something else on the host held one
    "process.booted",  # the runtime shows it started
    "process.running",  # its ports are bound
    "process.idle",  # neither rooms nor connections from now on
    "process.draining",  # takes no new rooms, and stops when it is empty
    "process.reopened",  # it drained, and takes rooms again
    "process.stopping",  # shall stop
    "process.signalled",  # SIGTERM was sent
    "process.killed",  # SIGKILL was sent
    "process.terminated",  # gone; the cause is its exit reason
    "process.removed",  # the runtime holds nothing of it any more
    "process.orphan_removed",  # it ran although its record had ended
    "allocation.scaled",  # the autoscaler wants more of them, or fewer
    "allocation.held",  # processes that the app wants cannot be made for now
]
KINDS: tuple[EventKind, ...] = EventKind.__args__  # type: ignore[attr-defined]

# Why a room is where it is (behaviour.md 5.1).
ON_RUNNING = "a running process had a free slot"
ON_STARTING = "a starting process had a free slot"
ON_NEW = "no process had a free slot: a new one was made"
IN_LINE = "no process had a free slot, and there was no capacity for a new one: it waits"
NEVER_PLACED = "a local lobby: it runs on a player's machine"

# Why a process is where it is in its life; what else moves it carries its own reason.
PORTS_BOUND = "the kernel shows its ports bound"
NOBODY_THERE = "neither rooms nor connections"
SIGTERM = "it was asked to end"
SIGKILL = "it had not ended within its grace time"

ORPHAN = "the runtime still held it after its record had ended"

# Why a process was made.
ASKED_FOR = "asked for through the API"
FOR_ALLOCATION = "the static allocation of its region wants one more"
FOR_POOL = "the warm pool of its region wants one more"

# Why one that drained takes rooms again.
WANTED_AGAIN = "one more is wanted again"


def for_room(room_id: str) -> str:
    """Why a process was made: for a room."""
    return f"room {room_id} found no free slot"


def check_kinds(kinds: Iterable[str], place: str) -> None:
    """Raise :class:`Invalid` where ``place`` of a request names a kind that there is not."""
    for index, kind in enumerate(kinds):
        if kind not in KINDS:
            raise Invalid(f"{place}[{index}]", f"must be one of {', '.join(KINDS)}")


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the journal. ``event_id`` is never given twice: receivers deduplicate by it.

    ``order`` and ``seq`` say where it stands; readers go on after the last pair they saw.
    """

    order: int
    seq: int
    at: datetime
    org_id: str
    app_id: str
    room_id: str | None
    process_id: str | None
    kind: EventKind
    cause: str | None

    def is_among(
        self, app_id: str | None, kinds: frozenset[str] | None, room_id: str | None = None
    ) -> bool:
        """Whether it is of this app, of these kinds and of this room; ``None`` is any."""
        return (
            (app_id is None or self.app_id == app_id)
            and (kinds is None or self.kind in kinds)
            and (room_id is None or self.room_id == room_id)
        )

    @property
    def event_id(self) -> str:
        """The id to deduplicate by."""
        return f"{self.order}-{self.seq}"
