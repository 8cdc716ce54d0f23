"""DeploymentsV3: immutable, numbered by time, checked at the door (behaviour.md 3)."""

import re
from typing import Any

import pytest

from innkeeper.testing.live_studio import LiveStudio
from innkeeper.testing.official_sdk import Sdk, refused


def test_a_new_deployment(studio: LiveStudio, build_id: str) -> None:
    app_id = studio.app()
    made = studio.deploy(
        app_id,
        build_id,
        env={"GAME_MODE": "a=b c", "HATHORA_DEV_TOKEN": "their own"},
        deploymentTag="blue",
        roomsPerProcess=3,
        experimentalRequestedGPU=0,
    )
    assert re.fullmatch(r"dep-[0-9a-f-]{36}", made["deploymentId"])
    assert (made["appId"], made["buildId"], made["buildTag"]) == (app_id, build_id, "the-game")
    assert made["deploymentTag"] == "blue"
    port = {"name": "default", "port": 7777, "transportType": "udp"}
    assert made["defaultContainerPort"] == port
    assert made["additionalContainerPorts"] == [
        {"name": "tcp", "port": 7777, "transportType": "tcp"}
    ]
    # An official tool reads the latest deployment and sends its variables again, so they come in clear.
    assert {e["name"]: e["value"] for e in made["env"]} == {
        "GAME_MODE": "a=b c",
        "HATHORA_DEV_TOKEN": "their own",
    }
    assert (made["requestedCPU"], made["requestedMemoryMB"], made["roomsPerProcess"]) == (
        0.25,
        512,
        3,
    )
    assert made["idleTimeoutEnabled"] is False
    assert studio.sdk("deploymentsV3.getDeployment", made["deploymentId"], app_id) == made


def test_latest_list_and_filters(studio: LiveStudio, build_id: str) -> None:
    app_id = studio.app()
    with refused(404):
        studio.sdk("deploymentsV3.getLatestDeployment", app_id)
    assert studio.sdk("deploymentsV3.getDeployments", app_id) == {"deployments": []}
    made = [studio.deploy(app_id, build_id, deploymentTag=tag) for tag in ("a", "b", "a")]
    assert studio.sdk("deploymentsV3.getLatestDeployment", app_id) == made[2]

    def listed(*filters: str | None) -> list[str]:
        page = studio.sdk("deploymentsV3.getDeployments", app_id, *filters)
        return [d["deploymentId"] for d in page["deployments"]]

    ids = [d["deploymentId"] for d in made]
    assert listed() == ids[::-1]
    assert listed("a") == [ids[2], ids[0]]
    assert listed(None, "the-game") == ids[::-1]
    assert listed("b", "another-tag") == []


def test_the_build_must_be_there_and_have_succeeded(studio: LiveStudio, stranger: Sdk) -> None:
    app_id = studio.app()
    with refused(404, "bld-nowhere"):
        studio.deploy(app_id, "bld-nowhere")
    theirs = stranger("buildsV3.createBuild", {"buildSizeInBytes": 10})["buildId"]
    with refused(404, theirs):
        studio.deploy(app_id, theirs)
    raw = studio.sdk("buildsV3.createBuild", {"buildSizeInBytes": 10})["buildId"]
    with refused(400, raw):
        studio.deploy(app_id, raw)


@pytest.mark.parametrize("cpu", [0.25, 0.29, 0.57, 1.13, 2.01, 2.03, 4.35, 8])
def test_two_decimals_of_a_core_are_exact(studio: LiveStudio, build_id: str, cpu: float) -> None:
    assert studio.deploy(studio.app(), build_id, requestedCPU=cpu)["requestedCPU"] == cpu


PORT = {"name": "extra", "port": 9000, "transportType": "tcp"}
WRONG: list[tuple[dict[str, Any], str]] = [
    ({"requestedCPU": 0.24}, "requestedCPU"),
    ({"requestedCPU": 0.255}, "requestedCPU"),
    ({"requestedCPU": 8.01}, "requestedCPU"),
    ({"requestedCPU": -1}, "requestedCPU"),
    ({"requestedMemoryMB": 511}, "requestedMemoryMB"),
    ({"requestedMemoryMB": 512.5}, "requestedMemoryMB"),
    ({"requestedMemoryMB": 8193}, "requestedMemoryMB"),
    ({"roomsPerProcess": 0}, "roomsPerProcess"),
    ({"roomsPerProcess": 10001}, "roomsPerProcess"),
    ({"containerPort": 0}, "containerPort"),
    ({"containerPort": 65536}, "containerPort"),
    ({"transportType": "sctp"}, "transportType"),
    ({"requestedGPU": 1}, "requestedGPU"),
    (
        {"additionalContainerPorts": [{**PORT, "name": "default"}]},
        "additionalContainerPorts[0].name",
    ),
    ({"additionalContainerPorts": [{**PORT, "name": "Caps"}]}, "additionalContainerPorts[0].name"),
    (
        {"additionalContainerPorts": [{**PORT, "name": "line\n"}]},
        "additionalContainerPorts[0].name",
    ),
    (
        {"additionalContainerPorts": [PORT, {**PORT, "port": 9001}]},
        "additionalContainerPorts[1].name",
    ),
    (
        {"additionalContainerPorts": [PORT, {**PORT, "name": "b"}]},
        "additionalContainerPorts[1].port",
    ),
    (
        {"additionalContainerPorts": [{**PORT, "name": f"p{n}", "port": n} for n in (1, 2, 3)]},
        "Ports",
    ),
    ({"env": {"1BAD": "x"}}, "env"),
    ({"env": {"BAD-NAME": "x"}}, "env"),
    ({"env": {"HATHORA_APP_ID": "x"}}, "HATHORA_APP_ID"),
    ({"env": {"HATHORA_TCP_PORT": "1"}}, "HATHORA_TCP_PORT"),
    ({"env": {"LONG": "x" * 5001}}, "env"),
    ({"env": {"NUL": "a\0b"}}, "NUL"),
    ({"env": {f"V{n}": "x" for n in range(101)}}, "env"),
]


@pytest.mark.parametrize(("change", "field"), WRONG, ids=[str(c)[:50] for c, _ in WRONG])
def test_what_breaks_a_bound_is_refused_by_its_name(
    studio: LiveStudio, build_id: str, change: dict[str, Any], field: str
) -> None:
    app_id = studio.app()
    with refused(422, field):
        studio.deploy(app_id, build_id, **change)
    assert studio.sdk("deploymentsV3.getDeployments", app_id) == {"deployments": []}


def test_tls_is_refused_until_it_is_enforced(studio: LiveStudio, build_id: str) -> None:
    with refused(422, "transportType", "TLS"):
        studio.deploy(studio.app(), build_id, transportType="tls", additionalContainerPorts=[])


def test_unknown_and_foreign_deployments(studio: LiveStudio, stranger: Sdk, build_id: str) -> None:
    app_id, other = studio.app(), studio.app()
    made = studio.deploy(app_id, build_id)["deploymentId"]
    with refused(404, "dep-nowhere"):
        studio.sdk("deploymentsV3.getDeployment", "dep-nowhere", app_id)
    with refused(404, made):
        studio.sdk("deploymentsV3.getDeployment", made, other)
    with refused(404):
        stranger("deploymentsV3.getDeployment", made, app_id)


def test_an_old_deployment_takes_no_new_rooms_unless_it_is_named(
    studio: LiveStudio, build_id: str
) -> None:
    app_id = studio.app()
    old = studio.deploy(app_id, build_id, roomsPerProcess=4)["deploymentId"]
    first = studio.room(app_id)
    studio.active(app_id, first["roomId"])
    new = studio.deploy(app_id, build_id, roomsPerProcess=4)["deploymentId"]
    second = studio.room(app_id)
    assert second["processId"] != first["processId"]
    assert studio.process(app_id, second["processId"])["deploymentId"] == new
    named = studio.room(app_id, deploymentId=old)
    assert named["processId"] == first["processId"]
    assert studio.process(app_id, first["processId"])["status"] == "running"
