"""One run of a control plane in a simulated town: from its start until it is killed, or ends in good order.

It is made of the real lease, loop, sampler, use cases and store. Several may run on one store, as servers do
on PostgreSQL; hints between them get lost.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from innkeeper.core.actions import Action
from innkeeper.interfaces import Context, LockKey, LogSource, Neighbours
from innkeeper.reconciler.lease import Lease, LeasePace, Tenure
from innkeeper.reconciler.loop import Key, Pace, Reconciler
from innkeeper.reconciler.perform import Surroundings
from innkeeper.reconciler.sampling import Sampler, SamplerPace
from innkeeper.reconciler.sandboxes import SandboxKeeper
from innkeeper.store.alone import Alone
from innkeeper.testing.simulated_engine import SimulatedEngine, SimulatedRuntime
from innkeeper.testing.simulated_store import SimulatedStore
from innkeeper.testing.studio import Studio
from innkeeper.testing.weather import Crashed, Weather
from innkeeper.usecases import lifecycle

PUBLIC_IP = "192.0.2.1"
LEASE_PACE = LeasePace(renew_s=5, patience_s=20, look_s=4)


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
class Town:
    """What all programs of one history share. ``observe_s``: how often the loop looks by itself."""

    weather: Weather
    engine: SimulatedEngine
    studio: Studio
    database: Path
    alone: bool
    observe_s: float
    batch_max: int
    sandboxes_ahead: int
    programs: list["Program"] = field(default_factory=list)
    begun: int = 0


class Neighbour(Alone):
    """The other programs, as one of them hears of them."""

    def __init__(self, town: Town, program: "Program") -> None:
        self._town = town
        self._program = program

    def wake(self, key: LockKey) -> None:
        """Late, or never."""
        weather = self._town.weather
        for other in self._town.programs:
            if other is not self._program and not weather.draw(weather.faults.hint_lost):
                delay_s = weather.chance.choice([0.001, 0.5])
                asyncio.get_running_loop().call_later(delay_s, other.heard, key)

    async def gone(self, fence: int) -> bool:
        """The store sees at once where a program has ended; sometimes it cannot tell."""
        holders = [p.fence for p in self._town.programs if p.alive]
        return fence not in holders and not self._town.weather.draw(0.3)


class TellingReconciler(Reconciler):
    """Writes what it decides into the story."""

    def __init__(self, program: "Program", *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._story = program.weather.story
        self._name = program.name

    async def one_pass(self, key: Key) -> list[Action]:
        """See :class:`~innkeeper.reconciler.loop.Reconciler`."""
        actions = await super().one_pass(key)
        for action in actions:
            self._story.tell(f"{self._name} decides {action}")
        return actions


class Program:
    """One run. ``alive`` until it is killed: from then on it can do nothing, whatever it was about to do."""

    def __init__(self, town: Town) -> None:
        town.begun += 1
        self.name = f"program {town.begun}"
        self.town = town
        self.weather = town.weather
        self.alive = True
        self.died = asyncio.Event()
        self.fence: int | None = None
        self.reconciler: Reconciler | None = None
        self.runtime = SimulatedRuntime(town.engine, self)
        self.store = SimulatedStore(town.database, self, town.batch_max)
        neighbours: Neighbours = Alone() if town.alone else Neighbour(town, self)
        self._neighbours = neighbours
        self._stands_still_until = 0.0
        self._main: asyncio.Task[None] | None = None
        self._clients: dict[asyncio.Task[None], None] = {}
        self._ending: asyncio.Task[None] | None = None
        self.lease = Lease(
            self.store,
            neighbours,
            self.name,
            "here",
            alone=town.alone,
            pace=LEASE_PACE,
            monotonic=asyncio.get_running_loop().time,
        )

    # ------------------------------------------------------------ being struck

    def strike(self, place: str) -> None:
        """A crash, if the seed wants one here; and nothing goes on after one."""
        if not self.alive:
            raise Crashed(place)
        if self.weather.draw(self.weather.faults.crash):
            self.weather.story.tell(f"CRASH of {self.name} {place}")
            self._die(place)

    def _die(self, place: str) -> NoReturn:
        self.alive = False
        self.died.set()
        self.weather.trouble()
        raise Crashed(place)

    async def gate(self, seconds: float) -> None:
        """Time passes, and more of it where the program stands still."""
        loop = asyncio.get_running_loop()
        await asyncio.sleep(seconds)
        while self.alive and loop.time() < self._stands_still_until:  # noqa: ASYNC110
            await asyncio.sleep(self._stands_still_until - loop.time())
        if not self.alive:
            raise Crashed("after it was killed")

    def stand_still(self, seconds: float) -> None:
        """It gets no processor for so long."""
        self.weather.story.tell(f"{self.name} stands still for {seconds:g} s")
        self._stands_still_until = asyncio.get_running_loop().time() + seconds
        asyncio.get_running_loop().call_later(seconds, self.weather.trouble)

    # ------------------------------------------------------------ running

    async def begin(self) -> None:
        """Open the store, then work in the background."""
        await self.store.open()
        self.town.programs.append(self)
        self.town.engine.listeners.append(self.runtime)
        self._main = asyncio.create_task(self.lease.run(self._work), name=self.name)
        self._main.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        """Only a crash or an end in good order may end it."""
        if self.alive and not task.cancelled():
            wrong = task.exception() or AssertionError("the control plane ended by itself")
            self.town.engine.broken.append(wrong)

    async def _work(self, tenure: Tenure) -> None:
        town, weather = self.town, self.weather
        weather.story.tell(f"{self.name} reconciles, fence {tenure.fence.number}")
        self.fence = tenure.fence.number
        around = Surroundings(
            self.store,
            self.runtime,
            KeptLogs(),
            weather.clock,
            town.studio.ids,
            town.studio.policy,
            PUBLIC_IP,
            self.heard,
            tenure,
        )
        keeper = SandboxKeeper(around, town.sandboxes_ahead, 3) if town.sandboxes_ahead else None
        sweeps = [lambda: around.record(lambda tx, c: lifecycle.sweep(tx, c))]
        pace = Pace(observe_s=town.observe_s, sweep_s=300, bind_patience_s=0.001)
        clock = asyncio.get_running_loop().time
        reconciler = TellingReconciler(self, around, keeper, sweeps, pace, clock)
        sampler = Sampler(
            around, reconciler.watch, SamplerPace(tick_s=60, books_s=100), monotonic=clock
        )
        self.reconciler = reconciler
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(reconciler.run())
                group.create_task(sampler.run())
        finally:
            self.reconciler = None

    def heard(self, key: LockKey) -> None:
        """A hint that something about this app in this region changed."""
        if self.alive and self.reconciler is not None:
            self.reconciler.wake(key)

    async def ask(
        self, use_case: Callable[..., Any], wanted: object, locks: Collection[LockKey] = ()
    ) -> Any:
        """A request of the admin, as the API runs one; its hints may get lost."""
        town, weather = self.town, self.weather
        context = Context(weather.clock(), town.studio.ids, town.studio.policy)
        caller = town.studio.caller
        await self.gate(weather.short_s())
        result = await self.store.write(lambda tx: use_case(tx, caller, wanted, context), locks)
        for key in context.wake:
            if not weather.draw(weather.faults.hint_lost):
                self.heard(key)
                self._neighbours.wake(key)
        self.strike("before an answer")
        return result

    def serve(self, request: Coroutine[Any, Any, None]) -> None:
        """A client's request; it breaks off where the program is killed."""
        task = asyncio.get_running_loop().create_task(request)
        self._clients[task] = None
        task.add_done_callback(self._served)

    def _served(self, task: "asyncio.Task[None]") -> None:
        del self._clients[task]
        if not task.cancelled():
            wrong = task.exception()
            if wrong is not None and not isinstance(wrong, Crashed):
                self.town.engine.broken.append(wrong)

    @property
    def busy(self) -> bool:
        """Whether requests are under way."""
        return bool(self._clients)

    # ------------------------------------------------------------ ending

    def end_soon(self) -> None:
        """Somebody asks it to end."""
        if self._ending is None:
            self._ending = asyncio.get_running_loop().create_task(self.end())

    async def end(self) -> None:
        """In good order: the lease is given back, requests are answered, the store is closed."""
        self._leave()
        try:
            await self._stop_main()
            if self._clients:
                await asyncio.wait(self._clients)
            await self.store.close()
        except Crashed:
            pass
        await self.kill()

    async def kill(self) -> None:
        """Nothing is left of it but what it has committed, and what the engine was asked for."""
        self.alive = False
        self.died.set()
        self._leave()
        self.store.cut()
        clients = list(self._clients)
        for client in clients:
            client.cancel()
        await self._stop_main()
        await asyncio.gather(*clients, return_exceptions=True)

    def _leave(self) -> None:
        if self in self.town.programs:
            self.town.programs.remove(self)
            self.town.engine.listeners.remove(self.runtime)

    async def _stop_main(self) -> None:
        if self._main is not None:
            self._main.remove_done_callback(self._ended)
            self._main.cancel()
            await asyncio.gather(self._main, return_exceptions=True)
