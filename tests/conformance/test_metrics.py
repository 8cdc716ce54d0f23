"""Process metrics, V3 and V1, of a game that burns CPU, holds memory and sends bytes (behaviour.md 8.4)."""

import json
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest

from innkeeper.testing.live import eventually
from innkeeper.testing.live_studio import Json, LiveStudio
from innkeeper.testing.official_sdk import Sdk, refused
from innkeeper.testing.players import Address, address_of, ask_udp

V3 = [
    "cpu",
    "memory",
    "rateEgress",
    "totalEgress",
    "activeConnections",
    "gpuMemory",
    "gpuUtilization",
]
V1 = ["cpu", "memory", "rate_egress", "total_egress", "active_connections"]
SENT = 200_000
BURNT_MS = 500


def metrics(studio: LiveStudio, process: Json, **asked: Any) -> Json:
    request = {"appId": process["appId"], "processId": process["processId"], "step": 2, **asked}
    found: Json = studio.sdk("processesV3.getProcessMetrics", {"metrics": V3, **request})
    return found


def until(studio: LiveStudio, process: Json, holds: Callable[[Json], bool], what: str) -> Json:
    def probe() -> Json | None:
        found = metrics(studio, process)
        return found if holds(found) else None

    return eventually(probe, 20.0, what)


def values(points: list[Json]) -> list[float]:
    return [point["value"] for point in points]


def talk(player: socket.socket, size: int) -> None:
    """Have the game echo so many bytes."""
    line = b"x" * 999 + b"\n"
    for _ in range(size // len(line)):
        player.sendall(line)
        left = len(line)
        while left:
            got = len(player.recv(left))
            assert got
            left -= got


def connect(address: Address) -> socket.socket:
    return socket.create_connection(address, timeout=5)


def running(studio: LiveStudio, build_id: str, **config: Any) -> Json:
    app_id = studio.app()
    studio.deploy(app_id, build_id, requestedCPU=0.5, **config)
    process_id = studio.sdk("processesV3.createProcess", "Tokyo", app_id)["processId"]
    return studio.reaches(app_id, process_id, "running")


@pytest.fixture
def over_tcp(studio: LiveStudio, build_id: str) -> Json:
    """A process without a UDP port, so that both runtimes can tell what it sends."""
    env = {"BURN_CPU_MS": BURNT_MS, "EAT_MEMORY": 30}
    return running(studio, build_id, env=env, transportType="tcp", additionalContainerPorts=[])


def test_what_a_game_uses_is_shown(studio: LiveStudio, over_tcp: Json) -> None:
    process = over_tcp
    with connect(address_of(process["exposedPort"])) as player:
        talk(player, SENT)
        found = until(
            studio,
            process,
            lambda m: (
                max(values(m["totalEgress"]), default=0) >= SENT
                and max(values(m["activeConnections"]), default=0) >= 1
            ),
            "egress and a connection are shown",
        )
    assert set(found) == set(V3)
    assert found["gpuMemory"] == found["gpuUtilization"] == []
    # Half a core was requested and used for a while; limits may let a little more through.
    assert 1 < max(values(found["cpu"])) <= 250
    assert 30 * 2**20 <= max(values(found["memory"])) < 128 * 2**20
    assert SENT <= max(values(found["totalEgress"])) < 2 * SENT
    assert max(values(found["rateEgress"])) > 0
    now = time.time()
    for name in V3:
        moments = [point["timestamp"] for point in found[name]]
        assert moments == sorted(set(moments))
        assert all(now - 3700 < moment < now + 60 for moment in moments)

    until(studio, process, lambda m: values(m["activeConnections"])[-1] == 0, "the player left")
    asked = {"appId": process["appId"], "processId": process["processId"], "step": 2}
    older, (reply,) = studio.sdk.answered(
        "metricsV1.getMetricsDeprecated", {**asked, "metrics": V1}
    )
    # The SDK renames what has the older names on the wire.
    assert set(json.loads(reply.body or b"")) == set(V1)
    assert max(values(older["totalEgress"])) >= max(values(found["totalEgress"]))
    assert values(older["memory"])
    _, (reply,) = studio.sdk.answered("metricsV1.getMetricsDeprecated", asked)
    assert set(json.loads(reply.body or b"")) == {"cpu", "memory", "rate_egress"}

    (old,) = studio.sdk("processesV1.getRunningProcesses", process["appId"])
    assert SENT <= old["egressedBytes"] < 2 * SENT

    studio.sdk("processesV3.stopProcess", process["processId"], process["appId"])
    studio.reaches(process["appId"], process["processId"], "stopped")
    assert max(values(metrics(studio, process)["totalEgress"])) >= SENT


def test_udp_egress_is_shown_where_it_can_be_measured(
    studio: LiveStudio, build_id: str, runtime: str
) -> None:
    process = running(studio, build_id, additionalContainerPorts=[])
    for number in range(50):
        ask_udp(address_of(process["exposedPort"]), f"{number}-" + "x" * 1000)
    if runtime == "container":
        until(
            studio,
            process,
            lambda m: (
                max(values(m["totalEgress"]), default=0) >= 50_000
                and values(m["activeConnections"]) != []
            ),
            "UDP egress is shown",
        )
    else:
        found = until(studio, process, lambda m: values(m["memory"]) != [], "a measurement")
        assert found["totalEgress"] == found["rateEgress"] == found["activeConnections"] == []


def test_a_starting_process_has_no_points(studio: LiveStudio, build_id: str) -> None:
    app_id = studio.app()
    studio.deploy(app_id, build_id, env={"NEVER_BIND": 1})
    process = studio.sdk("processesV3.createProcess", "Tokyo", app_id)
    found = metrics(studio, process, start=time.time() - 7200, end=time.time() - 3600)
    assert found == {name: [] for name in V3}


def test_windows_and_strangers(
    studio: LiveStudio, over_tcp: Json, stranger: Sdk, anyone: Sdk
) -> None:
    asked = {"appId": over_tcp["appId"], "processId": over_tcp["processId"]}
    for wrong in ({"start": 2, "end": 1}, {"step": 0}, {"start": 0}, {"start": time.time() * 1000}):
        with refused(422, "query."):
            studio.sdk("processesV3.getProcessMetrics", {**asked, **wrong})
        with refused(422, "query."):
            studio.sdk("metricsV1.getMetricsDeprecated", {**asked, **wrong})
    with refused(404):
        studio.sdk("processesV3.getProcessMetrics", {**asked, "processId": "p-x"})
    with refused(404):
        stranger("processesV3.getProcessMetrics", asked)
    with refused(404):
        stranger("metricsV1.getMetricsDeprecated", asked)
    with refused(401):
        anyone("processesV3.getProcessMetrics", asked)


def test_usage_limits(studio: LiveStudio, over_tcp: Json, org_id: str) -> None:
    before = studio.sdk("organizationsV1.getUsageLimits", org_id)
    assert set(before) == {"monthlyProcessVcpuHoursConsumed", "concurrentProcessVcpus7DayMax"}
    assert before["concurrentProcessVcpus7DayMax"] >= 0.5

    def grown() -> bool:
        now = studio.sdk("organizationsV1.getUsageLimits")
        return bool(
            now["monthlyProcessVcpuHoursConsumed"] > before["monthlyProcessVcpuHoursConsumed"]
        )

    eventually(grown, 5.0, "the hours of a running process grow")
