"""`make chaos` in small, and that it sees what it looks for."""

import asyncio
import os
import re
import signal
import sqlite3
import subprocess
import uuid
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from innkeeper.store.opening import database_path
from innkeeper.testing import chaos, chaos_checks, host_facts
from innkeeper.testing.chaos_plan import FaultKind, plan
from innkeeper.testing.chaos_scene import COMMAND, SAMPLE, Scene
from innkeeper.testing.chaos_store import FileStore, store_of
from innkeeper.testing.live import LiveServer, claimed_ports


def test_a_seed_tells_the_same_plan_again_and_every_fault_comes() -> None:
    kinds: tuple[FaultKind, ...] = ("kill server", "kill engine", "slow store")
    first, again = plan(7, 20, kinds), plan(7, 20, kinds)
    assert first == again != plan(8, 20, kinds)
    counted = Counter(fault.kind for each in first for fault in each.faults)
    assert counted.keys() == set(kinds)
    assert max(counted.values()) - min(counted.values()) <= 1
    assert {len(each.faults) for each in first} == {1, 2}


@pytest.mark.timeout(120)
def test_two_rounds_of_real_faults_lose_nothing(tmp_path: Path) -> None:
    with store_of("sqlite", tmp_path / "store") as store:
        only = ("kill server", "full disk" if "full disk" in store.faults else "slow store")
        report = asyncio.run(chaos.run("process", tmp_path, store, 3, 2, only))
    assert report.ledger.losses == [], report.line()
    assert report.rounds == 2
    assert len(report.ledger.accepted) > 5
    assert "players cut 0, rooms lost 0, ports leaked 0, containers leaked 0" in report.line()


def behind_its_back(scene: Scene, sql: str) -> None:
    path = database_path(scene.store.url)
    with closing(sqlite3.connect(path, timeout=10)) as connection, connection:
        assert connection.execute(sql).rowcount == 1


async def plant(scene: Scene) -> None:
    """A lost room, a game without a record on a port of ours, a leaked port, a cut player."""
    async with scene.client() as http, scene.playing("London") as player:
        lost, _ = await scene.create_room(http, "Tokyo")
        await chaos_checks.rest(scene)
        behind_its_back(scene, f"DELETE FROM rooms WHERE room_id = '{lost}'")
        last = scene.server.ports[1]
        behind_its_back(scene, f"UPDATE host_ports SET owner = 'nobody' WHERE port = {last}")
        stray = subprocess.Popen(
            [SAMPLE / "tag"],
            env={
                "HATHORA_APP_ID": scene.app_id,
                "HATHORA_PROCESS_ID": str(uuid.uuid4()),
                "PORT": str(last - 1),
            },
        )
        try:
            for pid in host_facts.games(scene.app_id, COMMAND)[player.process_id]:
                os.kill(pid.pid, signal.SIGKILL)
            now, seen = await chaos_checks.rest(scene)
            await asyncio.to_thread(chaos_checks.check, scene, now, seen)
        finally:
            stray.kill()
            stray.wait()


@pytest.mark.timeout(120)
def test_what_is_lost_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chaos_checks, "REST_TIMEOUT_S", 4.0)
    with claimed_ports() as ports:
        store = FileStore(tmp_path, small=False)
        settings = {**chaos.SETTINGS, "INNKEEPER_DATABASE": store.url}
        server = LiveServer("process", tmp_path / "data", ports, settings)
        scene = Scene(server, store)
        try:
            server.start()
            scene.deploy()
            asyncio.run(plant(scene))
        finally:
            server.down()
    told = "\n".join(map(str, scene.ledger.losses))
    for words in (
        "room lost: .* was answered 201, and is not on record",
        "room lost: .* ended: ",
        "container leaked: process .* runs without a record",
        f"port leaked: {ports[1]} belongs to nobody, which is gone",
        f"port leaked: {ports[1] - 1} is open, and nobody owns it",
        "player cut: in room ",
    ):
        assert any(re.search(words, line) for line in told.splitlines()), (words, told)
