"""Static process allocation through the official SDK, and ``wait``, which is ours (behaviour.md 8.7)."""

from typing import Any

import httpx

from innkeeper.testing.live import ADMIN_TOKEN, eventually
from innkeeper.testing.live_studio import LiveStudio
from innkeeper.testing.official_sdk import refused

LIVE = ["starting", "running", "draining"]


def want(studio: LiveStudio, app_id: str, least: int, target: int, most: int) -> None:
    entry = {
        "region": "Seattle",
        "minProcesses": least,
        "targetProcesses": target,
        "maxProcesses": most,
    }
    config = {"serviceConfig": {"staticProcessAllocation": [entry]}}
    studio.sdk("appsV2.patchApp", config, app_id)


def live(studio: LiveStudio, app_id: str) -> list[tuple[str, str]]:
    """(deployment, status) of each."""
    found = studio.sdk("processesV3.getLatestProcesses", app_id, LIVE)
    return sorted((process["deploymentId"], process["status"]) for process in found)


def test_a_target_is_kept_and_rolled_and_given_up(studio: LiveStudio, build_id: str) -> None:
    app_id = studio.app()
    first = studio.deploy(app_id, build_id)["deploymentId"]
    want(studio, app_id, 1, 2, 2)
    two = [(first, "running")] * 2
    eventually(lambda: live(studio, app_id) == two, 20, "two of the first deployment run")
    room = studio.room(app_id)
    assert room["status"] == "active", "one was ready"
    studio.room(app_id)
    with refused(429, "maxProcesses"):
        studio.room(app_id)
    second = studio.deploy(app_id, build_id)["deploymentId"]
    held = [(first, "draining")] * 2
    eventually(lambda: live(studio, app_id) == held, 20, "those with rooms drain")
    studio.sdk("roomsV2.destroyRoom", room["roomId"], app_id)
    mixed = sorted([(first, "draining"), (second, "running")])
    eventually(lambda: live(studio, app_id) == mixed, 20, "one was replaced, the other plays on")
    want(studio, app_id, 0, 0, 2)
    eventually(
        lambda: live(studio, app_id) == [(first, "draining")], 20, "nothing is wanted any more"
    )


def create(studio: LiveStudio, app_id: str, wait: str) -> httpx.Response:
    return httpx.post(
        f"{studio.server.url}/rooms/v2/{app_id}/create",
        params={"wait": wait},
        json={"region": "Seattle"},
        headers={"authorization": f"Bearer {ADMIN_TOKEN}"},
        timeout=30,
        trust_env=False,
    )


def test_a_room_that_is_waited_for_is_active_or_says_why_not(
    studio: LiveStudio, build_id: str
) -> None:
    app_id = studio.app()
    studio.deploy(app_id, build_id)
    want(studio, app_id, 0, 0, 1)
    made = create(studio, app_id, "20s")
    told: dict[str, Any] = made.json()
    assert (made.status_code, told["status"]) == (201, "active")
    info = studio.sdk("roomsV2.getConnectionInfo", told["roomId"], app_id)
    assert info["exposedPort"] == told["exposedPort"]
    full = create(studio, app_id, "100ms")
    assert full.status_code == 429
    assert full.json()["message"].startswith("No capacity in Seattle: maxProcesses")
    want(studio, app_id, 0, 0, 2)
    studio.deploy(app_id, build_id, env={"EXIT_CODE": 3})
    crashed = create(studio, app_id, "20s")
    assert crashed.status_code == 400
    assert "Exited with code 3" in crashed.json()["message"]
