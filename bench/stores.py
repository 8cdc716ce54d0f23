"""Durable allocations a second through a store alone, without HTTP: PostgreSQL beside SQLite, in turn.

The use case, schema and writer are the real ones; 20 apps with 10,400 running processes.
"""

import asyncio
import statistics
from collections.abc import Iterator

import uvloop

from bench.results import Measurement
from bench.run import Run, median_ratio
from bench.servers import postgres_of
from bench.store_writer import Figures, seed, settle_collector
from bench.store_writer import measure as measure_store
from innkeeper.store.opening import open_store
from innkeeper.testing.postgres_server import PostgresServer

CALLERS = (32, 256)
PROCESSES = 10_400


def measure(run: Run) -> Iterator[Measurement]:
    """One line for each number of callers."""
    with postgres_of(run) as server:
        yield from uvloop.run(_measured(run, server))


async def _measured(run: Run, server: PostgresServer) -> list[Measurement]:
    database = server.new_database()
    stores = {
        "PostgreSQL": await open_store(server.url(database)),
        "SQLite": await open_store(run.place("stores") / "innkeeper.db"),
    }
    for store in stores.values():
        await store.write(lambda tx: seed(tx, PROCESSES))
        await measure_store(store, 32, 0.5)  # warm up
    await asyncio.to_thread(_settle_tables, server, database)
    settle_collector()
    lines = []
    for callers in CALLERS:
        run.say(f"{callers} callers, both stores in turn")
        found: dict[str, list[Figures]] = {name: [] for name in stores}
        for number in range(run.rounds(5)):
            for name in stores if number % 2 == 0 else reversed(stores):
                found[name].append(await measure_store(stores[name], callers, run.seconds(2)))
        lines.append(_line(callers, found["PostgreSQL"], found["SQLite"]))
    for store in stores.values():
        await store.close()
    return lines


def _settle_tables(server: PostgresServer, database: str) -> None:
    """As its own maintenance would, had the tables grown at the pace of a day."""
    with server.connect(database) as connection:
        connection.execute("VACUUM ANALYZE")


def _line(callers: int, seen: list[Figures], baseline: list[Figures]) -> Measurement:
    rates, baselines = ([figures.rate for figures in each] for each in (seen, baseline))
    p50, p99, shared = (
        statistics.median(getattr(figures, name) for figures in seen)
        for name in ("p50_ms", "p99_ms", "shared")
    )
    detail = (
        f"ratio to SQLite; p50 {p50:.2f} ms, p99 {p99:.2f} ms, {shared:.0f} a commit; "
        f"from {min(rates):,.0f} to {max(rates):,.0f}/s"
    )
    return Measurement(
        f"store {callers} callers: PostgreSQL",
        "1/s",
        statistics.median(rates),
        statistics.median(baselines),
        None,
        median_ratio(rates, baselines),
        detail,
    )
