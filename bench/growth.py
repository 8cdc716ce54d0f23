"""Whether rooms come as quickly when the store has seen many processes: 100,000 against 100."""

import sqlite3
import statistics
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path

from bench.allocation import CONTROL_PLANE, ask
from bench.results import Measurement, at_least
from bench.run import Program, Run, interleaved, median_ratio, program

FEW, MANY = 100, 100_000
# "Within 1.3 times": the rate with many is at least this much of the rate with few.
GOAL = at_least("ratio", 1 / 1.3)

_COPIES = """
WITH RECURSIVE number(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < :count)
INSERT INTO processes ({columns})
SELECT {values} FROM number, (SELECT * FROM processes LIMIT 1) AS one
"""
# Ids as random as real ones: they decide where in the indexes a row lands.
_ID = "lower(hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-4' || hex(randomblob(7)))"
_OPEN = {"process_id": _ID, "created_at": "one.created_at - n * 1000"}
_ENDED = {
    **_OPEN,
    "rooms_allocated": "0",
    "accepting": "0",
    "stopping_at": "one.created_at - n * 1000 + 900",
    "terminated_at": "one.created_at - n * 1000 + 950",
    "summary_exit_reason": "'Stopped by API request'",
    "removed": "1",
}
_ROOMS_OF_ENDED = f"""
INSERT INTO rooms (room_id, app_id, region, status, created_at, destroyed_at, end_reason)
SELECT substr({_ID}, 1, 13), app_id, region, 'destroyed', created_at, terminated_at, 'process ended'
FROM processes WHERE removed = 1
"""


def measure(run: Run) -> Iterator[Measurement]:
    """Nearly all of the many have ended; then, for the placement alone, all of them are open."""
    yield _compare(run, "ended", f"{MANY:,} processes, {FEW} of them live", _ENDED, [])
    # More than one machine's ports could carry, so nothing but the store can hold so many.
    alone = ["--without-passes"]
    yield _compare(run, "open", f"{MANY:,} open processes, placement alone", _OPEN, alone)


def add_copies(database: Path, count: int, changed: Mapping[str, str]) -> None:
    """``count`` copies of the first process of a store that nobody has open; an ended one had a room."""
    with closing(sqlite3.connect(database)) as store, store:
        columns = [row[1] for row in store.execute("PRAGMA table_info(processes)")]
        values = [changed.get(column, f"one.{column}") for column in columns]
        statement = _COPIES.format(columns=", ".join(columns), values=", ".join(values))
        store.execute(statement, {"count": count})
        store.execute(_ROOMS_OF_ENDED)


def _compare(
    run: Run, name: str, what: str, changed: Mapping[str, str], options: list[str]
) -> Measurement:
    run.say(f"making {what}")
    folders = {size: run.place(f"growth-{name}-{size}") for size in ("few", "many")}
    for folder in folders.values():
        with program(CONTROL_PLANE, [str(folder), "--processes", str(FEW)]):
            pass
    add_copies(folders["many"] / "innkeeper.db", MANY - FEW, changed)
    with ExitStack() as stack:
        servers: dict[str, Program] = {
            size: stack.enter_context(program(CONTROL_PLANE, [str(folder), "--resume", *options]))
            for size, folder in folders.items()
        }
        for server in servers.values():
            ask(server, 32, 1)
        run.say(what)
        seconds = run.seconds(3)
        runs = interleaved(
            run.rounds(5),
            [(size, partial(ask, server, 32, seconds)) for size, server in servers.items()],
        )
    rates = {size: [seen.load.rate for seen in found] for size, found in runs.items()}
    return Measurement(
        f"growth: rate with {what}",
        "1/s",
        statistics.median(rates["many"]),
        statistics.median(rates["few"]),
        GOAL,
        median_ratio(rates["many"], rates["few"]),
        f"the baseline is the rate with {FEW} processes; within 1.3 times is 1 / 1.3",
    )
