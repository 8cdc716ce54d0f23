"""From CreateRoom to "active" for a new container, which has a network of its own.

Baselines: the engine's own API starting the same image on the host's network until its port is bound, and
bare ``runc run`` of the same program.
"""

import asyncio
import http.client
import json
import os
import shutil
import socket
import statistics
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from bench.live_game import GAME, Room, Studio, at_once, live_studio, spread, until_bound
from bench.results import Measurement, at_most, not_measured
from bench.run import Run, interleaved
from innkeeper.runtime.engine_service import find_engine
from innkeeper.runtime.sock_diag import SockDiag
from innkeeper.testing.live import claimed_ports

GOAL = at_most("ratio", 1.15)
POLL_S = 0.003


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("engine", timeout=60)
        self._path = path

    def connect(self) -> None:
        """To the path in place of a host."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(str(self._path))


class Engine:
    """The engine's own API, as anybody could use it."""

    def __init__(self, socket_path: Path, image: str, first_port: int) -> None:
        self._path, self._image, self._first_port = socket_path, image, first_port
        self._made: list[str] = []

    def start_to_bound(self, index: int) -> float:
        """Create and start a container on the host's network; milliseconds until its port is bound."""
        port = self._first_port + index
        name = f"innkeeper-bench-{os.getpid()}-{len(self._made)}-{index}"
        limit = {"Soft": 1024, "Hard": 4096}
        # Podman's compatible API needs the limits said; see docs/explanation/measurements.md.
        wanted = {
            "Image": self._image,
            "Env": [f"PORT={port}"],
            "HostConfig": {
                "NetworkMode": "host",
                "Ulimits": [{"Name": name, **limit} for name in ("nofile", "nproc")],
            },
        }
        with closing(_UnixConnection(self._path)) as http_, closing(SockDiag()) as sockets:
            begun = time.perf_counter()
            made = _call(http_, "POST", f"/v1.41/containers/create?name={quote(name)}", wanted)
            self._made.append(made["Id"])
            _call(http_, "POST", f"/v1.41/containers/{made['Id']}/start")
            until_bound(sockets, port)
            return (time.perf_counter() - begun) * 1000

    def clean(self) -> None:
        """Remove what was started."""
        with closing(_UnixConnection(self._path)) as http_:
            for made in self._made:
                _call(http_, "DELETE", f"/v1.41/containers/{made}?force=true&v=true")
        self._made.clear()


def _call(http_: http.client.HTTPConnection, method: str, path: str, body: Any = None) -> Any:
    sent = None if body is None else json.dumps(body)
    http_.request(method, path, sent, {"Content-Type": "application/json"})
    answer = http_.getresponse()
    text = answer.read()
    if answer.status >= 300:
        raise RuntimeError(f"{method} {path}: {answer.status} {text.decode(errors='replace')}")
    return json.loads(text) if text else None


class Runc:
    """``runc run`` of the game on the host's network, without any engine."""

    def __init__(self, folder: Path, first_port: int) -> None:
        self._folder, self._first_port = folder, first_port
        self._root = folder / "state"
        self._running: list[tuple[str, subprocess.Popen[bytes]]] = []

    def start_to_bound(self, index: int) -> float:
        """Milliseconds from ``runc run`` until the port is bound."""
        port = self._first_port + index
        bundle = self._bundle(index, port)
        name = f"innkeeper-bench-{os.getpid()}-{index}"
        command = ["runc", "--root", str(self._root), "run", "--bundle", str(bundle), name]
        quiet = subprocess.DEVNULL
        with closing(SockDiag()) as sockets:
            begun = time.perf_counter()
            self._running.append(
                (name, subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet))
            )
            until_bound(sockets, port)
            return (time.perf_counter() - begun) * 1000

    def clean(self) -> None:
        """End and forget what was started."""
        for name, process in self._running:
            delete = ["runc", "--root", str(self._root), "delete", "--force", name]
            subprocess.run(delete, check=True, timeout=30, capture_output=True)
            process.wait(30)
        self._running.clear()

    def _bundle(self, index: int, port: int) -> Path:
        bundle = self._folder / f"bundle-{index}"
        if not bundle.exists():
            (bundle / "rootfs").mkdir(parents=True)
            shutil.copy(GAME / "tag", bundle / "rootfs" / "tag")
            subprocess.run(["runc", "spec"], cwd=bundle, check=True, timeout=30)
            config = json.loads((bundle / "config.json").read_text())
            config["process"] |= {"terminal": False, "args": ["/tag"], "env": [f"PORT={port}"]}
            config["process"].pop("rlimits", None)
            spaces = config["linux"]["namespaces"]
            config["linux"]["namespaces"] = [s for s in spaces if s["type"] != "network"]
            (bundle / "config.json").write_text(json.dumps(config))
        return bundle


def measure(run: Run) -> Iterator[Measurement]:
    """At 1 and at 4 in parallel."""
    missing = [name for name in ("runc", "podman") if shutil.which(name) is None]
    if os.geteuid() != 0 or missing:
        why = f"not installed: {', '.join(missing)}" if missing else "needs root"
        yield not_measured("containers: create to active", "ms", GOAL, why)
        return
    with live_studio(run, "container") as studio, claimed_ports() as (first, _):
        found = asyncio.run(find_engine(studio.server.data_dir))
        engine = Engine(found.socket_path, studio.image(), first)
        runc = Runc(run.place("runc"), first + 32)
        with _cleaned(engine, runc):
            for parallel, rounds in ((1, 15), (4, 6)):
                run.say(f"{parallel} new containers at a time, {run.rounds(rounds)} rounds")
                yield from _compare(studio, engine, runc, parallel, run.rounds(rounds))


@contextmanager
def _cleaned(engine: Engine, runc: Runc) -> Iterator[None]:
    try:
        yield
    finally:
        engine.clean()
        runc.clean()


def _compare(
    studio: Studio, engine: Engine, runc: Runc, parallel: int, rounds: int
) -> Iterator[Measurement]:
    recorded: list[float] = []

    def ours() -> list[float]:
        rooms: list[Room] = at_once(parallel, lambda _: studio.create_to_active(POLL_S))
        recorded.extend(studio.recorded_ms(room.process_id) for room in rooms)
        studio.stop(rooms)
        return [room.took_ms for room in rooms]

    def engines() -> list[float]:
        try:
            return at_once(parallel, engine.start_to_bound)
        finally:
            engine.clean()

    def runcs() -> list[float]:
        try:
            return at_once(parallel, runc.start_to_bound)
        finally:
            runc.clean()

    runs = interleaved(rounds, [("ours", ours), ("engine", engines), ("runc", runcs)])
    taken = {name: [ms for ms_list in found for ms in ms_list] for name, found in runs.items()}
    p50 = {name: statistics.median(found) for name, found in taken.items()}
    detail = (
        f"ours {spread(taken['ours'])} (createdAt to startedAt: {spread(recorded)}); "
        f"engine on the host's network {spread(taken['engine'])}; runc {spread(taken['runc'])}"
    )
    name = f"containers, {parallel} at a time: create to active"
    yield Measurement(f"{name} / engine", "ms", p50["ours"], p50["engine"], GOAL, detail=detail)
    yield Measurement(f"{name} / runc", "ms", p50["ours"], p50["runc"])
