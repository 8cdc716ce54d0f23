"""A room, its allocation to a process, and its history (behaviour.md 5)."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

RoomStatus = Literal[
    "scheduling",  # no process chosen yet
    "active",  # allocated to a process, ready or not
    "suspended",  # its slot was given back; the id and config stay
    "destroyed",  # ended, with a reason
]

PROCESS_ENDED = "process ended"
DESTROYED_BY_REQUEST = "destroyed by API request"
SUSPENDED_BY_REQUEST = "suspended by API request"


NO_CAPACITY = "No capacity in "


def no_capacity(region: str, short: str) -> str:
    """The reason of a room that waited in vain; ``short`` says what was missing (behaviour.md 4.6)."""
    return f"{NO_CAPACITY}{region}: {short}"


@dataclass(frozen=True, slots=True)
class Allocation:
    """One placement of a room on a process, past or present."""

    room_allocation_id: str
    process_id: str
    scheduled_at: datetime
    unscheduled_at: datetime | None


@dataclass(frozen=True, slots=True)
class Room:
    """A room. ``allocations`` is oldest first and may be left empty where it was not asked for."""

    room_id: str
    app_id: str
    region: str
    room_config: str | None
    status: RoomStatus
    current: Allocation | None
    allocations: tuple[Allocation, ...]
    created_at: datetime
    destroyed_at: datetime | None
    end_reason: str | None
