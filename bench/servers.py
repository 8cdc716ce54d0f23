"""Durable rooms a second of one server and of three on one PostgreSQL, over the mock runtime.

Baseline: one server on SQLite, in the same rounds. The machine's cores bound what three can give: the load
generator, PostgreSQL and every server share them.
"""

import os
import statistics
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from bench.http_load import ask_for_rooms
from bench.results import Measurement
from bench.run import Program, Run, interleaved, median_ratio, program
from innkeeper.testing.live_database import opened
from innkeeper.testing.postgres_server import PostgresServer, running_postgres

CALLERS = 48
PROCESSES = 100  # of each app, with 10,000 rooms each: no run fills them
SERVERS = 3
CONTROL_PLANE = "bench.mock_control_plane"


def measure(run: Run) -> Iterator[Measurement]:
    """One app whose rooms all servers give out, then an app for each server."""
    with ExitStack() as stack:
        postgres = stack.enter_context(postgres_of(run))
        sqlite = stack.enter_context(_control_plane(run.place("servers-sqlite"), 1))
        url, data_dir = postgres.url(postgres.new_database()), run.place("servers-postgresql")
        first = stack.enter_context(_control_plane(data_dir, SERVERS, "--database", url))
        resumed = [str(data_dir), "--resume", "--database", url]
        others = [program(CONTROL_PLANE, resumed) for _ in range(1, SERVERS)]
        every = [first, *(stack.enter_context(other) for other in others)]
        paths = _paths(url)
        _ask(every, paths, 1)  # warm up
        seconds = run.seconds(3)
        measures: list[tuple[str, Callable[[], float]]] = [
            ("sqlite", partial(_ask, [sqlite], [sqlite.told["path"]], seconds)),
            ("one", partial(_ask, [first], paths[:1], seconds)),
            ("same", partial(_ask, every, paths[:1], seconds)),
            ("own", partial(_ask, every, paths, seconds)),
        ]
        run.say(f"{CALLERS} callers: one server on SQLite, one and {SERVERS} on PostgreSQL")
        found = interleaved(run.rounds(5), measures)
        _check_packing(url)
    yield _line("1 server on PostgreSQL", found["one"], found["sqlite"], "one on SQLite")
    yield _line(f"{SERVERS} servers, one app", found["same"], found["one"], "1 on PostgreSQL")
    yield _line(f"{SERVERS} servers, an app each", found["own"], found["one"], "1 on PostgreSQL")


@contextmanager
def postgres_of(run: Run) -> Iterator[PostgresServer]:
    """A PostgreSQL on the disk that is measured."""
    with running_postgres(run.folder.parent) as server:  # its user cannot enter the folder itself
        yield server


@contextmanager
def _control_plane(data_dir: Path, apps: int, *more: str) -> Iterator[Program]:
    arguments = ["--processes", str(PROCESSES), "--apps", str(apps), *more]
    with program(CONTROL_PLANE, [str(data_dir), *arguments]) as made:
        yield made


def _paths(url: str) -> list[str]:
    with opened(Path(), url) as ask:
        return [f"/rooms/v2/{row[0]}/create" for row in ask("SELECT app_id FROM apps ORDER BY 1")]


def _ask(servers: list[Program], paths: list[str], seconds: int) -> float:
    """Rooms a second of all servers together, each with its share of the callers."""
    share = CALLERS // len(servers)

    def one(number: int) -> float:
        server = servers[number]
        url = server.told["url"] + paths[number % len(paths)]
        return ask_for_rooms(url, server.told["token"], share, seconds).rate

    with ThreadPoolExecutor(len(servers)) as pool:
        return sum(pool.map(one, range(len(servers))))


def _check_packing(url: str) -> None:
    """Slots that were given are slots that were counted: otherwise the figures mean nothing."""
    asked = (
        "SELECT count(*) FROM processes p WHERE rooms_allocated <>"
        " (SELECT count(*) FROM rooms r WHERE r.process_id = p.process_id)"
    )
    with opened(Path(), url) as ask:
        ((wrong,),) = ask(asked)
        ((crowded,),) = ask("SELECT count(*) FROM processes WHERE rooms_allocated > 0")
        ((rooms,),) = ask("SELECT count(*) FROM rooms")
    if wrong or crowded > rooms // 10_000 + SERVERS:
        raise RuntimeError(f"{wrong} processes miscount; {rooms} rooms are on {crowded} processes")


def _line(name: str, values: list[float], baselines: list[float], of: str) -> Measurement:
    value, baseline = statistics.median(values), statistics.median(baselines)
    detail = (
        f"ratio to {of}; from {min(values):,.0f} to {max(values):,.0f}/s; "
        f"{len(os.sched_getaffinity(0))} cores for servers, store and load together"
    )
    ratio = median_ratio(values, baselines)
    return Measurement(f"servers: {name}", "1/s", value, baseline, None, ratio, detail)
