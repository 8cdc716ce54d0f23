"""Callers that create and destroy rooms and stop processes, through whatever happens meanwhile."""

import asyncio
import random
from collections.abc import Collection
from uuid import UUID

import httpx

from innkeeper.testing.chaos_ledger import Ledger
from innkeeper.testing.chaos_plan import Round
from innkeeper.testing.live import ADMIN_TOKEN, LiveServer

CALL_TIMEOUT_S = 20.0
_PAUSE_S = 0.05
_REFUSED_PAUSE_S = 0.15
# What may be answered while something is wrong; 5xx of another kind would be a fault of ours.
_REFUSALS = (429, 503)


class Load:
    """The calls of one round. ``spared`` rooms have a player, and are not ended."""

    def __init__(
        self, server: LiveServer, app_id: str, ledger: Ledger, plan: Round, spared: Collection[str]
    ) -> None:
        self._server = server
        self._app_id = app_id
        self._ledger = ledger
        self._plan = plan
        self._spared = spared
        self._rng = random.Random(plan.seed)
        self._made: list[str] = []
        self._enough = asyncio.Event()

    def finish(self) -> None:
        """The faults are over."""
        self._enough.set()

    async def run(self) -> None:
        """Call until :meth:`finish`, with pauses."""
        async with (
            httpx.AsyncClient(
                base_url=self._server.url,
                headers={"Authorization": f"Bearer {ADMIN_TOKEN}"},
                timeout=CALL_TIMEOUT_S,
                trust_env=False,
            ) as http,
            asyncio.TaskGroup() as callers,
        ):
            for _ in range(self._plan.callers):
                callers.create_task(self._call_on(http))

    async def _call_on(self, http: httpx.AsyncClient) -> None:
        while not self._enough.is_set():
            went_through = await self._something(http)
            await asyncio.sleep(_PAUSE_S if went_through else _REFUSED_PAUSE_S)

    async def _something(self, http: httpx.AsyncClient) -> bool:
        choice = self._rng.random()
        if self._made and (choice < 0.3 or len(self._made) >= self._plan.rooms):
            return await self.destroy(http, self._made.pop(self._rng.randrange(len(self._made))))
        if self._made and choice < 0.4:
            return await self._stop(http, self._ledger.accepted[self._rng.choice(self._made)])
        return await self.create(http)

    async def create(self, http: httpx.AsyncClient) -> bool:
        """Ask for one room; whether it was accepted."""
        room_id = str(UUID(int=self._rng.getrandbits(128)))
        self._ledger.unknown.add(room_id)
        path = f"/rooms/v2/{self._app_id}/create?roomId={room_id}"
        answer = await self._post(http, path, {"region": "Tokyo"})
        if answer is None:
            return False
        self._ledger.unknown.discard(room_id)
        if answer.status_code == 201:
            self._ledger.accepted[room_id] = answer.json()["processId"]
            self._made.append(room_id)
            return True
        return self._refused(answer, path)

    async def destroy(self, http: httpx.AsyncClient, room_id: str) -> bool:
        """Ask for a room's end; whether it was answered."""
        process_id = self._ledger.accepted[room_id]
        before = self._ledger.may_have_ended(room_id, process_id)
        self._ledger.doomed.add(room_id)
        path = f"/rooms/v2/{self._app_id}/destroy/{room_id}"
        answer = await self._post(http, path)
        if answer is None:
            return False
        if answer.is_success:
            self._ledger.destroyed.add(room_id)
            return True
        if answer.status_code == 404 and (before or process_id in self._ledger.stopped):
            return True  # its process has been stopped
        return self._refused(answer, path)

    async def _stop(self, http: httpx.AsyncClient, process_id: str) -> bool:
        # Rooms that players are in may have been packed into any process.
        if process_id in {self._ledger.accepted.get(room_id) for room_id in self._spared}:
            return True
        self._ledger.stopped.add(process_id)
        path = f"/processes/v3/apps/{self._app_id}/processes/{process_id}/stop"
        answer = await self._post(http, path)
        return answer is not None and (answer.is_success or self._refused(answer, path))

    async def _post(
        self, http: httpx.AsyncClient, path: str, body: object = None
    ) -> httpx.Response | None:
        """The answer; ``None`` where the connection was cut, or never made."""
        try:
            return await http.post(path, json=body)
        except httpx.ReadTimeout:
            self._ledger.lose("promise broken", f"no answer within {CALL_TIMEOUT_S:g} s to {path}")
        except httpx.TransportError:
            pass
        return None

    def _refused(self, answer: httpx.Response, path: str) -> bool:
        status = answer.status_code
        self._ledger.refused[status] = self._ledger.refused.get(status, 0) + 1
        if status not in _REFUSALS:
            self._ledger.lose("promise broken", f"{status} to {path}: {answer.text[:300]}")
        elif "retry-after" not in answer.headers:
            self._ledger.lose("promise broken", f"{status} without Retry-After to {path}")
        return False
