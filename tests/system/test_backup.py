"""A backup of a live server that takes rooms meanwhile, and two ways back: here, and on a bare machine."""

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from innkeeper.testing import host_facts
from innkeeper.testing.live import ADMIN_TOKEN, LiveServer, claimed_ports, eventually
from innkeeper.testing.live_studio import LiveStudio
from innkeeper.testing.official_sdk import Bridge, SdkError
from innkeeper.testing.players import Steady, address_of


def command(server: LiveServer, *words: str | Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "innkeeper.cli", *words, "--data-dir", server.data_dir],
        env=server.environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@contextmanager
def creating_rooms(server: LiveServer, app_id: str) -> Iterator[list[str]]:
    """Somebody who never stops creating rooms of one process; the ids that were answered."""
    answered: list[str] = []
    enough = threading.Event()

    def create() -> None:
        with server.http() as http:
            while not enough.is_set():
                answer = http.post(f"/rooms/v2/{app_id}/create", json={"region": "Tokyo"})
                assert answer.status_code == 201, answer.text
                answered.append(answer.json()["roomId"])

    thread = threading.Thread(target=create)
    thread.start()
    try:
        eventually(lambda: len(answered) > 20, 10, "rooms are created")
        yield answered
    finally:
        enough.set()
        thread.join(30)


@pytest.mark.timeout(180)
def test_a_backup_of_a_live_server_brings_it_back(
    server: LiveServer,
    studio: LiveStudio,
    game: bytes,
    tmp_path: Path,
    bridge: Bridge,
    on_database: Callable[[], dict[str, str]],
) -> None:
    """In PostgreSQL a restore fills a new database: then each is given one."""
    app_id, backup = studio.app(), tmp_path / "backup.tar"
    studio.deploy(app_id, studio.build(game)["buildId"], roomsPerProcess=5000)
    first = studio.room(app_id, region="Tokyo")
    ports = studio.active(app_id, first["roomId"])
    address = address_of(ports["exposedPort"])
    with Steady(address, address_of(ports["additionalExposedPorts"][0])) as player:
        with creating_rooms(server, app_id) as answered:
            before = list(answered)
            done = command(server, "backup", backup)
            after = len(answered)
        assert done.returncode == 0, done.stderr
        assert after > len(before), "rooms were created meanwhile"
        assert command(server, "restore", backup, "--force").returncode == 1, "the server runs"
        stray = studio.room(app_id, region="London")
        studio.active(app_id, stray["roomId"])
        server.kill()
        server.settings = {**server.settings, **on_database()}
        done = command(server, "restore", backup, "--force")
        assert done.returncode == 0, done.stderr
        server.start()
        # What ran and is known plays on; what ran and is not known is an orphan, and ends.
        studio.reaches(app_id, first["processId"], "running")
        known = {first["processId"]}
        eventually(lambda: set(host_facts.games(app_id, "tag")) == known, 40, "the orphan ends")
        player.plays_on()
    assert player.faults == []
    rooms = studio.sdk("roomsV2.getActiveRoomsForProcess", first["processId"], app_id)
    restored = {room["roomId"] for room in rooms}
    assert set(before) < restored, "what was answered before the backup began is in it"
    assert studio.process(app_id, first["processId"])["roomsAllocated"] == len(restored)
    with pytest.raises(SdkError, match="404"):
        studio.sdk("roomsV2.getRoomInfo", stray["roomId"], app_id)
    assert server.down().returncode == 0
    server.settings = {**server.settings, **on_database()}
    on_a_bare_machine(server, backup, app_id, first, bridge)


def on_a_bare_machine(
    server: LiveServer, backup: Path, app_id: str, first: dict[str, str], bridge: Bridge
) -> None:
    """Records whose process is gone end with a reason, and the builds are there for new rooms."""
    with claimed_ports() as ports:
        data_dir = server.data_dir.with_name("bare")
        bare = LiveServer(server.runtime, data_dir, ports, server.settings)
        done = command(bare, "restore", backup)
        assert done.returncode == 0, done.stderr
        try:
            bare.start()
            sdk = bridge.client(serverURL=bare.url, hathoraDevToken=ADMIN_TOKEN)
            studio = LiveStudio(sdk, bare)
            ended = studio.reaches(app_id, first["processId"], "failed", "stopped")
            assert ended["summaryExitReason"]
            info = studio.sdk("roomsV2.getRoomInfo", first["roomId"], app_id)
            assert info["status"] == "destroyed"
            studio.active(app_id, studio.room(app_id, region="Tokyo")["roomId"])
        finally:
            assert bare.down().returncode == 0
