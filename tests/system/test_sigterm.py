"""Ending the control plane leaves the games; ``innkeeper down`` ends those too."""

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import httpx
import pytest

from innkeeper.testing import host_facts
from innkeeper.testing.live import ADMIN_TOKEN, LiveServer, eventually
from innkeeper.testing.live_studio import Json, LiveStudio
from innkeeper.testing.players import Steady, address_of, ask_udp


def playing(studio: LiveStudio, game: bytes) -> tuple[str, Json]:
    """An app, and a room in play."""
    app_id = studio.app()
    studio.deploy(app_id, studio.build(game)["buildId"], env={"TEST_WORDS": 1})
    room = studio.room(app_id)
    return app_id, {**room, **studio.active(app_id, room["roomId"])}


def count(studio: LiveStudio, app_id: str) -> int:
    """How many processes of an app live."""
    found = studio.sdk("processesV3.getProcessesCountExperimental", app_id)
    return int(found["count"])


def slow_room(studio: LiveStudio, app_id: str) -> httpx.Response:
    """A room whose game takes a minute to bind; asked for with patience."""
    build_id = studio.sdk("deploymentsV3.getLatestDeployment", app_id)["buildId"]
    other = studio.app()
    studio.deploy(other, build_id, env={"BIND_DELAY_MS": 60_000})
    return httpx.post(
        f"{studio.server.url}/rooms/v2/{other}/create?wait=100s",
        json={"region": "Seattle"},
        headers={"authorization": f"Bearer {ADMIN_TOKEN}"},
        timeout=30,
        trust_env=False,
    )


def test_sigterm_is_quick_and_cuts_no_player(
    server: LiveServer, studio: LiveStudio, game: bytes
) -> None:
    app_id, room = playing(studio, game)
    before = studio.process(app_id, room["processId"])
    games = host_facts.games(app_id, "tag")
    # A reader that stays must not hold up the end.
    stream = studio.sdk.follow("logsV1.getLogsForProcess", room["processId"], app_id, True, 10)
    lines = stream.lines()
    next(lines)
    udp, tcp = (address_of(p) for p in (room["exposedPort"], *room["additionalExposedPorts"]))
    with Steady(udp, tcp) as player, ThreadPoolExecutor(1) as callers:
        patient = callers.submit(slow_room, studio, app_id)
        eventually(lambda: len(studio.apps) == 2, 10, "the other app is there")
        eventually(lambda: count(studio, studio.apps[1]) == 1, 10, "its process is made")
        took_s = server.terminate()
        assert took_s < 5
        # Who waited is told how things stand.
        told = patient.result(10)
        assert (told.status_code, told.json()["status"]) == (201, "starting")
        player.plays_on()
        assert host_facts.games(app_id, "tag") == games
        server.start()
        after = studio.reaches(app_id, room["processId"], "running")
        player.plays_on()
    assert player.faults == []
    assert {**after, "roomsAllocated": 1} == before
    assert host_facts.games(app_id, "tag") == games


def test_an_exit_while_the_control_plane_is_down_is_told_afterwards(
    server: LiveServer, studio: LiveStudio, game: bytes
) -> None:
    app_id, room = playing(studio, game)
    server.terminate()
    with pytest.raises(TimeoutError):
        ask_udp(address_of(room["exposedPort"]), "EXIT 1 3", tries=1)
    eventually(lambda: not host_facts.games(app_id, "tag"), 10, "the game has ended")
    ended_by = datetime.now(UTC)
    server.start()
    process = studio.reaches(app_id, room["processId"], "failed", "stopped")
    assert process["status"] == "failed"
    assert process["summaryExitReason"] == "Exited with code 3"
    # The moment is the game's, not that of the restart.
    assert datetime.fromisoformat(process["terminatedAt"]) <= ended_by
    assert studio.logs(app_id, room["processId"])[-1] == "told to exit with code 3"
    assert studio.sdk("roomsV2.getRoomInfo", room["roomId"], app_id)["status"] == "destroyed"


@pytest.mark.parametrize("how", ["running", "dead"])
def test_down_stops_everything_and_says_it_twice(
    server: LiveServer, studio: LiveStudio, game: bytes, how: str
) -> None:
    app_id, room = playing(studio, game)
    assert host_facts.games(app_id, "tag")
    if how == "dead":
        server.kill()
    begun = time.monotonic()
    done = server.down()
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - begun < 30
    assert host_facts.games(app_id, "tag") == {}
    assert host_facts.processes_of(server.data_dir) == {}
    again = server.down()
    assert again.returncode == 0, again.stderr
    # The next start remembers everything, and tells the end with a reason.
    server.start()
    process = studio.reaches(app_id, room["processId"], "stopped", "failed")
    assert process["summaryExitReason"]
    assert studio.sdk("roomsV2.getRoomInfo", room["roomId"], app_id)["status"] == "destroyed"
    second = studio.room(app_id)
    studio.active(app_id, second["roomId"])


def test_down_on_a_directory_that_never_was(tmp_path_factory: pytest.TempPathFactory) -> None:
    nowhere = tmp_path_factory.mktemp("none") / "nothing"
    command = [sys.executable, "-m", "innkeeper.cli", "down", "--data-dir", str(nowhere)]
    done = subprocess.run(command, capture_output=True, timeout=30, check=False)
    assert done.returncode == 0
    assert not nowhere.exists()
