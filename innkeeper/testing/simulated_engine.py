"""The engine of a simulated host, and the driver that a control plane calls it through.

The engine outlives every control plane, and does what it was asked for even where nobody waits any more:
calls take time, hang, land late, or lose their answers. Hints get lost, repeated, late, or name strangers.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import TypeVar

from innkeeper.core.errors import PortTaken, RuntimeAway, StartFailed
from innkeeper.core.processes import Exit
from innkeeper.core.usage import UsageSeen
from innkeeper.interfaces import Listing, LogSource, PortSpec, ProcessSpec, SandboxSpec
from innkeeper.runtime.fake import FakeHost, FakeRuntime
from innkeeper.testing.simulated_store import Host
from innkeeper.testing.weather import Weather

T = TypeVar("T")
# Asked before the engine acts: (what it is about to do, process id). Raises AssertionError.
Witness = Callable[[str, str], None]


class SimulatedEngine:
    """One host's engine. ``witness`` is asked whether the store has recorded what is done here."""

    def __init__(self, weather: Weather, witness: Witness) -> None:
        self.weather = weather
        self.host = FakeHost()
        self.binds_at: dict[str, float] = {}
        self.listeners: list[SimulatedRuntime] = []
        self.vanished: set[str] = set()
        self.landed_late: set[str] = set()
        self.broken: list[BaseException] = []
        self._witness = witness
        self._calls: dict[asyncio.Task[object], None] = {}
        self._restarted = asyncio.Event()

    def witness(self, what: str, process_id: str) -> None:
        """The engine is about to do this: was it meant?"""
        if process_id in self.landed_late:
            return  # What it was asked for long ago, others have made good since.
        try:
            self._witness(what, process_id)
        except AssertionError as wrong:
            self.broken.append(wrong)

    def serve(self, told: str, about: str, effect: Callable[[], Awaitable[T]]) -> "asyncio.Task[T]":
        """Do it in the engine's own time; whoever asked may be gone by then."""
        hang_s = self.weather.hang_s() if self.weather.draw(self.weather.faults.hangs) else 0.0
        task = asyncio.get_running_loop().create_task(self._serve(told, about, effect, hang_s))
        self._calls[task] = None
        task.add_done_callback(self._served)
        return task

    def _served(self, task: "asyncio.Task[object]") -> None:
        del self._calls[task]
        if not task.cancelled():
            task.exception()  # perhaps nobody else asks for it

    async def _serve(
        self, told: str, about: str, effect: Callable[[], Awaitable[T]], hang_s: float
    ) -> T:
        weather = self.weather
        await asyncio.sleep(weather.call_s())
        if not hang_s:
            result = await effect()
            await asyncio.sleep(weather.call_s())
            return result
        weather.story.tell(f"the engine hangs for {hang_s:g} s: {told}")
        weather.hanging += 1
        try:
            if weather.draw(0.4):
                result = await effect()
                await self._hang(hang_s)
                return result
            await self._hang(hang_s)
            self.landed_late.add(about)
            weather.story.tell(f"it lands late: {told}")
            return await effect()
        finally:
            weather.hanging -= 1
            weather.trouble()

    async def _hang(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(None if seconds == float("inf") else seconds):
                await self._restarted.wait()
        except TimeoutError:
            return
        raise RuntimeAway("the engine was restarted")

    def restart(self) -> None:
        """Calls that hang fail; games go on."""
        self.weather.story.tell("the engine is restarted")
        self.weather.trouble()
        self._restarted.set()
        self._restarted = asyncio.Event()

    def end(self, process_id: str, exit_: Exit) -> None:
        """A game ends by itself, or as it was told to."""
        process = self.host.processes.get(process_id)
        if process is not None and process.exit is None:
            process.exit = exit_
            self.hint(process_id)

    def vanish(self, process_id: str) -> None:
        """It is gone without a trace, with its sandbox and ports."""
        gone = self.host.processes.pop(process_id)
        self.vanished.add(process_id)
        owners = {process_id, gone.spec.sandbox_id}
        self.host.sandboxes.pop(gone.spec.sandbox_id or "", None)
        self.host.ports = {p: o for p, o in self.host.ports.items() if o not in owners}
        self.hint(process_id)

    def hint(self, process_id: str) -> None:
        """Tell whoever listens, as far as the weather lets it through."""
        weather = self.weather
        for listener in self.listeners:
            if weather.draw(weather.faults.hint_lost):
                continue
            for _ in range(weather.chance.choice([1, 1, 1, 3])):
                listener.hear(process_id, weather.chance.choice([0.001, 0.01, 0.3, 30]))
            if weather.draw(0.05):
                listener.hear("a process of somebody else", 0.0)

    async def close(self) -> None:
        """Nothing is under way any more."""
        calls = list(self._calls)
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)


class SimulatedRuntime(FakeRuntime):
    """The fake driver of one program, with the engine's time and faults between it and the host."""

    def __init__(self, engine: SimulatedEngine, program: Host) -> None:
        super().__init__(engine.weather.clock, engine.host)
        self._engine = engine
        self._program = program

    async def _call(self, told: str, about: str, effect: Callable[[], Awaitable[T]]) -> T:
        weather, program = self._engine.weather, self._program
        program.strike(f"before {told}")
        if weather.draw(weather.faults.away):
            weather.trouble()
            raise RuntimeAway("the engine does not answer")
        # Whoever stops waiting does not stop the engine.
        result = await asyncio.shield(self._engine.serve(told, about, effect))
        await program.gate(0)
        program.strike(f"after {told}")
        if weather.draw(weather.faults.answer_lost):
            weather.story.tell(f"the answer is lost: {told}")
            weather.trouble()
            raise RuntimeAway("the answer was lost")
        return result

    def hear(self, process_id: str, delay_s: float) -> None:
        """A hint arrives, later."""
        loop = asyncio.get_running_loop()
        loop.call_later(delay_s, self._changes.put_nowait, process_id)

    async def start(self, spec: ProcessSpec) -> datetime:
        """May fail, hang, land late, find a port taken, or bind its port late or never."""
        return await self._call(
            f"the start of {spec.process_id}", spec.process_id, lambda: self._start(spec)
        )

    async def _start(self, spec: ProcessSpec) -> datetime:
        engine, weather = self._engine, self._engine.weather
        if spec.process_id not in self.host.processes:
            if weather.draw(weather.faults.start_fails):
                raise StartFailed("the image is broken today")
            if weather.draw(weather.faults.port_taken):
                raise PortTaken(spec.ports[0].host_port, "an outsider")
            engine.witness("start", spec.process_id)
            bind_s = weather.bind_s()
            engine.binds_at[spec.process_id] = asyncio.get_running_loop().time() + bind_s
        booted_at = await super().start(spec)
        engine.hint(spec.process_id)
        return booted_at

    async def signal(self, process_id: str, kill: bool) -> None:
        """A game may take its time to end, or not heed the SIGTERM at all."""
        told = f"the {'SIGKILL' if kill else 'SIGTERM'} to {process_id}"
        await self._call(told, process_id, lambda: self._signal(process_id, kill))

    async def _signal(self, process_id: str, kill: bool) -> None:
        engine, weather = self._engine, self._engine.weather
        engine.witness("signal", process_id)
        exit_ = (
            Exit(None, 9, False, weather.clock()) if kill else Exit(0, None, False, weather.clock())
        )
        if kill or not weather.draw(weather.faults.ignores_term):
            takes_s = 0 if kill else weather.chance.choice([0, 0, 0.5, 8])
            asyncio.get_running_loop().call_later(takes_s, self._end_now, process_id, exit_)

    def _end_now(self, process_id: str, exit_: Exit) -> None:
        at = self._engine.weather.clock()
        self._engine.end(process_id, Exit(exit_.code, exit_.signal, False, at))

    async def remove(self, process_id: str) -> None:
        """Running or not."""
        await self._call(
            f"the removal of {process_id}", process_id, lambda: self._remove(process_id)
        )

    async def _remove(self, process_id: str) -> None:
        engine, process = self._engine, self.host.processes.get(process_id)
        if process_id in engine.landed_late and process is not None and process.exit is None:
            # Asked for by a program that has died, and meant for what was there before it.
            engine.vanished.add(process_id)
        engine.witness("remove", process_id)
        await super().remove(process_id)
        self._engine.hint(process_id)

    async def observe(self) -> Listing:
        """What was there at some moment of the call; it may be old when it arrives."""
        return await self._call("a listing", "", super().observe)

    def bound(self, process_id: str, ports: Sequence[PortSpec]) -> bool:
        """Once its time to bind has come."""
        now = asyncio.get_running_loop().time()
        return super().bound(process_id, ports) and now >= self._engine.binds_at[process_id]

    async def usage(self, process_ids: Collection[str]) -> Mapping[str, UsageSeen]:
        """As set on the fake processes."""
        asked = tuple(process_ids)
        usage = super().usage
        return await self._call("a measurement", "", lambda: usage(asked))

    async def make_sandbox(self, spec: SandboxSpec) -> str | None:
        """In the engine's time."""
        make = super().make_sandbox
        return await self._call(f"sandbox {spec.sandbox_id}", spec.sandbox_id, lambda: make(spec))

    async def remove_sandbox(self, sandbox_id: str) -> None:
        """In the engine's time."""
        remove = super().remove_sandbox
        await self._call(
            f"the removal of sandbox {sandbox_id}", sandbox_id, lambda: remove(sandbox_id)
        )

    async def log_source(self, process_id: str) -> LogSource | None:
        """In the engine's time."""
        source = super().log_source
        return await self._call(f"the log of {process_id}", process_id, lambda: source(process_id))
