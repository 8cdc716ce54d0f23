"""Three servers on one PostgreSQL: whatever is killed, no accepted room is lost, and packing is exact."""

import asyncio
import itertools
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from innkeeper.testing import host_facts
from innkeeper.testing.live import ADMIN_TOKEN, eventually
from innkeeper.testing.live_servers import LiveServers, OneOfMany, live_servers
from innkeeper.testing.live_studio import LiveStudio
from innkeeper.testing.official_sdk import Bridge

SETTINGS = {
    "INNKEEPER_PORT_REST_S": "1",
    "INNKEEPER_STOP_GRACE_S": "2",
    "INNKEEPER_CPU_OVERCOMMIT": "50",
}
ROOMS_PER_PROCESS = 4
CALLERS = 8
BEFORE, AFTER = 12, 12  # rooms answered before anything happens, and after it is over
PAUSE_S = 0.02
HEADERS = {"Authorization": f"Bearer {ADMIN_TOKEN}"}


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServers]:
    with live_servers("process", tmp_path_factory.mktemp("servers"), 3, SETTINGS) as made:
        yield made


@pytest.fixture(scope="module")
def build_id(servers: LiveServers, bridge: Bridge, game: bytes) -> str:
    return str(studio_of(servers.all[0], bridge).build(game)["buildId"])


@pytest.fixture
def app_id(servers: LiveServers, bridge: Bridge, build_id: str) -> str:
    studio = studio_of(servers.alive()[0], bridge)
    app_id = studio.app()
    studio.deploy(app_id, build_id, roomsPerProcess=ROOMS_PER_PROCESS)
    return app_id


def studio_of(server: OneOfMany, bridge: Bridge) -> LiveStudio:
    return LiveStudio(bridge.client(serverURL=server.url, hathoraDevToken=ADMIN_TOKEN), server)


@dataclass
class Load:
    """Callers that create rooms through all servers in turn, and ask again as long as they are told to."""

    servers: LiveServers
    app_id: str
    answered: dict[str, str | None] = field(
        default_factory=dict
    )  # room id -> process id, where told
    refused: int = 0
    cut: int = 0
    over: bool = False

    async def run(self, fault: Callable[[], object]) -> None:
        """``fault`` happens, in a thread, in the middle of it."""
        urls = itertools.cycle([server.url for server in self.servers.all])
        limits = httpx.Limits(
            max_keepalive_connections=0
        )  # a new one each time: servers come and go
        async with (
            asyncio.timeout(90),
            httpx.AsyncClient(headers=HEADERS, timeout=30, trust_env=False, limits=limits) as http,
        ):
            callers = [asyncio.create_task(self._caller(http, urls)) for _ in range(CALLERS)]
            await self._answers(BEFORE)
            await asyncio.to_thread(fault)
            await self._answers(len(self.answered) + AFTER)
            self.over = True
            await asyncio.gather(*callers)

    async def _answers(self, count: int) -> None:
        while len(self.answered) < count:
            await asyncio.sleep(PAUSE_S)

    async def _caller(self, http: httpx.AsyncClient, urls: Iterator[str]) -> None:
        while not self.over:
            room_id, maybe_made = str(uuid4()), False
            while room_id not in self.answered:
                url = f"{next(urls)}/rooms/v2/{self.app_id}/create?roomId={room_id}"
                try:
                    answer = await http.post(url, json={"region": "Tokyo"})
                except httpx.TransportError:
                    self.cut += 1
                    maybe_made = True
                else:
                    maybe_made = self._told(room_id, answer, maybe_made)
                await asyncio.sleep(PAUSE_S)

    def _told(self, room_id: str, answer: httpx.Response, maybe_made: bool) -> bool:
        if answer.status_code == 201:
            self.answered[room_id] = answer.json()["processId"]
        elif answer.status_code == 400 and "already exists" in answer.text:
            assert maybe_made, "nobody else makes rooms of this name"
            self.answered[room_id] = None
        else:
            assert answer.status_code == 503, answer.text
            assert int(answer.headers["retry-after"]) >= 1
            self.refused += 1
            return True  # it may have been committed all the same
        return maybe_made


def there(answer: httpx.Response) -> httpx.Response | None:
    return None if answer.status_code == 503 else answer


def check(load: Load) -> None:
    """Every room that was answered is in play, on as few processes as can be, each with one game."""
    url, app_id = load.servers.alive()[0].url, load.app_id
    with httpx.Client(base_url=url, headers=HEADERS, timeout=30, trust_env=False) as http:

        def get(path: str) -> Any:
            """As a client does that is told to come back."""
            answer = eventually(lambda: there(http.get(path)), 20, path)
            assert answer.status_code == 200, answer.text
            return answer.json()

        held: dict[str, int] = {}
        for room_id, process_id in load.answered.items():
            info = get(f"/rooms/v2/{app_id}/info/{room_id}")
            assert info["status"] == "active", info
            on = info["currentAllocation"]["processId"]
            assert process_id in (None, on), info
            held[on] = held.get(on, 0) + 1
        assert max(held.values()) <= ROOMS_PER_PROCESS
        assert len(held) == ceil(len(load.answered) / ROOMS_PER_PROCESS), held
        for process_id, rooms in held.items():

            def runs(path: str = f"/processes/v3/apps/{app_id}/processes/{process_id}") -> Any:
                process = get(path)
                assert process["status"] in ("starting", "running"), process
                return process if process["status"] == "running" else None

            assert eventually(runs, 30, "it runs")["roomsAllocated"] == rooms
        count = get(f"/processes/v3/apps/{app_id}/processes/count")["count"]
        assert count == len(held), "a process that nobody needed"
    games = host_facts.games(app_id, "tag")
    assert {process_id: len(pids) for process_id, pids in games.items()} == dict.fromkeys(held, 1)


@pytest.mark.timeout(180)
def test_killing_the_one_that_reconciles_loses_nothing(servers: LiveServers, app_id: str) -> None:
    load = Load(servers, app_id)
    killed = servers.holder()
    assert killed is not None
    asyncio.run(load.run(killed.kill))
    servers.new_holder(killed, 3)
    check(load)
    assert load.cut > 0, "nobody noticed"
    killed.start()


@pytest.mark.timeout(180)
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT], ids=["fast", "immediate"])
def test_restarting_postgresql_loses_nothing(
    servers: LiveServers, app_id: str, how: signal.Signals
) -> None:
    def restart() -> None:
        servers.postgres.stop(how)
        servers.postgres.start()

    load = Load(servers, app_id)
    asyncio.run(load.run(restart))
    check(load)
    assert load.refused > 0, "nobody noticed"
    for server in servers.all:
        eventually(server._ready, 20, "it is ready again")


@pytest.mark.timeout(180)
def test_a_holder_that_stood_still_steps_down_when_it_comes_back(
    servers: LiveServers, app_id: str, bridge: Bridge, tmp_path: Path
) -> None:
    paused = eventually(servers.holder_in_sight, 10, "one reconciles, and PostgreSQL sees it")
    said_before = len(paused.said())
    paused.pause()
    try:
        holder = servers.new_holder(paused, 20)
        studio = studio_of(holder, bridge)
        rooms = [studio.room(app_id)["roomId"] for _ in range(ROOMS_PER_PROCESS + 1)]
        for room_id in rooms:
            studio.active(app_id, room_id)
    finally:
        paused.go_on()
    steps_down = "reconciles no more"
    eventually(lambda: steps_down in paused.said()[said_before:], 20, "it steps down")
    assert servers.holder() is holder
    # It serves on, and what it is asked for is done by the other.
    studio = studio_of(paused, bridge)
    room = studio.room(app_id)
    studio.active(app_id, room["roomId"])
    assert len(host_facts.games(app_id, "tag")) == ceil((len(rooms) + 1) / ROOMS_PER_PROCESS)
