"""Durable room allocations a second through the store alone: the real use case, schema and writer, no HTTP.

    python -m bench.store_writer [--callers 1,32,256] [--seconds 3] [--processes 10400] [--dir DIR]

Prints, per number of callers, allocations a second, their times, and how many shared a commit.
"""

import argparse
import asyncio
import gc
import random
import statistics
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import uvloop

from innkeeper.core.accounts import ADMIN_SCOPES, Caller
from innkeeper.core.ids import Ids
from innkeeper.core.moments import to_ms
from innkeeper.core.snapshot import Limits
from innkeeper.interfaces import Context, Policy, Tx
from innkeeper.store.opening import open_store
from innkeeper.store.postgres import PostgresStore
from innkeeper.store.sqlite import SqliteStore
from innkeeper.usecases.rooms import NewRoom, create_room

APPS = 20
REGION = "Chicago"
PORTS = '[{"name":"default","host":"127.0.0.1","port":20000,"transport_type":"udp"}]'
NOW = datetime(2030, 1, 1, tzinfo=UTC)
CALLER = Caller("org-1", "org-token-1", ADMIN_SCOPES)


def seed_apps(tx: Tx, apps: int, rooms_per_process: int) -> None:
    """One org, and ``apps`` apps with a deployment each: ``app-0`` with ``dep-0`` …"""
    now = to_ms(NOW)
    tx.run("orgs.insert", org_id="org-1", name="o", max_requested_memory_mb=8192, created_at=now)
    for app in range(apps):
        tx.run(
            "apps.insert", app_id=f"app-{app}", org_id="org-1", app_name=f"a{app}", app_secret="s",
            auth_configuration="{}", service_config=None, created_at=now, created_by="t",
        )  # fmt: skip
        tx.run(
            "builds.insert", build_key=f"b{app}", build_id=f"bld-{app}", org_id="org-1",
            build_tag=None, kind="upload", upload_size=1, created_at=now, created_by="t",
        )  # fmt: skip
        tx.run(
            "deployments.insert", deployment_id=f"dep-{app}", app_id=f"app-{app}", number=1,
            build_key=f"b{app}", build_id=f"bld-{app}", build_tag=None, deployment_tag=None,
            created_at=now, created_by="t", cpu_millis=500, memory_mb=512, gpu=0,
            rooms_per_process=rooms_per_process, ports=PORTS, env="[]", idle_timeout_enabled=1,
            fleet_id=None,
        )  # fmt: skip
        tx.run("build_numbers.insert", app_id=f"app-{app}", number=1, build_key=f"b{app}")
        tx.run("deployments.make_latest", app_id=f"app-{app}", deployment_id=f"dep-{app}", number=1)


def seed(tx: Tx, processes: int) -> None:
    """``APPS`` apps, and ``processes`` running processes among them."""
    now = to_ms(NOW)
    seed_apps(tx, APPS, 10_000)
    for number in range(processes):
        app = number % APPS
        tx.run(
            "processes.insert", process_id=f"process-{number}", app_id=f"app-{app}",
            org_id="org-1", deployment_id=f"dep-{app}", deployment_number=1, region=REGION,
            rooms_per_process=10000, rooms_allocated=0, cpu_millis=500, memory_mb=512,
            created_at=now + number, exposed_ports=PORTS, sandbox_id=None, initial_room_id=None,
            fleet_id=None, hosting="shared", made_for="room",
        )  # fmt: skip
        tx.run("processes.mark_started", process_id=f"process-{number}", at=now + number)


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one run: allocations a second, their times, and how many shared a commit."""

    rate: float
    p50_ms: float
    p99_ms: float
    shared: float

    def text(self) -> str:
        """For people."""
        return (
            f"{self.rate:7,.0f}/s, p50 {self.p50_ms:.2f} ms, p99 {self.p99_ms:.2f} ms, "
            f"{self.shared:.1f} a commit"
        )


async def measure(store: SqliteStore | PostgresStore, callers: int, seconds: float) -> Figures:
    """Run ``callers`` endless callers for ``seconds``, each with its app's lock, as the API does."""
    ids = Ids(random.SystemRandom().getrandbits)
    policy = Policy((REGION,), "127.0.0.1", Limits())
    taken: list[float] = []
    end = time.perf_counter() + seconds

    async def caller(number: int) -> None:
        wanted = NewRoom(f"app-{number % APPS}", REGION)
        locks = ((wanted.app_id, REGION),)
        began = time.perf_counter()
        while began < end:
            context = Context(NOW, ids, policy)
            work = partial(create_room, caller=CALLER, wanted=wanted, context=context)
            await store.write(work, locks)
            done = time.perf_counter()
            taken.append(done - began)
            began = done

    commits = store.commits
    began = time.perf_counter()
    await asyncio.gather(*(caller(number) for number in range(callers)))
    rate = len(taken) / (time.perf_counter() - began)
    cuts = statistics.quantiles(taken, n=100)
    shared = len(taken) / (store.commits - commits)
    return Figures(rate, cuts[49] * 1000, cuts[98] * 1000, shared)


def settle_collector() -> None:
    """As a control plane does once it serves."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 1000)


async def main(options: argparse.Namespace) -> None:
    """Measure each number of callers in turn on one new store."""
    with tempfile.TemporaryDirectory(dir=options.dir) as directory:
        store = await open_store(Path(directory) / "bench.db")
        await store.write(lambda tx: seed(tx, options.processes))
        settle_collector()
        for callers in map(int, options.callers.split(",")):
            figures = await measure(store, callers, options.seconds)
            print(f"{callers:4} callers: {figures.text()}", flush=True)
        log = Path(directory) / "bench.db-wal"
        print(f"write-ahead log: {log.stat().st_size / 2**20:.0f} MiB")
        await store.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--callers", default="1,32,256")
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--processes", type=int, default=10_400)
    parser.add_argument("--dir", help="where to make the store; the disk that is to be measured")
    uvloop.run(main(parser.parse_args()))
