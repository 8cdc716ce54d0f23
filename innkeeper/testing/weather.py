"""How likely each fault is, how long things take, and when it was last calm: all drawn from a seed."""

import asyncio
import random
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from innkeeper.core.moments import truncate
from innkeeper.testing.studio import START, MovedClock


class Crashed(BaseException):
    """The control plane was killed here. Not an ``Exception``: nothing may catch it."""


@dataclass(slots=True)
class Faults:
    """How likely each fault is at each chance; all 0 while it is calm. ``slow_s``: the longest commit."""

    crash: float = 0.0
    start_fails: float = 0.0
    answer_lost: float = 0.0
    away: float = 0.0
    port_taken: float = 0.0
    never_binds: float = 0.0
    hangs: float = 0.0
    ignores_term: float = 0.0
    hint_lost: float = 0.0
    disk_full: float = 0.0
    commit_in_doubt: float = 0.0
    run_again: float = 0.0
    slow_s: float = 0.0


@dataclass(slots=True)
class Story:
    """What happened, in order, in simulated seconds: printed when an invariant breaks."""

    lines: list[str] = field(default_factory=list)

    def tell(self, text: str) -> None:
        """One line."""
        at = asyncio.get_running_loop().time()
        self.lines.append(f"{at:12.4f} {text}")


@dataclass(slots=True)
class WallClock(MovedClock):
    """The host's clock: it runs with the simulated time, and may be set forward and back."""

    jumps: int = 0

    def __call__(self) -> datetime:
        """The present moment, in whole milliseconds."""
        passed = timedelta(seconds=asyncio.get_running_loop().time())
        return truncate(self.now + passed)

    def jump(self, seconds: float) -> None:
        """Somebody sets it."""
        self.jumps += 1
        self.move(seconds)


class Weather:
    """One seed's chance and faults. ``begins`` is the wall clock at simulated time 0."""

    def __init__(self, seed: int, begins: datetime = START) -> None:
        self.chance = random.Random(seed)  # a seed must replay
        self.storm = Faults()
        self.faults = Faults()
        self.story = Story()
        self.clock = WallClock(begins)
        self.hanging = 0  # calls to the engine that take much too long
        self._troubled_at = 0.0

    def draw(self, probability: float) -> bool:
        """Whether something happens; draws nothing where it cannot."""
        return probability > 0 and self.chance.random() < probability

    def pick_storm(self) -> None:
        """What a storm of this seed is like."""
        pick = self.chance.choice
        self.storm = Faults(
            crash=pick([0, 0, 0.003, 0.02]),
            start_fails=pick([0, 0.1, 0.5]),
            answer_lost=pick([0, 0, 0.1]),
            away=pick([0, 0, 0.1]),
            port_taken=pick([0, 0.1]),
            never_binds=pick([0, 0.2]),
            hangs=pick([0, 0, 0.05, 0.2]),
            ignores_term=pick([0, 0.3]),
            hint_lost=pick([0, 0.5, 1]),
            disk_full=pick([0, 0, 0.05]),
            commit_in_doubt=pick([0, 0, 0.02]),
            run_again=pick([0, 0.1]),
            slow_s=pick([0, 0, 0.5, 10]),
        )

    def set_fair(self, fair: bool) -> None:
        """It is calm from now on, or as stormy as this seed has it."""
        self.trouble()
        self.faults = Faults() if fair else self.storm

    def trouble(self) -> None:
        """Something went wrong just now."""
        self._troubled_at = asyncio.get_running_loop().time()

    def calm_s(self) -> float:
        """For how long nothing has gone wrong: bounds on time hold only then."""
        if self.hanging or self.faults is self.storm:
            return 0.0
        return asyncio.get_running_loop().time() - self._troubled_at

    # ------------------------------------------------------------ how long things take, in seconds

    def commit_s(self) -> float:
        """A commit, with its sync."""
        if self.faults.slow_s and self.draw(0.2):
            return self.chance.uniform(0, self.faults.slow_s)
        return self.chance.uniform(0.001, 0.004)

    def short_s(self) -> float:
        """A message between programs on one machine."""
        return self.chance.uniform(0, 0.003)

    def call_s(self) -> float:
        """One way of a call to the engine."""
        return self.chance.uniform(0.002, 0.3)

    def hang_s(self) -> float:
        """A call to the engine that hangs; ``inf`` until the engine is restarted."""
        return self.chance.choice([4.9, 20.0, 70.0, 200.0, 400.0, float("inf")])

    def bind_s(self) -> float:
        """From the start of a game to the binding of its port; around the limit of 100 s, too."""
        if self.draw(self.faults.never_binds):
            return self.chance.choice([99.5, 100.5, float("inf")])
        # Few are slow: the loop looks at the sockets of each up to a thousand times meanwhile.
        return self.chance.choice(
            [0, 0, 0, 0, 0.004, 0.004, 0.05, 0.05, 0.3, 1, self._slow_bind_s()]
        )

    def _slow_bind_s(self) -> float:
        return self.chance.choice([0, 0, 0, 8, 40])
