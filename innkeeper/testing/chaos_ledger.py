"""What callers asked for and were answered, and what was lost of it."""

from dataclasses import dataclass, field
from typing import Literal

LossKind = Literal["player cut", "room lost", "port leaked", "container leaked", "promise broken"]


@dataclass(frozen=True, slots=True)
class Loss:
    """One thing that must not happen, in words."""

    kind: LossKind
    what: str

    def __str__(self) -> str:
        """As it is printed."""
        return f"LOST: {self.kind}: {self.what}"


@dataclass(slots=True)
class Ledger:
    """Rooms by id. A call whose answer never came may have been carried out or not; either is right."""

    accepted: dict[str, str] = field(default_factory=dict)  # room id -> process id, of every 201
    unknown: set[str] = field(default_factory=set)
    destroyed: set[str] = field(default_factory=set)  # answered 2xx: ended for sure
    doomed: set[str] = field(
        default_factory=set
    )  # asked to end, one way or another: may have ended
    stopped: set[str] = field(
        default_factory=set
    )  # processes that were asked to stop, or were killed
    refused: dict[int, int] = field(default_factory=dict)  # status -> how often
    losses: list[Loss] = field(default_factory=list)

    def lose(self, kind: LossKind, what: str) -> None:
        """Remember a loss, and say it at once; the same one is told once."""
        loss = Loss(kind, what)
        if loss in self.losses:
            return
        self.losses.append(loss)
        print(loss, flush=True)

    def count(self, kind: LossKind) -> int:
        """How many of a kind."""
        return sum(loss.kind == kind for loss in self.losses)

    def may_have_ended(self, room_id: str, process_id: str | None) -> bool:
        """Whether somebody wanted the room's end."""
        return room_id in self.doomed or process_id in self.stopped
