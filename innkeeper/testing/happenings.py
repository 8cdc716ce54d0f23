"""What happens in a simulated history: clients' requests, and what befalls games, programs and the clock."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from innkeeper.core.accounts import Caller
from innkeeper.core.errors import InnkeeperError, NoCapacity, Unavailable
from innkeeper.core.processes import Exit
from innkeeper.core.usage import UsageSeen
from innkeeper.interfaces import Context, Tx
from innkeeper.testing.simulated_program import Program, Town
from innkeeper.usecases import apps, processes, rooms, waiting, warm_pools
from innkeeper.usecases.rooms import NewRoom, PlacedRoom

REGIONS = ("Tokyo", "London")


class Happenings:
    """One thing at a time begins here; requests go on by themselves, many at once."""

    def __init__(self, town: Town) -> None:
        self._town = town
        self._weather = town.weather
        self._chance = town.weather.chance
        self._named = 0
        # What clients were told; a room whose making broke off is in neither.
        self.answered: dict[str, None] = {}
        self.refused: dict[str, None] = {}
        self._menu: list[Callable[[Program], None]] = [
            *[self._create] * 8,
            *[self._create_named] * 2,
            *[self._create_patiently] * 4,
            *[self._destroy] * 3,
            *[self._exits] * 2,
            *[self._connects] * 2,
            *[self._measured] * 2,
            self._nothing,
            self._stop,
            self._drain,
            self._keep_pool,
            self._suspend_or_resume,
            self._suspend_or_resume,
            self._deploy,
            self._want,
            self._vanishes,
            self._spare,
            self._clock_jumps,
            self._stands_still,
            self._engine_restarts,
            self._restarts,
        ]

    def begin_one(self) -> None:
        """Something happens, if anybody is there to see it."""
        alive = [program for program in self._town.programs if program.alive]
        happening = self._chance.choice(self._menu)
        if alive:
            happening(self._chance.choice(alive))

    def tell(self, text: str) -> None:
        """Into the story."""
        self._weather.story.tell(text)

    # ------------------------------------------------------------ requests

    def _ask(self, program: Program, told: str, use_case: Callable[..., Any], wanted: Any) -> None:
        self.tell(f"{program.name} is asked: {told}")
        program.serve(self._asked(program, told, use_case, wanted))

    async def _asked(
        self, program: Program, told: str, use_case: Callable[..., Any], wanted: Any
    ) -> None:
        try:
            await program.ask(use_case, wanted)
        except InnkeeperError as refused:
            self.tell(f"refused: {told}: {refused}")

    def _create(self, program: Program) -> None:
        region = self._chance.choice(REGIONS)
        for _ in range(self._chance.choice([1, 1, 1, 2, 5])):
            program.serve(self._created(program, NewRoom(self._town.studio.app_id, region)))

    def _create_named(self, program: Program) -> None:
        """A client that names its room may ask again where it got no answer."""
        self._named += 1
        region = self._chance.choice(REGIONS)
        wanted = NewRoom(self._town.studio.app_id, region, room_id=f"named-{self._named}")
        program.serve(self._created(program, wanted, tries=3))

    async def _created(self, program: Program, wanted: NewRoom, tries: int = 1) -> None:
        room_id = wanted.room_id
        try:
            placed = await program.ask(rooms.create_room, wanted)
        except Unavailable as away:
            self.tell(f"no room for now: {away}")
            if tries > 1 and room_id is not None:
                await asyncio.sleep(1)
                await self._created(program, wanted, tries - 1)
        except InnkeeperError as refused:
            self.tell(f"no room: {refused}")
            if room_id is not None:
                known = "already exists" in str(refused)
                (self.answered if known else self.refused)[room_id] = None
        else:
            # From here on it was answered: it must exist whatever comes.
            self.answered[placed.room_id] = None
            self.tell(f"room {placed.room_id} on {placed.process_id}")

    def _create_patiently(self, program: Program) -> None:
        """A client that would rather wait than be refused."""
        region, wait_s = self._chance.choice(REGIONS), self._chance.choice([1, 20, 60, 300])
        wanted = NewRoom(self._town.studio.app_id, region, wait_s=wait_s)
        for _ in range(self._chance.choice([1, 1, 3])):
            program.serve(self._waited(program, wanted))

    async def _waited(self, program: Program, wanted: NewRoom) -> None:
        try:
            placed = await program.ask(rooms.create_room, wanted)
        except NoCapacity as full:
            until = self._weather.clock() + timedelta(seconds=wanted.wait_s)
            await self._in_line(program, wanted, full, until)
        except InnkeeperError as refused:
            self.tell(f"no room: {refused}")
        else:
            self.answered[placed.room_id] = None
            self.tell(f"room {placed.room_id} on {placed.process_id}")

    async def _in_line(
        self, program: Program, wanted: NewRoom, full: NoCapacity, until: datetime
    ) -> None:
        def stand(tx: Tx, caller: Caller, new: NewRoom, context: Context) -> PlacedRoom:
            return waiting.stand_in_line(tx, caller, new, full, until, context)

        try:
            placed = await program.ask(stand, wanted)
        except InnkeeperError as refused:
            self.tell(f"no place in line: {refused}")
            return
        self.answered[placed.room_id] = None
        self.tell(f"room {placed.room_id} waits until {until:%H:%M:%S}")
        await asyncio.sleep(wanted.wait_s)
        if self._chance.random() < 0.5:
            await self._asked(program, f"give up {placed.room_id}", _give_up, placed.room_id)

    def _spare(self, program: Program) -> None:
        wanted = (self._town.studio.app_id, "Tokyo")
        self._ask(program, "a process", processes.create_process, wanted)

    def _destroy(self, program: Program) -> None:
        if room_id := self._any_room():
            wanted = (self._town.studio.app_id, room_id)
            self._ask(program, f"destroy {room_id}", rooms.destroy_room, wanted)

    def _suspend_or_resume(self, program: Program) -> None:
        if room_id := self._any_room():
            use_case = self._chance.choice([rooms.suspend_room, rooms.resume_room])
            wanted = (self._town.studio.app_id, room_id)
            self._ask(program, f"{use_case.__name__} {room_id}", use_case, wanted)

    def _stop(self, program: Program) -> None:
        if process_id := self._any_running():
            wanted = (self._town.studio.app_id, process_id)
            self._ask(program, f"stop {process_id}", processes.stop_process, wanted)

    def _drain(self, program: Program) -> None:
        if process_id := self._any_running():
            wanted = (self._town.studio.app_id, process_id)
            self._ask(program, f"drain {process_id}", processes.drain_process, wanted)

    def _keep_pool(self, program: Program) -> None:
        pools = [(region, self._chance.choice([0, 0, 1, 3])) for region in REGIONS]
        wanted = (self._town.studio.app_id, pools)
        self._ask(program, f"keep in reserve {pools}", warm_pools.set_pools, wanted)

    def _deploy(self, program: Program) -> None:
        program.serve(self.deploy(program))

    async def deploy(self, program: Program) -> None:
        """A new deployment, with other numbers."""
        per, idles = self._chance.choice([1, 2, 4]), self._chance.random() < 0.8
        studio = replace(self._town.studio, store=program.store)
        try:
            made = await studio.deploy(
                rooms_per_process=per, memory_mb=512, cpu=0.5, idle_timeout_enabled=idles
            )
            self.tell(f"{made.deployment_id} with {per} rooms a process, idle timeout {idles}")
        except InnkeeperError as refused:
            self.tell(f"no deployment: {refused}")

    def _want(self, program: Program) -> None:
        """The app's static allocation changes."""
        entries: list[dict[str, Any]] = []
        for region in REGIONS:
            least, target, most = sorted(self._chance.choices([0, 1, 1, 2, 3, 5], k=3))
            entry = {"region": region, "minProcesses": least, "maxProcesses": max(most, 1)}
            kind = self._chance.random()
            if kind < 0.15:
                entries.append({**entry, "autoscalingEnabled": True})
            elif kind < 0.6:
                entries.append({**entry, "targetProcesses": target})
        load = {"metricName": "concurrent-requests", "metricValue": 2}
        config = {
            "staticProcessAllocation": entries,
            "processAutoscalerConfig": {"targetMetric": load},
        }
        patch = apps.AppPatch(self._town.studio.app_id, service_config=config)
        self._ask(program, f"keep {entries}", apps.patch_app, patch)

    # ------------------------------------------------------------ games

    def _exits(self, program: Program) -> None:
        if process_id := self._any_running():
            code = self._chance.choice([0, 1, 3])
            self.tell(f"{process_id} exits with {code}")
            self._town.engine.end(process_id, Exit(code, None, False, self._weather.clock()))

    def _vanishes(self, program: Program) -> None:
        if self._chance.random() < 0.4 and (process_id := self._any_running()):
            self.tell(f"{process_id} vanishes from the host")
            self._town.engine.vanish(process_id)

    def _connects(self, program: Program) -> None:
        if process_id := self._any_running():
            connections = self._chance.choice([0, 1, None])
            self._town.engine.host.processes[process_id].connections = connections

    def _measured(self, program: Program) -> None:
        """Games use the machine; sometimes its counters cannot be read, or go back."""
        for process_id in sorted(self._town.engine.host.processes):
            process = self._town.engine.host.processes[process_id]
            before = process.usage.egress_bytes or 0
            sent = self._chance.choice([None, 0, before, before + 1_000_003])
            process.usage = UsageSeen((process.usage.cpu_ms or 0) + 10, 1_000, sent)

    # ------------------------------------------------------------ programs and the machine

    def _nothing(self, program: Program) -> None:
        """The weather changes, and nothing else."""
        fair = self._chance.random() < 0.4
        self.tell("calm" if fair else "a storm")
        self._weather.set_fair(fair)

    def _clock_jumps(self, program: Program) -> None:
        jump_s = self._chance.choice([-30, -2, 600])
        self.tell(f"the clock jumps by {jump_s} s")
        self._weather.trouble()
        self._weather.clock.jump(jump_s)

    def _stands_still(self, program: Program) -> None:
        program.stand_still(self._chance.choice([0.2, 3, 40]))

    def _engine_restarts(self, program: Program) -> None:
        self._town.engine.restart()

    def _restarts(self, program: Program) -> None:
        self.tell(f"{program.name} ends in good order")
        program.end_soon()

    def _any_room(self) -> str | None:
        return self._chance.choice(list(self.answered)) if self.answered else None

    def _any_running(self) -> str | None:
        host = self._town.engine.host
        running = sorted(i for i, p in host.processes.items() if p.exit is None)
        return self._chance.choice(running) if running else None


def _give_up(tx: Tx, caller: Caller, room_id: str, context: Context) -> object:
    """A caller waits no longer."""
    return waiting.give_up(tx, room_id, context)
