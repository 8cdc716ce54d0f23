"""A real control plane with the sample game deployed, asked by as cheap a client as Python has."""

import http.client
import json
import socket
import sqlite3
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from bench.run import ROOT, Run
from innkeeper.cli.api import Api
from innkeeper.cli.archive import pack
from innkeeper.runtime.sock_diag import SockDiag
from innkeeper.testing.live import ADMIN_TOKEN, LiveServer, eventually, live_server

T = TypeVar("T")
GAME = ROOT / "samples" / "tag"
REGION = "Seattle"
START_TIMEOUT_S = 30.0
SANDBOXES_AHEAD = 4
HEADERS = {"Authorization": f"Bearer {ADMIN_TOKEN}", "Content-Type": "application/json"}


@dataclass(frozen=True, slots=True)
class Room:
    """A room in play: milliseconds from the call to "active", and where it is."""

    took_ms: float
    process_id: str
    host: str
    port: int


class Caller:
    """One connection to the API, kept open: a call costs far less than with a full client."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._http = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
        self._http.connect()
        self._http.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """The JSON of a success. Raises ``RuntimeError`` otherwise."""
        sent = None if body is None else json.dumps(body)
        self._http.request(method, path, sent, HEADERS)
        answer = self._http.getresponse()
        text = answer.read()
        if answer.status >= 300:
            raise RuntimeError(f"{method} {path}: {answer.status} {text.decode(errors='replace')}")
        return json.loads(text) if text else None

    def close(self) -> None:
        """Hang up."""
        self._http.close()


class Studio:
    """The sample game on one live server."""

    def __init__(self, server: LiveServer, folder: Path) -> None:
        self.server = server
        self._database = server.data_dir / "innkeeper.db"
        api = Api(server.url, ADMIN_TOKEN)
        try:
            archive = pack(GAME, folder / "tag.tar.gz")
            build = api.call("POST", "/builds/v3/builds", {"buildSizeInBytes": archive.size})
            (part,) = build["uploadParts"]
            etag = api.put_part(part["putRequestUrl"], archive.path.read_bytes())
            api.complete_upload(build["completeUploadPostRequestUrl"], [etag])
            log = list(api.lines("POST", f"/builds/v3/builds/{build['buildId']}/run"))
            if api.call("GET", f"/builds/v3/builds/{build['buildId']}")["status"] != "succeeded":
                raise RuntimeError("the sample game was not built: " + "\n".join(log))
            new_app = {"appName": "bench", "authConfiguration": {}}
            self.app_id: str = api.call("POST", "/apps/v2/apps", new_app)["appId"]
            wanted = {
                "buildId": build["buildId"],
                "requestedCPU": 0.5,
                "requestedMemoryMB": 512,
                "roomsPerProcess": 1,
                "containerPort": 7777,
                "transportType": "udp",
                "additionalContainerPorts": [],
                "env": [],
                "idleTimeoutEnabled": False,
            }
            api.call("POST", f"/deployments/v3/apps/{self.app_id}/deployments", wanted)
        finally:
            api.close()

    def image(self) -> str:
        """The game's image, as the engine knows it."""
        return str(self._ask("SELECT image_ref FROM builds"))

    def create_to_active(self, poll_s: float) -> Room:
        """A room on a new process: from the call until connection info says "active"."""
        with closing(Caller(self.server.url)) as caller:
            begun = time.perf_counter()
            made = caller.call("POST", f"/rooms/v2/{self.app_id}/create", {"region": REGION})
            path = f"/rooms/v2/{self.app_id}/connectioninfo/{made['roomId']}"
            while True:
                info = caller.call("GET", path)
                took = time.perf_counter() - begun
                if info["status"] == "active":
                    break
                if took > START_TIMEOUT_S:
                    raise TimeoutError(f"room {made['roomId']} is {info} after {took:.0f} s")
                time.sleep(poll_s)
        exposed = info["exposedPort"]
        return Room(took * 1000, made["processId"], exposed["host"], exposed["port"])

    def recorded_ms(self, process_id: str) -> float:
        """Milliseconds from ``createdAt`` to ``startedAt``, as the store has them."""
        asked = "SELECT started_at - created_at FROM processes WHERE process_id = ?"
        return float(self._ask(asked, process_id))

    def stop(self, rooms: list[Room]) -> None:
        """End the rooms' processes, and wait until nothing of them is left, and sandboxes are ready."""
        with closing(Caller(self.server.url)) as caller:
            for room in rooms:
                path = f"/processes/v3/apps/{self.app_id}/processes/{room.process_id}/stop"
                caller.call("POST", path)
        self.settle()

    def settle(self) -> None:
        """Wait until there is nothing left to do."""
        left = "SELECT count(*) FROM processes WHERE removed = 0"
        eventually(lambda: self._ask(left) == 0, START_TIMEOUT_S, "processes are removed")
        if self.server.runtime == "container":
            ready = "SELECT count(*) FROM sandboxes WHERE state = 'ready'"
            eventually(
                lambda: self._ask(ready) == SANDBOXES_AHEAD, START_TIMEOUT_S, "sandboxes are ready"
            )
        time.sleep(0.3)  # the last engine calls

    def _ask(self, sql: str, *values: object) -> Any:
        uri = f"file:{self._database}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, timeout=30)) as store:
            return store.execute(sql, values).fetchone()[0]


@contextmanager
def live_studio(run: Run, runtime: str) -> Iterator[Studio]:
    """A server of its own with the game deployed; ``down`` at the end must leave nothing."""
    if not (GAME / "tag").is_file():
        raise RuntimeError("samples/tag/tag is not built; `make sample` builds it")
    run.say(f"a control plane with the {runtime} runtime, and the sample game built on it")
    folder = run.place(f"live-{run.group}")
    settings = {"INNKEEPER_SANDBOXES_AHEAD": str(SANDBOXES_AHEAD), "INNKEEPER_PORT_REST_S": "1"}
    with live_server(runtime, folder, settings) as server:
        studio = Studio(server, folder)
        studio.settle()
        yield studio


def until_bound(sockets: SockDiag, port: int) -> None:
    """Look every 0.2 ms until something has bound the UDP port of this network namespace."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while not sockets.find("udp", port):
        if time.monotonic() > deadline:
            raise TimeoutError(f"nothing has bound port {port}")
        time.sleep(0.0002)


def at_once(count: int, each: Callable[[int], T]) -> list[T]:
    """``each(0)`` to ``each(count - 1)``, all at the same time."""
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(each, range(count)))


def spread(taken_ms: list[float]) -> str:
    """Where the samples lie."""
    return (
        f"p50 {statistics.median(taken_ms):.1f}, from {min(taken_ms):.1f} to {max(taken_ms):.1f} ms"
    )
