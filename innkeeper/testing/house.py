"""A control plane by hand, for tests: the real loop over a real store and a runtime that runs nothing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from innkeeper.core.actions import Action
from innkeeper.core.processes import Process
from innkeeper.interfaces import LogSource
from innkeeper.reconciler.loop import Reconciler
from innkeeper.reconciler.perform import Surroundings
from innkeeper.reconciler.sandboxes import SandboxKeeper
from innkeeper.runtime.fake import FakeHost, FakeRuntime
from innkeeper.store.opening import open_store
from innkeeper.testing.locked_store import LockedStore
from innkeeper.testing.studio import Studio
from innkeeper.usecases import processes, rooms
from innkeeper.usecases.rooms import NewRoom


class KeptLogs:
    """Remembers whose log was kept."""

    def __init__(self) -> None:
        self.kept: list[str] = []

    def stream(self, process_id: str, tail_lines: int | None, follow: bool) -> AsyncIterator[bytes]:
        """Not asked for here."""
        raise NotImplementedError

    async def keep(self, process_id: str, source: LogSource | None) -> None:
        """Remember it."""
        self.kept.append(process_id)

    async def prune(self, keep_after: object = None) -> None:
        """Not asked for here."""
        raise NotImplementedError


class House:
    """A control plane by hand: observe, pass, and let its tasks finish."""

    def __init__(self, studio: Studio, host: FakeHost, ahead: int = 0) -> None:
        self.studio = studio
        self.host = host
        self.runtime = FakeRuntime(studio.clock, host)
        self.logs = KeptLogs()
        self.woken: set[tuple[str, str]] = set()
        self.around = Surroundings(
            LockedStore(studio.store),
            self.runtime,
            self.logs,
            studio.clock,
            studio.ids,
            studio.policy,
            "192.0.2.1",
            self.woken.add,
        )
        self.loop = Reconciler(self.around, None, [])
        self.keeper = SandboxKeeper(self.around, ahead, 8) if ahead else None

    async def turn(self, seconds: float = 1.0) -> list[Action]:
        """A listing, a pass of every app and region with work, and what they decided; so much later."""
        self.studio.clock.move(seconds)
        await self.loop.observe_once()
        if self.keeper is not None:
            shown = self.loop.watch.sandboxes()
            while shown and await self.keeper.keep(*shown):
                await self.loop.observe_once()
                shown = self.loop.watch.sandboxes()
        keys = self.loop.take_dirty()
        self.loop.watch.look()
        decided = [action for key in keys for action in await self.loop.one_pass(key)]
        while tasks := self.loop.tasks():
            await asyncio.gather(*tasks)
        return decided

    async def settle(self, seconds: float = 1.0) -> None:
        """Turns until nothing is decided any more."""
        for _ in range(40):
            decided = await self.turn(seconds)
            if not decided:
                return
        raise AssertionError(f"it never came to rest: {decided}")

    async def process(self, process_id: str | None) -> Process:
        """One process, as the store knows it."""
        found: Process = await self.studio.ask(
            processes.get_process, (self.studio.app_id, process_id)
        )
        return found

    async def create(self, **changes: Any) -> rooms.PlacedRoom:
        """A room in Tokyo."""
        wanted = NewRoom(self.studio.app_id, "Tokyo", **changes)
        placed: rooms.PlacedRoom = await self.studio.ask(rooms.create_room, wanted)
        return placed

    async def room_status(self, room_id: str) -> str:
        """As the API shows it."""
        room = await self.studio.ask(rooms.get_room, (self.studio.app_id, room_id))
        return str(room.status)


@asynccontextmanager
async def open_house(folder: Path, **studio: Any) -> AsyncIterator[House]:
    """A house on a new store below ``folder``; ``studio`` is what its :class:`Studio` is told."""
    store = await open_store(folder / "innkeeper.sqlite")
    try:
        yield House(await Studio(store, **studio).open(), FakeHost())
    finally:
        await store.close()
