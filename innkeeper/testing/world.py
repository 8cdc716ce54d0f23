"""A small world under a seed: requests, faults and crashes around the real core, use cases and reconciler.

Phase one: requests and faults. Phase two: faults off, and a bounded number of passes. Safety is checked
after every step, rest at the end (:mod:`innkeeper.testing.invariants`).
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from innkeeper.core.capacity import Machine
from innkeeper.core.errors import InnkeeperError, PortTaken, RuntimeAway, StartFailed
from innkeeper.core.processes import Exit
from innkeeper.interfaces import LogSource, PortSpec, ProcessSpec, SandboxSpec
from innkeeper.reconciler.loop import Pace, Reconciler
from innkeeper.reconciler.perform import Surroundings
from innkeeper.reconciler.sandboxes import SandboxKeeper
from innkeeper.runtime.fake import FakeHost, FakeRuntime
from innkeeper.testing.inline_store import InlineStore
from innkeeper.testing.invariants import Invariants, check_rest
from innkeeper.testing.studio import PORTS, MovedClock, Studio
from innkeeper.usecases import processes, rooms
from innkeeper.usecases.rooms import NewRoom

# Longer than any timer of decide: at rest means that nothing is left to come.
REST_STEP_S, QUIET_PASSES, REST_PASSES = 10, 40, 600


class Crashed(BaseException):
    """The control plane was killed here. Not an ``Exception``: nothing may catch it."""


@dataclass(slots=True)
class Faults:
    """How likely each fault is, at each chance; all 0 in the second phase."""

    crash: float = 0.0
    start_fails: float = 0.0
    start_errs_after: float = 0.0
    away: float = 0.0
    port_taken: float = 0.0
    never_binds: float = 0.0


class FaultyRuntime(FakeRuntime):
    """The fake driver with a menu of faults, drawn from the world's seed."""

    def __init__(self, world: "World") -> None:
        super().__init__(world.clock, world.host)
        self._world = world

    async def start(self, spec: ProcessSpec) -> datetime:
        """May fail, may fail after it was done, may find a port taken."""
        chance, faults = self._world.chance, self._world.faults
        self._world.strike("before a start")
        known = spec.process_id in self.host.processes
        if not known and chance.random() < faults.start_fails:
            raise StartFailed("the image is broken today")
        if not known and chance.random() < faults.port_taken:
            raise PortTaken(spec.ports[0].host_port, "an outsider")
        self.host.binds = chance.random() >= faults.never_binds
        booted_at = await super().start(spec)
        self._world.strike("after a start")
        if chance.random() < faults.start_errs_after:
            raise RuntimeAway("the answer to a start was lost")
        return booted_at

    async def signal(self, process_id: str, kill: bool) -> None:
        """May be struck before and after."""
        self._world.strike("before a signal")
        await super().signal(process_id, kill)
        self._world.strike("after a signal")

    async def remove(self, process_id: str) -> None:
        """May be struck before and after."""
        self._world.strike("before a removal")
        await super().remove(process_id)
        self._world.strike("after a removal")

    async def make_sandbox(self, spec: SandboxSpec) -> str | None:
        """May be struck after."""
        made = await super().make_sandbox(spec)
        self._world.strike("after a sandbox")
        return made

    def bound(self, process_id: str, ports: Sequence[PortSpec]) -> bool:
        """Some games take their time."""
        return super().bound(process_id, ports) and self._world.chance.random() < 0.7

    def _check_here(self) -> None:
        if self._world.chance.random() < self._world.faults.away:
            raise RuntimeAway("the engine does not answer")


class KeptLogs:
    """Keeps nothing; remembers whose log was to be kept."""

    def __init__(self) -> None:
        self.kept: set[str] = set()

    async def stream(
        self, process_id: str, tail_lines: int | None, follow: bool
    ) -> AsyncIterator[bytes]:
        """Nothing was printed."""
        nothing: tuple[bytes, ...] = ()
        for piece in nothing:
            yield piece

    async def keep(self, process_id: str, source: LogSource | None) -> None:
        """Remember it."""
        self.kept.add(process_id)

    async def prune(self, keep_after: object = None) -> None:
        """There is nothing."""


@dataclass(slots=True)
class Story:
    """What happened, in order: printed when an invariant breaks."""

    lines: list[str] = field(default_factory=list)

    def tell(self, moment: datetime, text: str) -> None:
        """One line."""
        self.lines.append(f"{moment:%H:%M:%S.%f} {text}")


class World:
    """One seed's history."""

    def __init__(self, seed: int, directory: Path) -> None:
        self.seed = seed
        self.chance = random.Random(seed)  # a seed must replay
        self.clock = MovedClock()
        self.host = FakeHost()
        self.faults = Faults()
        self.story = Story()
        self.answered: set[str] = set()
        self.vanished: set[str] = set()
        self.crashes = 0
        self.store = InlineStore(directory / f"world-{seed}.db", self.strike)
        small = Machine(cpu_millis=8_000, memory_mb=self.chance.choice([4_096, 64_000]))
        self.studio = Studio(self.store, clock=self.clock, machine=small)
        self.invariants = Invariants()
        self._reconciler: Reconciler
        self._keeper: SandboxKeeper

    def strike(self, place: str) -> None:
        """A crash, if the seed wants one here."""
        if self.chance.random() < self.faults.crash:
            self.story.tell(self.clock(), f"CRASH {place}")
            raise Crashed(place)

    async def run(self, steps: int) -> None:
        """Both phases. Raises ``AssertionError`` with the story where an invariant breaks."""
        try:
            await self.studio.open()
            await self._deploy()
            self._begin()
            chance = self.chance
            self.faults = Faults(
                crash=chance.choice([0, 0.01, 0.05]),
                start_fails=chance.choice([0, 0.1, 0.5]),
                start_errs_after=chance.choice([0, 0.2]),
                away=chance.choice([0, 0, 0.1]),
                port_taken=chance.choice([0, 0.1]),
                never_binds=chance.choice([0, 0.2]),
            )
            for _ in range(steps):
                await self._step()
                await self.invariants.check(self)
            self.faults = Faults()
            await self._come_to_rest()
            await check_rest(self)
        except AssertionError as broken:
            told = "\n".join(self.story.lines[-60:])
            raise AssertionError(f"seed {self.seed}: {broken}\n{told}") from broken
        finally:
            await self.store.close()

    # ------------------------------------------------------------ the control plane

    def _begin(self) -> None:
        """A control plane starts: nothing of the one before is left but the store and the host."""
        around = Surroundings(
            self.store,
            FaultyRuntime(self),
            KeptLogs(),
            self.clock,
            self.studio.ids,
            self.studio.policy,
            "192.0.2.1",
            lambda key: self._reconciler.wake(key),
        )
        self._reconciler = Reconciler(around, None, [], Pace(bind_patience_s=0))
        self._keeper = SandboxKeeper(around, ahead=1, total_max=3)

    async def _alive(self, work: Coroutine[Any, Any, object]) -> bool:
        """Run it; false where the control plane was killed, and began anew."""
        try:
            await work
            await self._finish_tasks()
        except Crashed:
            self.crashes += 1
            for task in self._reconciler.tasks():
                task.cancel()
            await asyncio.gather(*self._reconciler.tasks(), return_exceptions=True)
            self._begin()
            return False
        except InnkeeperError as refused:
            self.story.tell(self.clock(), f"refused: {refused}")
        return True

    async def _finish_tasks(self) -> None:
        while tasks := self._reconciler.tasks():
            done = await asyncio.gather(*tasks, return_exceptions=True)
            for outcome in done:
                if isinstance(outcome, BaseException):
                    raise outcome

    async def _pass(self) -> list[object]:
        """Look, then a pass for every key that wants one, then the sandboxes."""
        decided: list[object] = []
        if self.chance.random() < 0.8 or not self.faults.away:
            await self._reconciler.observe_once()
        self._reconciler.watch.look()
        for key in self._reconciler.take_dirty():
            actions = await self._reconciler.one_pass(key)
            for action in actions:
                self.story.tell(self.clock(), str(action))
            decided += actions
        await self._finish_tasks()
        shown = self._reconciler.watch.sandboxes()
        if shown is not None:
            await self._keeper.keep(*shown)
        return decided

    async def _come_to_rest(self) -> None:
        quiet = 0
        for _ in range(REST_PASSES):
            self.clock.move(REST_STEP_S)
            decided: list[object] = []

            async def one(into: list[object] = decided) -> None:
                into += await self._pass()

            await self._alive(one())
            await self.invariants.check(self)
            quiet = 0 if decided else quiet + 1
            if quiet > QUIET_PASSES:
                return
        raise AssertionError(f"no rest after {REST_PASSES} passes: {decided}")

    # ------------------------------------------------------------ what happens

    async def _step(self) -> None:
        self.clock.move(self.chance.choice([0, 0.05, 0.5, 1, 1, 2, 5, 30, 120]))
        happening: Callable[[], Coroutine[Any, Any, object]] = self.chance.choice(
            [
                *[self._create] * 5,
                *[self._pass] * 6,
                self._destroy,
                self._stop,
                self._suspend_or_resume,
                self._deploy,
                self._exits,
                self._vanishes,
                self._connects,
                self._spare,
                self._clock_jumps,
            ]
        )
        await self._alive(happening())

    async def _create(self) -> None:
        wanted = NewRoom(self.studio.app_id, self.chance.choice(["Tokyo", "London"]))
        placed = await self.studio.ask(rooms.create_room, wanted)
        # From here on it was answered: it must exist whatever comes.
        self.answered.add(placed.room_id)
        self.story.tell(self.clock(), f"room {placed.room_id} on {placed.process_id}")
        self._reconciler.wake((self.studio.app_id, wanted.region))

    async def _spare(self) -> None:
        await self.studio.ask(processes.create_process, (self.studio.app_id, "Tokyo"))

    async def _deploy(self) -> None:
        per = self.chance.choice([1, 2, 4])
        await self.studio.deploy(rooms_per_process=per, memory_mb=512, cpu=0.5)
        self.story.tell(self.clock(), f"a deployment with {per} rooms a process")

    async def _destroy(self) -> None:
        if room_id := self._any_room():
            self.story.tell(self.clock(), f"destroy {room_id}")
            await self.studio.ask(rooms.destroy_room, (self.studio.app_id, room_id))

    async def _suspend_or_resume(self) -> None:
        if room_id := self._any_room():
            use_case = self.chance.choice([rooms.suspend_room, rooms.resume_room])
            self.story.tell(self.clock(), f"{use_case.__name__} {room_id}")
            await self.studio.ask(use_case, (self.studio.app_id, room_id))

    async def _stop(self) -> None:
        found = await self.studio.ask(
            processes.latest_processes, processes.ProcessFilter(self.studio.app_id)
        )
        if found:
            process_id = self.chance.choice(found).process_id
            self.story.tell(self.clock(), f"stop {process_id}")
            await self.studio.ask(processes.stop_process, (self.studio.app_id, process_id))

    async def _exits(self) -> None:
        if process_id := self._any_running():
            code = self.chance.choice([0, 1, 3])
            self.story.tell(self.clock(), f"{process_id} exits with {code}")
            self.host.processes[process_id].exit = Exit(code, None, False, self.clock())

    async def _vanishes(self) -> None:
        if self.chance.random() < 0.3 and (process_id := self._any_running()):
            self.story.tell(self.clock(), f"{process_id} vanishes from the host")
            gone = self.host.processes.pop(process_id)
            self.vanished.add(process_id)
            owners = {process_id, gone.spec.sandbox_id}
            self.host.sandboxes.pop(gone.spec.sandbox_id or "", None)
            self.host.ports = {p: o for p, o in self.host.ports.items() if o not in owners}

    async def _connects(self) -> None:
        if process_id := self._any_running():
            self.host.processes[process_id].connections = self.chance.choice([0, 1, None])

    async def _clock_jumps(self) -> None:
        jump = self.chance.choice([-30, -2, 600])
        self.story.tell(self.clock(), f"the clock jumps by {jump} s")
        self.clock.move(jump)

    def _any_room(self) -> str | None:
        return self.chance.choice(sorted(self.answered)) if self.answered else None

    def _any_running(self) -> str | None:
        running = sorted(i for i, p in self.host.processes.items() if p.exit is None)
        return self.chance.choice(running) if running else None


__all__ = ["PORTS", "Crashed", "Faults", "World"]
