"""CreateRoom packs exactly, and under any concurrency (behaviour.md 5.1)."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from innkeeper.testing.live_studio import LiveStudio


def test_running_before_starting_and_the_fullest_first(studio: LiveStudio, build_id: str) -> None:
    app_id = studio.app()
    studio.deploy(app_id, build_id, roomsPerProcess=3)
    first = [studio.room(app_id) for _ in range(3)]
    second = [studio.room(app_id) for _ in range(2)]
    one, two = first[0]["processId"], second[0]["processId"]
    assert {r["processId"] for r in first} == {one}
    assert {r["processId"] for r in second} == {two}
    assert one != two
    for room in (*first, *second):
        studio.active(app_id, room["roomId"])
    # One room left on the first process, two on the second: the second is fuller.
    for room in first[1:]:
        studio.sdk("roomsV2.destroyRoom", room["roomId"], app_id)
    assert studio.room(app_id)["processId"] == two
    answered = studio.room(app_id)
    assert answered["processId"] == one
    assert answered["status"] == "active", "a room on a running process is ready at once"
    assert "exposedPort" in answered


def test_a_running_process_is_used_before_a_starting_one(studio: LiveStudio, build_id: str) -> None:
    app_id = studio.app()
    studio.deploy(app_id, build_id, roomsPerProcess=2, env={"BIND_DELAY_MS": 1500})
    running = studio.sdk("processesV3.createProcess", "Seattle", app_id)["processId"]
    studio.reaches(app_id, running, "running")
    starting = studio.sdk("processesV3.createProcess", "Seattle", app_id)["processId"]
    placed = [studio.room(app_id)["processId"] for _ in range(4)]
    assert placed == [running, running, starting, starting]


def test_a_region_is_a_world_of_its_own(studio: LiveStudio, build_id: str) -> None:
    app_id = studio.app()
    studio.deploy(app_id, build_id, roomsPerProcess=5)
    tokyo, london = (studio.room(app_id, region=r)["processId"] for r in ("Tokyo", "London"))
    assert tokyo != london
    assert studio.room(app_id, region="Tokyo")["processId"] == tokyo


def test_a_free_slot_is_used_before_a_process_is_started(studio: LiveStudio, build_id: str) -> None:
    app_id, per_process, rooms = studio.app(), 4, 18
    studio.deploy(app_id, build_id, roomsPerProcess=per_process)
    with ThreadPoolExecutor(rooms) as callers:
        made = list(callers.map(lambda _: studio.room(app_id), range(rooms)))
    assert len({room["roomId"] for room in made}) == rooms
    held = Counter(room["processId"] for room in made)
    assert sorted(held.values()) == [2, 4, 4, 4, 4]
    for process_id, count in held.items():
        assert studio.process(app_id, process_id)["roomsAllocated"] == count
    assert studio.sdk("processesV3.getProcessesCountExperimental", app_id) == {"count": 5}


def test_one_room_id_is_given_once_whoever_asks_first(
    studio: LiveStudio, build_id: str, runtime: str
) -> None:
    app_id = studio.app()
    studio.deploy(app_id, build_id, roomsPerProcess=8)

    def ask(_: int) -> int:
        try:
            studio.room(app_id, f"contested-{runtime}")
        except Exception as error:
            return int(getattr(error, "status", 0))
        return 201

    with ThreadPoolExecutor(6) as callers:
        assert Counter(callers.map(ask, range(6))) == {201: 1, 400: 5}
    assert studio.sdk("processesV3.getProcessesCountExperimental", app_id) == {"count": 1}


def test_a_freed_slot_is_given_again(studio: LiveStudio, build_id: str) -> None:
    app_id = studio.app()
    studio.deploy(app_id, build_id)
    first = studio.room(app_id)
    studio.active(app_id, first["roomId"])
    studio.sdk("roomsV2.destroyRoom", first["roomId"], app_id)
    second = studio.room(app_id)
    assert (second["processId"], second["status"]) == (first["processId"], "active")
