"""Players reach a room over UDP and TCP, and nobody else's."""

import asyncio

from innkeeper.cli.bot import play_round
from innkeeper.config.values import Address
from innkeeper.testing.live_studio import LiveStudio
from innkeeper.testing.official_sdk import refused
from innkeeper.testing.players import Steady, address_of, ask_tcp, ask_udp


def test_a_round_over_udp_and_tcp(studio: LiveStudio, build_id: str) -> None:
    app_id = studio.app()
    studio.deploy(app_id, build_id)
    active = studio.active(app_id, studio.room(app_id)["roomId"])
    udp = Address(*address_of(active["exposedPort"]))
    tcp = Address(*address_of(active["additionalExposedPorts"][0]))
    played = asyncio.run(play_round(udp, tcp))
    assert played.messages > 20


def test_a_tcp_game_is_reached_at_its_default_port(studio: LiveStudio, build_id: str) -> None:
    app_id = studio.app()
    studio.deploy(app_id, build_id, transportType="tcp", additionalContainerPorts=[])
    active = studio.active(app_id, studio.room(app_id)["roomId"])
    assert active["additionalExposedPorts"] == []
    assert active["exposedPort"]["transportType"] == "tcp"
    assert ask_tcp(address_of(active["exposedPort"]), "over tcp") == "over tcp"


def test_two_processes_are_two_games(studio: LiveStudio, build_id: str) -> None:
    app_id = studio.app()
    studio.deploy(app_id, build_id)
    first, second = (studio.room(app_id)["roomId"] for _ in range(2))
    ports = [studio.active(app_id, room)["exposedPort"] for room in (first, second)]
    assert ports[0]["port"] != ports[1]["port"]
    # Each player is the first in a game of its own.
    for port in ports:
        assert ask_udp(address_of(port), "JOIN 1").endswith("of 1")


def test_a_destroyed_room_does_not_cut_its_players(studio: LiveStudio, build_id: str) -> None:
    app_id = studio.app()
    studio.deploy(app_id, build_id)
    room = studio.room(app_id)
    active = studio.active(app_id, room["roomId"])
    udp = address_of(active["exposedPort"])
    with Steady(udp, address_of(active["additionalExposedPorts"][0])) as player:
        studio.sdk("roomsV2.destroyRoom", room["roomId"], app_id)
        second = studio.room(app_id)
        assert second["processId"] == room["processId"]
        assert ask_udp(udp, "after") == "after"
        player.plays_on()
    assert player.faults == []


def test_host_ports_are_given_to_one_process_at_a_time(studio: LiveStudio, build_id: str) -> None:
    app_id = studio.app()
    studio.deploy(app_id, build_id)
    rooms = [studio.room(app_id) for _ in range(6)]
    infos = [studio.active(app_id, room["roomId"]) for room in rooms]
    ports = [p["port"] for i in infos for p in (i["exposedPort"], *i["additionalExposedPorts"])]
    first, last = studio.server.ports
    assert all(first <= port <= last for port in ports)
    assert len({*ports}) == len(ports)


def test_a_full_machine_says_what_is_short(studio: LiveStudio, build_id: str) -> None:
    app_id = studio.app()
    studio.deploy(app_id, build_id, requestedMemoryMB=8192)
    with refused(429, "memory"):
        for _ in range(200):
            studio.sdk("processesV3.createProcess", "Seattle", app_id)
