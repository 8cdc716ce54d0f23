"""Durable rooms a second over HTTP, on one control plane over the mock runtime.

Baseline: the same program answering the same body without the store.
"""

import sqlite3
import statistics
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench.http_load import Load, ask_for_rooms, have_wrk
from bench.results import Measurement, at_least, at_most
from bench.run import Program, Run, interleaved, median_ratio, program

CALLERS = (1, 32, 256)
PROCESSES = 300  # of 10,000 rooms each: no run fills them
CONTROL_PLANE = "bench.mock_control_plane"
RATE = at_least("value", 8000)
RATIO = at_least("ratio", 0.6)
P99 = at_most("value", 15)


@dataclass(frozen=True, slots=True)
class Seen:
    """One run: the load, and the processor time the control plane spent on each request (microseconds)."""

    load: Load
    cpu_us: float


def ask(server: Program, callers: int, seconds: int) -> Seen:
    """One bounded run against a control plane."""
    url = server.told["url"] + server.told["path"]
    before = server.cpu_s()
    load = ask_for_rooms(url, server.told["token"], callers, seconds)
    return Seen(load, (server.cpu_s() - before) / load.requests * 1e6)


def measure(run: Run) -> Iterator[Measurement]:
    """Rooms on running processes at each number of callers, then rooms that each need a new process."""
    if not have_wrk():
        run.say("[bold red]wrk is missing[/]: our own generator takes far more of the machine")
    with ExitStack() as stack:
        data_dir = run.place("allocation")
        arguments = ["--processes", str(PROCESSES)]
        store = stack.enter_context(program(CONTROL_PLANE, [str(data_dir), *arguments]))
        plain_dir = str(run.place("allocation-plain"))
        plain = stack.enter_context(
            program(CONTROL_PLANE, [plain_dir, *arguments, "--without-store"])
        )
        answered = 0
        for server in (store, plain):  # warm up
            answered += ask(server, 32, 1).load.requests * (server is store)
        for callers in CALLERS:
            lines, rooms = _with_callers(run, store, plain, callers)
            yield from lines
            answered += rooms
        _check_rooms(data_dir, answered)
    yield _new_processes(run)


def _with_callers(
    run: Run, store: Program, plain: Program, callers: int
) -> tuple[list[Measurement], int]:
    run.say(f"rooms on running processes, {callers} callers")
    seconds = run.seconds(3)
    runs = interleaved(
        run.rounds(5),
        [
            ("store", partial(ask, store, callers, seconds)),
            ("plain", partial(ask, plain, callers, seconds)),
        ],
    )
    durable, without = runs["store"], runs["plain"]
    rates, plain_rates = ([s.load.rate for s in x] for x in (durable, without))
    p50, p99 = (
        [statistics.median(getattr(s.load, name) for s in x) for x in (durable, without)]
        for name in ("p50_ms", "p99_ms")
    )
    name = f"allocation {callers}"
    rate, plain_rate = statistics.median(rates), statistics.median(plain_rates)
    aim = callers == 32
    ratio = median_ratio(rates, plain_rates)
    cpu, plain_cpu = (statistics.median(s.cpu_us for s in x) for x in (durable, without))
    detail = (
        f"p50 {p50[0]:.2f} ms, p99 {p99[0]:.2f} ms, from {min(rates):,.0f} to {max(rates):,.0f}/s; "
        f"processor time a room {cpu:.0f} us, without the store {plain_cpu:.0f} us"
    )
    lines = [
        Measurement(f"{name}: rate", "1/s", rate, plain_rate, RATE if aim else None, ratio, detail),
        Measurement(f"{name}: p99", "ms", p99[0], p99[1], P99 if aim else None),
    ]
    if aim:
        of = "rate to that without the store"
        lines.insert(1, Measurement(f"{name}: {of}", "1/s", rate, plain_rate, RATIO, ratio))
    return lines, sum(s.load.requests for s in durable)


def _check_rooms(data_dir: Path, answered: int) -> None:
    """Every room that was answered must be in the store: otherwise the figures mean nothing."""
    with closing(sqlite3.connect(data_dir / "innkeeper.db")) as store:
        kept = store.execute("SELECT count(*) FROM rooms").fetchone()[0]
    if kept < answered:
        raise RuntimeError(f"{answered} rooms were answered, and the store holds {kept}")


def _new_processes(run: Run) -> Measurement:
    """One room a process: each room needs a process row, capacity, a port, and a start."""
    run.say("rooms that each need a new process, 32 callers")

    def once() -> Seen:
        data_dir = run.place(f"new-{len(list(run.folder.iterdir()))}")
        with program(CONTROL_PLANE, [str(data_dir), "--rooms-per-process", "1"]) as server:
            return ask(server, 32, run.seconds(2))

    runs = [once() for _ in range(run.rounds(3))]
    rate = statistics.median(seen.load.rate for seen in runs)
    p50, p99 = (
        statistics.median(getattr(seen.load, name) for seen in runs)
        for name in ("p50_ms", "p99_ms")
    )
    detail = f"p50 {p50:.2f} ms, p99 {p99:.2f} ms; the mock runtime starts them meanwhile"
    name = "allocation 32, a new process each: rate"
    return Measurement(name, "1/s", rate, detail=detail)
