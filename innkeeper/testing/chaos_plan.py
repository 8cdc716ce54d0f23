"""Which faults come in which round: all of it follows from a seed, so that a run can be told again."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

FaultKind = Literal[
    "kill server",  # kill -9 of the control plane, and a start at once
    "kill engine",  # kill -9 of the engine's API service
    "kill both",
    "full disk",  # no byte more for the store
    "full disk, kill server",  # and it cannot start until there is room again
    "slow store",  # another program holds the store, for less than we wait for it
    "stuck store",  # and for more
    "restart store",  # of its own server: PostgreSQL
    "game dies",  # kill -9 of a game that somebody plays: its room must end with a reason
]
WAIT_FOR_STORE_S = 5.0  # SQLite's busy timeout here
_HOLD_S: dict[FaultKind, tuple[float, float]] = {
    "kill server": (0.0, 1.0),
    "kill engine": (0.0, 0.0),
    "kill both": (0.0, 1.0),
    "full disk": (0.5, 3.0),
    "full disk, kill server": (2.0, 4.0),
    "slow store": (0.5, WAIT_FOR_STORE_S - 1.5),
    "stuck store": (WAIT_FOR_STORE_S + 1.0, WAIT_FOR_STORE_S + 2.5),
    "restart store": (0.0, 1.0),
    "game dies": (0.0, 0.0),
}


@dataclass(frozen=True, slots=True)
class Fault:
    """``after_s`` into the round, or after the fault before it; it lasts for ``hold_s``."""

    kind: FaultKind
    after_s: float
    hold_s: float

    def __str__(self) -> str:
        """In words."""
        lasts = f" for {self.hold_s:.1f} s" if self.hold_s else ""
        return f"{self.kind}{lasts} after {self.after_s:.2f} s"


@dataclass(frozen=True, slots=True)
class Round:
    """``seed`` is for what callers do; at most ``rooms`` are accepted."""

    number: int
    seed: int
    rooms: int
    callers: int
    faults: tuple[Fault, ...]


def plan(seed: int, rounds: int, kinds: Sequence[FaultKind]) -> list[Round]:
    """Each kind comes once before any comes twice; every third round has a second fault."""
    rng = random.Random(seed)
    deck: list[FaultKind] = []
    made = []
    for number in range(1, rounds + 1):
        faults = []
        for _ in range(2 if rng.random() < 1 / 3 else 1):
            if not deck:
                deck = rng.sample(kinds, len(kinds))
            kind = deck.pop()
            # Among the first commits of the round, among the starts that follow, and later.
            after_s = rng.choice(
                (rng.uniform(0.0, 0.05), rng.uniform(0.05, 0.5), rng.uniform(0.5, 2))
            )
            faults.append(Fault(kind, after_s, rng.uniform(*_HOLD_S[kind])))
        made.append(
            Round(number, rng.getrandbits(32), rng.randint(4, 12), rng.randint(2, 6), tuple(faults))
        )
    return made
