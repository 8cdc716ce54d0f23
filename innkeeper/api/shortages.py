"""Tells pools to give way when somebody was refused for the machine's capacity and does not wait in line."""

import asyncio

from innkeeper.api.services import Services
from innkeeper.core.errors import InnkeeperError, NoCapacity
from innkeeper.usecases import allocations

AGAIN_S = 2.0


class Shortages:
    """One server's notes: one each two seconds tells as much as all. Belongs to its event loop."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._quiet_until = 0.0

    async def note(self, full: NoCapacity) -> None:
        """Note it where pools could help. Never fails the caller, who has an answer already."""
        now = asyncio.get_running_loop().time()
        if not full.machine or now < self._quiet_until:
            return
        self._quiet_until = now + AGAIN_S
        at = self._services.clock()
        try:
            if await self._services.store.read(allocations.any_pool):
                await self._services.store.write(lambda tx: allocations.note_shortage(tx, at))
        except InnkeeperError:
            return
