"""UDP round trip to a room through its published port, beside the same program run bare."""

import os
import shutil
import statistics
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from bench.live_game import GAME, live_studio, until_bound
from bench.results import Measurement, at_most, not_measured
from bench.run import Run, interleaved
from innkeeper.runtime.sock_diag import SockDiag
from innkeeper.testing.live import claimed_ports

GOAL = at_most("added", 15)
NAME = "udp: round trip to a room"
MESSAGES, BYTES = 3000, 100


def measure(run: Run) -> Iterator[Measurement]:
    """Loopback only, one message at a time."""
    missing = [name for name in ("gcc", "podman") if shutil.which(name) is None]
    if os.geteuid() != 0 or missing:
        why = f"not installed: {', '.join(missing)}" if missing else "needs root"
        yield not_measured(NAME, "us", GOAL, why)
        return
    client = _client(run.place("udp"))
    with live_studio(run, "container") as studio, claimed_ports() as (port, _), _bare(port):
        room = studio.create_to_active(0.01)
        rounds = run.rounds(10)
        run.say(f"{rounds} rounds of {MESSAGES} messages of {BYTES} bytes each way")
        runs = interleaved(
            rounds,
            [
                ("room", lambda: _trips(client, room.host, room.port)),
                ("bare", lambda: _trips(client, "127.0.0.1", port)),
            ],
        )
        studio.stop([room])
    (p50, p99), (bare_p50, bare_p99) = (
        tuple(statistics.median(column) for column in zip(*runs[name], strict=True))
        for name in ("room", "bare")
    )
    detail = f"p99 {p99:.0f} us, bare {bare_p99:.0f} us; through {room.host}:{room.port}"
    yield Measurement(f"{NAME}, beyond bare", "us", p50, bare_p50, GOAL, detail=detail)


def _client(folder: Path) -> Path:
    client = folder / "udp"
    source = Path(__file__).with_name("udp.c")
    flags = ["-std=c11", "-O2", "-Wall", "-Wextra", "-Werror"]
    subprocess.run(["gcc", *flags, "-o", str(client), str(source)], check=True, timeout=60)
    return client


def _trips(client: Path, host: str, port: int) -> tuple[float, float]:
    """Median and 99th percentile, microseconds."""
    command = [str(client), host, str(port), str(MESSAGES), str(BYTES)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"no answer from {host}:{port}/udp: {done.stderr.strip()}")
    p50, p99 = done.stdout.split()
    return float(p50), float(p99)


@contextmanager
def _bare(port: int) -> Iterator[None]:
    """The game as a plain program on this port."""
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(
        [str(GAME / "tag")],
        env={**os.environ, "PORT": str(port)},
        stdin=quiet,
        stdout=quiet,
        stderr=quiet,
    )
    try:
        with closing(SockDiag()) as sockets:
            until_bound(sockets, port)
        yield
    finally:
        process.kill()
        process.wait()
