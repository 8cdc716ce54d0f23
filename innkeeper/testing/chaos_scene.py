"""The scene of a chaos run: a live server and its store, a game, players who never stop."""

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from pathlib import Path

import httpx

from innkeeper.runtime.engine_service import EngineService
from innkeeper.store.opening import open_store
from innkeeper.testing.chaos_ledger import Ledger
from innkeeper.testing.chaos_store import ChaosStore
from innkeeper.testing.invariants import Facts, facts
from innkeeper.testing.live import LiveServer
from innkeeper.testing.players import Steady, address_of
from innkeeper.wiring.last_run import last_run

SAMPLE = Path(__file__).resolve().parent.parent.parent / "samples/tag"
APP = "chaos"
COMMAND = "tag"  # what its processes are called
ROOMS_PER_PROCESS = 3
IN_PLAY_TIMEOUT_S = 90.0  # a start may wait a minute after failures
_ANSWER_TIMEOUT_S = 5.0  # on a busy machine; a cut player never gets one


class NotInService(Exception):
    """It does not come back by itself: the run is over."""


@dataclass(slots=True)
class Player:
    """Somebody who plays in a room."""

    room_id: str
    process_id: str
    steady: Steady


@dataclass(slots=True)
class Scene:
    """What a run works with."""

    server: LiveServer
    store: ChaosStore
    ledger: Ledger = field(default_factory=Ledger)
    app_id: str = ""
    players: list[Player] = field(default_factory=list)
    networks: list[IPv4Network] = field(default_factory=list)  # of the engine, while it has them

    async def facts(self) -> Facts:
        """All that the store says."""
        store = await open_store(self.store.url)
        try:
            return await store.read(facts)
        finally:
            await store.close()

    def engine_socket(self) -> Path:
        """Where the engine that runs the games answers."""
        before = last_run(self.server.data_dir)
        if before is not None and before.engine_socket is not None:
            return Path(before.engine_socket)
        return EngineService(self.server.data_dir).socket_path

    def deploy(self) -> None:
        """The sample game, for UDP and TCP."""
        environment = self.server.environment()
        environment["INNKEEPER_URL"] = self.server.url
        environment["INNKEEPER_TOKEN"] = environment["INNKEEPER_ADMIN_TOKEN"]
        command = [sys.executable, "-m", "innkeeper.cli", "deploy", str(SAMPLE), "--app", APP]
        command += ["--port", "7777", "--extra-port", "tcp:7777/tcp", "--cpu", "0.25"]
        command += ["--memory", "512", "--no-idle-timeout"]
        command += ["--rooms-per-process", str(ROOMS_PER_PROCESS)]
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        with self.server.http() as http:
            (app,) = http.get("/apps/v2/apps").json()["applications"]
        self.app_id = app["appId"]

    async def create_room(self, http: httpx.AsyncClient, region: str) -> tuple[str, str]:
        """A room, asked for until it is accepted; its id and its process's."""
        said = "nothing"
        try:
            async with asyncio.timeout(IN_PLAY_TIMEOUT_S):
                while True:
                    try:
                        path = f"/rooms/v2/{self.app_id}/create"
                        answer = await http.post(path, json={"region": region})
                        if answer.status_code == 201:
                            made = answer.json()
                            self.ledger.accepted[made["roomId"]] = made["processId"]
                            return made["roomId"], made["processId"]
                        said = f"{answer.status_code} {answer.text}"
                    except httpx.TransportError as error:
                        said = repr(error)
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise NotInService(f"no room within {IN_PLAY_TIMEOUT_S:g} s; at last: {said}") from None

    async def in_play(self, http: httpx.AsyncClient, room_id: str) -> dict[str, object]:
        """The connection info of a room once it is active."""
        said = "nothing"
        try:
            async with asyncio.timeout(IN_PLAY_TIMEOUT_S):
                while True:
                    with contextlib.suppress(httpx.TransportError):
                        path = f"/rooms/v2/{self.app_id}/connectioninfo/{room_id}"
                        answer = await http.get(path)
                        if answer.status_code == 200 and answer.json()["status"] == "active":
                            return dict(answer.json())
                        said = f"{answer.status_code} {answer.text}"
                    await asyncio.sleep(0.02)
        except TimeoutError:
            told = f"room {room_id} not in play within {IN_PLAY_TIMEOUT_S:g} s; at last: {said}"
            raise NotInService(told) from None

    @contextlib.asynccontextmanager
    async def playing(self, region: str) -> AsyncIterator[Player]:
        """A player in a room of its own, who sends numbered messages until the end."""
        async with self.client() as http:
            room_id, process_id = await self.create_room(http, region)
            info = await self.in_play(http, room_id)
        udp = address_of(info["exposedPort"])  # type: ignore[arg-type]
        tcp = address_of(info["additionalExposedPorts"][0])  # type: ignore[index]
        with Steady(udp, tcp, interval_s=0.05, timeout_s=_ANSWER_TIMEOUT_S) as steady:
            player = Player(room_id, process_id, steady)
            self.players.append(player)
            try:
                yield player
            finally:
                self.players.remove(player)

    def client(self, timeout_s: float = 20.0) -> httpx.AsyncClient:
        """A client of the API, as the admin; the caller closes it."""
        token = self.server.environment()["INNKEEPER_ADMIN_TOKEN"]
        headers = {"Authorization": f"Bearer {token}"}
        return httpx.AsyncClient(
            base_url=self.server.url, headers=headers, timeout=timeout_s, trust_env=False
        )
