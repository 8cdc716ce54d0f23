"""How a process ends is told in ``summaryExitReason``, and its rooms end with it (behaviour.md 4.5)."""

import socket
from datetime import datetime

import pytest

from innkeeper.testing.live import eventually
from innkeeper.testing.live_studio import Json, LiveStudio, archive
from innkeeper.testing.official_sdk import refused
from innkeeper.testing.players import address_of, ask_tcp, ask_udp


def ended(studio: LiveStudio, build_id: str, env: dict[str, object], **config: object) -> Json:
    """A process of its own that was given ``env``, once it has ended; its room must be gone."""
    app_id = studio.app()
    studio.deploy(app_id, build_id, env=env, **config)
    room = studio.room(app_id)
    process = studio.reaches(app_id, room["processId"], "stopped", "failed")
    info = studio.sdk("roomsV2.getRoomInfo", room["roomId"], app_id)
    assert (info["status"], info["currentAllocation"]) == ("destroyed", None)
    with refused(404, room["roomId"]):
        studio.sdk("roomsV2.getConnectionInfo", room["roomId"], app_id)
    assert process["stoppingAt"] is not None
    assert process["stoppingAt"] <= process["terminatedAt"]
    return process


def told_to_exit(studio: LiveStudio, build_id: str, code: int) -> Json:
    """A process that ran, then exited by itself with ``code``."""
    app_id = studio.app()
    studio.deploy(app_id, build_id, env={"TEST_WORDS": 1}, roomsPerProcess=2)
    room = studio.room(app_id)
    active = studio.active(app_id, room["roomId"])
    with pytest.raises(TimeoutError):
        ask_udp(address_of(active["exposedPort"]), f"EXIT 1 {code}", tries=1)
    process = studio.reaches(app_id, room["processId"], "stopped", "failed")
    assert process["startedAt"] is not None
    assert f"told to exit with code {code}" in studio.logs(app_id, room["processId"])
    with refused(404, room["roomId"]):
        studio.sdk("roomsV2.getConnectionInfo", room["roomId"], app_id)
    return process


def test_an_exit_with_zero_is_a_clean_stop(studio: LiveStudio, build_id: str) -> None:
    process = told_to_exit(studio, build_id, 0)
    assert process["status"] == "stopped"
    assert process["summaryExitReason"] == "Exited with code 0"
    assert process["stoppingAt"] == process["terminatedAt"]


def test_an_exit_with_another_code_is_a_failure(studio: LiveStudio, build_id: str) -> None:
    process = told_to_exit(studio, build_id, 3)
    assert process["status"] == "failed"
    assert process["summaryExitReason"] == "Exited with code 3"


def test_an_exit_before_the_port_was_bound(studio: LiveStudio, build_id: str) -> None:
    process = ended(studio, build_id, {"EXIT_CODE": 7})
    assert (process["status"], process["startedAt"]) == ("failed", None)
    assert process["summaryExitReason"] == "Exited with code 7"


def test_a_crash_names_its_signal(studio: LiveStudio, build_id: str, runtime: str) -> None:
    process = ended(studio, build_id, {"CRASH_AFTER": 300})
    assert process["status"] == "failed"
    # The first process of a container cannot send itself SIGABRT; abort() then ends by SIGSEGV.
    signal = 11 if runtime == "container" else 6
    assert process["summaryExitReason"] == f"Killed by signal {signal}"


def test_out_of_memory_is_told(studio: LiveStudio, build_id: str) -> None:
    process = ended(studio, build_id, {"EAT_MEMORY": 700})
    assert process["status"] == "failed"
    assert process["summaryExitReason"] == "Out of memory"


def test_memory_within_the_limit_is_fine(studio: LiveStudio, build_id: str) -> None:
    app_id = studio.app()
    studio.deploy(app_id, build_id, env={"EAT_MEMORY": 400})
    room = studio.room(app_id)
    studio.active(app_id, room["roomId"])
    eventually(
        lambda: "took 400 MB" in studio.logs(app_id, room["processId"]), 10, "400 MB are taken"
    )
    assert studio.process(app_id, room["processId"])["status"] == "running"


def test_a_port_that_is_never_bound_is_told(studio: LiveStudio, build_id: str) -> None:
    process = ended(studio, build_id, {"NEVER_BIND": 1})
    assert (process["status"], process["startedAt"]) == ("failed", None)
    assert process["summaryExitReason"] == "Failed to bind port 7777 within 4 seconds"


def test_an_additional_port_may_be_bound_later_or_never(studio: LiveStudio, build_id: str) -> None:
    """``startedAt`` is when the default port is bound."""
    app_id = studio.app()
    missing = [{"name": "voice", "port": 9, "transportType": "udp"}]
    studio.deploy(app_id, build_id, additionalContainerPorts=missing)
    active = studio.active(app_id, studio.room(app_id)["roomId"])
    assert [p["name"] for p in active["additionalExposedPorts"]] == ["voice"]


def test_a_game_on_ipv6_is_running_too(studio: LiveStudio, build_id: str) -> None:
    app_id = studio.app()
    studio.deploy(app_id, build_id, env={"BIND_IPV6": 1})
    active = studio.active(app_id, studio.room(app_id)["roomId"])
    assert ask_udp(address_of(active["exposedPort"]), "hello") == "hello"


def test_an_image_that_cannot_be_started_is_told(studio: LiveStudio) -> None:
    build = studio.build(
        archive({"Dockerfile": b'FROM scratch\nCOPY f /f\nCMD ["/nowhere"]\n', "f": b"x"})
    )
    if build["status"] == "failed":
        # Where the build can see it already, so much the better.
        assert "/nowhere" in build["log"]
        return
    process = ended(studio, build["buildId"], {})
    assert (process["status"], process["startedAt"]) == ("failed", None)
    assert process["summaryExitReason"].startswith("Image could not be started: ")


# Host processes share a network in which UDP players cannot be counted, and so count as present.
OVER_TCP = {"transportType": "tcp", "additionalContainerPorts": [], "idleTimeoutEnabled": True}


def test_an_empty_process_is_stopped_when_it_was_idle_long_enough(
    studio: LiveStudio, build_id: str
) -> None:
    app_id = studio.app()
    studio.deploy(app_id, build_id, **OVER_TCP)
    room = studio.room(app_id)
    studio.active(app_id, room["roomId"])
    studio.sdk("roomsV2.destroyRoom", room["roomId"], app_id)
    process = studio.reaches(app_id, room["processId"], "stopped", "failed")
    assert process["status"] == "stopped"
    assert process["summaryExitReason"] == "Idle timeout"


def test_an_allocated_room_keeps_its_process(studio: LiveStudio, build_id: str) -> None:
    app_id = studio.app()
    studio.deploy(app_id, build_id, **OVER_TCP)
    kept = studio.room(app_id)
    studio.active(app_id, kept["roomId"])
    # A second process, emptied after the first was there: when it has gone, the first had its time too.
    other = studio.sdk("processesV3.createProcess", "Seattle", app_id)["processId"]
    studio.reaches(app_id, other, "stopped")
    assert studio.process(app_id, other)["summaryExitReason"] == "Idle timeout"
    assert studio.process(app_id, kept["processId"])["status"] == "running"


def test_a_connected_player_keeps_an_empty_process(studio: LiveStudio, build_id: str) -> None:
    app_id = studio.app()
    studio.deploy(app_id, build_id, **OVER_TCP)
    room = studio.room(app_id)
    active = studio.active(app_id, room["roomId"])
    tcp = address_of(active["exposedPort"])
    with socket.create_connection(tcp, timeout=5) as player:
        studio.sdk("roomsV2.destroyRoom", room["roomId"], app_id)
        other = studio.sdk("processesV3.createProcess", "Tokyo", app_id)["processId"]
        studio.reaches(app_id, other, "stopped")
        assert studio.process(app_id, room["processId"])["status"] == "running"
        player.sendall(b"still here\n")
        assert player.recv(100) == b"still here\n"
    studio.reaches(app_id, room["processId"], "stopped")


def test_udp_players_count_where_they_can_be_counted(
    studio: LiveStudio, build_id: str, runtime: str
) -> None:
    app_id = studio.app()
    studio.deploy(app_id, build_id, idleTimeoutEnabled=True)
    quiet = studio.sdk("processesV3.createProcess", "Tokyo", app_id)["processId"]
    played = studio.room(app_id)
    active = studio.active(app_id, played["roomId"])
    assert ask_udp(address_of(active["exposedPort"]), "hello") == "hello"
    studio.sdk("roomsV2.destroyRoom", played["roomId"], app_id)
    over = studio.sdk("processesV3.createProcess", "London", app_id)["processId"]
    if runtime == "container":
        for process_id in (quiet, over):
            studio.reaches(app_id, process_id, "stopped")
    else:
        studio.reaches(app_id, over, "running")
    # A flow of the last minute is a player.
    assert studio.process(app_id, played["processId"])["status"] == "running"


def test_without_the_idle_timeout_an_empty_process_stays(studio: LiveStudio, build_id: str) -> None:
    app_id = studio.app()
    studio.deploy(app_id, build_id, idleTimeoutEnabled=False)
    stays = studio.sdk("processesV3.createProcess", "Seattle", app_id)["processId"]
    studio.reaches(app_id, stays, "running")
    studio.deploy(app_id, build_id, **OVER_TCP)
    goes = studio.sdk("processesV3.createProcess", "Seattle", app_id)["processId"]
    studio.reaches(app_id, goes, "stopped")
    assert studio.process(app_id, stays)["status"] == "running"


def test_a_deleted_app_stops_its_processes(studio: LiveStudio, build_id: str) -> None:
    app_id = studio.app()
    studio.deploy(app_id, build_id)
    active = studio.active(app_id, studio.room(app_id)["roomId"])
    tcp = address_of(active["additionalExposedPorts"][0])
    assert ask_tcp(tcp, "there?") == "there?"
    studio.sdk("appsV2.deleteApp", app_id)

    def gone() -> bool:
        try:
            ask_tcp(tcp, "there?")
        except OSError:
            return True
        return False

    assert eventually(gone, 10, "the game has stopped")


def test_starts_that_fail_are_tried_more_slowly_each_time(
    studio: LiveStudio, build_id: str
) -> None:
    """CreateRoom answers 201 all the same; the start waits 1, 2, 4 … seconds (clarifications)."""
    app_id = studio.app()
    studio.deploy(app_id, build_id, env={"EXIT_CODE": 1})
    begun, ended = [], []
    for _ in range(3):
        room = studio.room(app_id)
        assert room["status"] == "starting"
        process = studio.reaches(app_id, room["processId"], "failed")
        begun.append(datetime.fromisoformat(process["scheduledAt"]))
        ended.append(datetime.fromisoformat(process["terminatedAt"]))
    waits = [(begun[n + 1] - ended[n]).total_seconds() for n in range(2)]
    assert waits[0] >= 1
    assert waits[1] >= 2
