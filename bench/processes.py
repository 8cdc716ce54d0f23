"""From CreateRoom to "active" for a new host process, beside plain fork and exec of the same program."""

import os
import statistics
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing

from bench.live_game import GAME, Studio, live_studio, spread, until_bound
from bench.results import Measurement, at_most
from bench.run import Run, interleaved
from innkeeper.runtime.sock_diag import SockDiag
from innkeeper.testing.live import claimed_ports

ADDED = at_most("added", 5)
READY = at_most("value", 10)
POLL_S = 0.001
STARTS = 40


def measure(run: Run) -> Iterator[Measurement]:
    """One at a time, in turn with the baseline."""
    with live_studio(run, "process") as studio, claimed_ports() as (port, _):
        rounds = run.rounds(STARTS)
        run.say(f"{rounds} new host processes, and as many plain ones")
        recorded: list[float] = []
        runs = interleaved(
            rounds, [("ours", lambda: _ours(studio, recorded)), ("plain", lambda: _plain(port))]
        )
    ours, plain = statistics.median(runs["ours"]), statistics.median(runs["plain"])
    detail = (
        f"ours {spread(runs['ours'])} (createdAt to startedAt: {spread(recorded)}); "
        f"plain {spread(runs['plain'])}"
    )
    name = "processes: create to active"
    yield Measurement(f"{name}, beyond fork and exec", "ms", ours, plain, ADDED, detail=detail)
    yield Measurement(f"{name}, p50", "ms", ours, plain, READY)


def _ours(studio: Studio, recorded: list[float]) -> float:
    room = studio.create_to_active(POLL_S)
    recorded.append(studio.recorded_ms(room.process_id))
    studio.stop([room])
    return room.took_ms


def _plain(port: int) -> float:
    """Milliseconds from fork and exec until the port is bound."""
    quiet = subprocess.DEVNULL
    with closing(SockDiag()) as sockets:
        begun = time.perf_counter()
        process = subprocess.Popen(
            [str(GAME / "tag")],
            env={**os.environ, "PORT": str(port)},
            stdin=quiet,
            stdout=quiet,
            stderr=quiet,
        )
        try:
            until_bound(sockets, port)
            return (time.perf_counter() - begun) * 1000
        finally:
            process.kill()
            process.wait()
