"""kill -9 of the control plane at any instant, while rooms are created: every promise holds afterwards."""

import asyncio
import os
import random
from collections import Counter
from dataclasses import dataclass, field
from math import ceil
from uuid import UUID

import httpx
import pytest

from innkeeper.testing import host_facts
from innkeeper.testing.host_facts import Pid
from innkeeper.testing.live import ADMIN_TOKEN, LiveServer, eventually
from innkeeper.testing.live_studio import Json, LiveStudio
from innkeeper.testing.official_sdk import SdkError
from innkeeper.testing.players import Steady, address_of

ROOMS_PER_PROCESS = 3
# One round for each: among the first commits, among the starts that follow them, and later.
KILL_AFTER_S = ((0.002, 0.03), (0.03, 0.2), (0.002, 0.5), (0.2, 0.6))
CALLERS = 6
ROOMS_PER_ROUND = 9
REST_TIMEOUT_S = 60.0


@dataclass
class Story:
    """What was asked, what was answered, and what ran before each kill."""

    app_id: str
    rng: random.Random
    answered: dict[str, str] = field(default_factory=dict)  # room id -> process id
    unknown: set[str] = field(default_factory=set)  # asked; the answer was cut off
    started: dict[str, str] = field(default_factory=dict)  # process id -> startedAt
    pids: dict[str, list[Pid]] = field(default_factory=dict)


async def create_rooms(server: LiveServer, story: Story, kill_after_s: float) -> None:
    """Callers create rooms until the control plane is gone."""
    names = iter([str(UUID(int=story.rng.getrandbits(128))) for _ in range(ROOMS_PER_ROUND)])
    headers = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
    async with httpx.AsyncClient(
        base_url=server.url, headers=headers, timeout=10, trust_env=False
    ) as http:

        async def caller() -> None:
            for name in names:
                story.unknown.add(name)
                try:
                    answer = await http.post(
                        f"/rooms/v2/{story.app_id}/create?roomId={name}", json={"region": "Tokyo"}
                    )
                except httpx.TransportError:
                    return
                assert answer.status_code in (201, 429), answer.text
                story.unknown.discard(name)
                if answer.status_code == 201:
                    story.answered[name] = answer.json()["processId"]

        async def killer() -> None:
            await asyncio.sleep(kill_after_s)
            await asyncio.to_thread(server.kill)

        await asyncio.gather(killer(), *(caller() for _ in range(CALLERS)))


def at_rest(studio: LiveStudio, app_id: str, process_ids: set[str]) -> dict[str, Json]:
    """The processes once none of them is on its way anywhere."""

    def probe() -> dict[str, Json] | None:
        now = {process_id: studio.process(app_id, process_id) for process_id in process_ids}
        moving = [p for p in now.values() if p["status"] in ("starting", "stopping")]
        return None if moving else now

    return eventually(probe, REST_TIMEOUT_S, "every process is at rest")


def check(studio: LiveStudio, story: Story) -> None:
    """Every promise, after a restart."""
    for room_id in sorted(story.unknown):
        # Cut off: it was made or it was not, but not by halves.
        try:
            info = studio.sdk("roomsV2.getRoomInfo", room_id, story.app_id)
        except SdkError as error:
            if error.status != 404:
                raise
        else:
            story.answered[room_id] = info["allocations"][0]["processId"]
    story.unknown.clear()
    processes = at_rest(studio, story.app_id, set(story.answered.values()))
    for room_id, process_id in story.answered.items():
        info = studio.sdk("roomsV2.getRoomInfo", room_id, story.app_id)
        told = (room_id, info, processes[process_id])
        assert info["status"] == "active", told
        assert info["currentAllocation"]["processId"] == process_id, told
        assert processes[process_id]["status"] == "running", told
        assert studio.active(story.app_id, room_id)["exposedPort"], told
    held = Counter(story.answered.values())
    assert max(held.values()) <= ROOMS_PER_PROCESS
    assert {p: n["roomsAllocated"] for p, n in processes.items()} == dict(held)
    # An open slot is used before a process is started, across kills too.
    assert len(held) == ceil(len(story.answered) / ROOMS_PER_PROCESS)
    count = studio.sdk("processesV3.getProcessesCountExperimental", story.app_id)["count"]
    assert count == len(held), "a process nobody asked for"
    check_games(story, processes)


def check_games(story: Story, processes: dict[str, Json]) -> None:
    """One game for each record, and those that ran are the same ones."""
    games = host_facts.games(story.app_id, "tag")
    assert {p: len(pids) for p, pids in games.items()} == dict.fromkeys(processes, 1)
    for process_id, pids in story.pids.items():
        assert games[process_id] == pids, "another game took its place"
    for process_id, started_at in story.started.items():
        assert processes[process_id]["startedAt"] == started_at
    story.pids = games
    story.started = {p: process["startedAt"] for p, process in processes.items()}


@pytest.mark.timeout(300)
def test_kill_9_breaks_no_promise(server: LiveServer, studio: LiveStudio, game: bytes) -> None:
    seed = int(os.environ.get("INNKEEPER_TEST_SEED", random.SystemRandom().getrandbits(32)))
    print(f"replay with INNKEEPER_TEST_SEED={seed}")
    app_id = studio.app()
    story = Story(app_id, random.Random(seed))
    build_id = studio.build(game)["buildId"]
    studio.deploy(app_id, build_id, roomsPerProcess=ROOMS_PER_PROCESS)
    first = studio.room(app_id, region="Tokyo")
    story.answered[first["roomId"]] = first["processId"]
    ports = studio.active(app_id, first["roomId"])
    check(studio, story)
    player = Steady(
        address_of(ports["exposedPort"]), address_of(ports["additionalExposedPorts"][0])
    )
    with player:
        for number in range(len(KILL_AFTER_S)):
            kill_after_s = story.rng.uniform(*KILL_AFTER_S[number])
            print(f"round {number}: kill after {kill_after_s:.3f} s")
            asyncio.run(create_rooms(server, story, kill_after_s))
            player.plays_on()
            server.start()
            check(studio, story)
    assert player.faults == []
    assert len(story.answered) > 1, "no room was created before any kill"
    studio.close()
    check_nothing_is_left(server, story)


def check_nothing_is_left(server: LiveServer, story: Story) -> None:
    """After everything was stopped: no game, no port, no promise, no remains."""
    where = server.data_dir, server.settings.get("INNKEEPER_DATABASE")

    def over() -> bool:
        held = host_facts.held(*where)
        return (held.live_processes, held.remains) == (0, 0) and held.sandboxes == 0

    eventually(over, 60, f"nothing is left: {host_facts.held(*where)}")
    assert host_facts.games(story.app_id, "tag") == {}
    held = host_facts.held(*where)
    assert (held.ports, held.memory_mb_promised) == (0, 0), held
    done = server.down()
    assert done.returncode == 0, done.stderr
    assert host_facts.processes_of(server.data_dir) == {}


@pytest.mark.timeout(180)
def test_kill_9_in_the_middle_of_stopping(
    server: LiveServer, studio: LiveStudio, game: bytes
) -> None:
    """A stop that was asked for is carried out by the next control plane."""
    app_id = studio.app()
    studio.deploy(app_id, studio.build(game)["buildId"])
    rooms = [studio.room(app_id) for _ in range(4)]
    for room in rooms:
        studio.active(app_id, room["roomId"])
    for room in rooms[:3]:
        studio.sdk("processesV3.stopProcess", room["processId"], app_id)
    server.kill()
    server.start()
    for room in rooms[:3]:
        process = studio.reaches(app_id, room["processId"], "stopped", "failed", timeout_s=30)
        assert process["status"] == "stopped"
        assert process["summaryExitReason"] == "Stopped by API request"
    assert studio.process(app_id, rooms[3]["processId"])["status"] == "running"
    left = {rooms[3]["processId"]}
    eventually(lambda: set(host_facts.games(app_id, "tag")) == left, 30, "one game is left")


@pytest.mark.timeout(180)
def test_kill_9_in_the_middle_of_a_build(
    server: LiveServer, studio: LiveStudio, game: bytes
) -> None:
    """A build that was cut off has failed, and says so; it blocks nothing."""
    build_id = studio.upload(game)["buildId"]
    headers = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
    with httpx.stream(
        "POST", f"{server.url}/builds/v3/builds/{build_id}/run", headers=headers, trust_env=False
    ):
        server.kill()
    server.start()
    build = studio.sdk("buildsV3.getBuild", build_id)
    assert build["status"] in ("failed", "succeeded")
    assert build["finishedAt"] is not None
    assert studio.build(game)["status"] == "succeeded"
