"""DeploymentsV3 on the wire (behaviour.md 3)."""

from typing import Any

import pytest

CONFIG = {
    "requestedCPU": 0.5,
    "requestedMemoryMB": 1024,
    "experimentalRequestedGPU": 0,
    "roomsPerProcess": 2,
    "containerPort": 4000,
    "transportType": "udp",
    "env": [{"name": "A", "value": "=b=\u00fc"}],
    "idleTimeoutEnabled": True,
}


async def test_a_deployment_is_answered_as_it_was_asked(shop: Any) -> None:
    at, build_id = {"appId": shop.app}, await shop.studio.build()
    extra = [{"name": "uba", "port": 4000, "transportType": "tcp"}]
    body = {**CONFIG, "buildId": build_id, "additionalContainerPorts": extra, "deploymentTag": "t"}
    made = await shop.call("CreateDeployment", at, body=body)
    assert made.status_code == 201
    shown = made.json()
    assert shown == {
        "deploymentId": shown["deploymentId"],
        "appId": shop.app,
        "buildId": build_id,
        "deploymentTag": "t",
        "createdAt": shown["createdAt"],
        "createdBy": shown["createdBy"],
        "requestedCPU": 0.5,
        "requestedMemoryMB": 1024,
        "roomsPerProcess": 2,
        "defaultContainerPort": {"name": "default", "port": 4000, "transportType": "udp"},
        "additionalContainerPorts": extra,
        "env": CONFIG["env"],
        "idleTimeoutEnabled": True,
        "fleetId": (await shop.call("GetOrgs")).json()["orgs"][0]["defaultFleetId"],
    }
    assert shop.house.woken == []
    one = {**at, "deploymentId": shown["deploymentId"]}
    assert (await shop.call("GetDeployment", one)).json() == shown
    assert (await shop.call("GetDeployment", {**at, "deploymentId": "1"})).json() == shown
    assert (await shop.call("GetLatestDeployment", at)).json() == shown
    assert (await shop.call("GetDeployments", at)).json() == {"deployments": [shown]}


async def test_lists_are_newest_first_and_filtered(shop: Any) -> None:
    at, build_id = {"appId": shop.app}, await shop.studio.build()
    ids = []
    for tag in ("x", "y", "x"):
        shop.studio.clock.move(1)
        body = {**CONFIG, "buildId": build_id, "deploymentTag": tag}
        ids.append((await shop.call("CreateDeployment", at, body=body)).json()["deploymentId"])
    for query, wanted in (
        ({}, ids[::-1]),
        ({"deploymentTag": "x"}, [ids[2], ids[0]]),
        ({"deploymentTag": "x", "buildTag": "none"}, []),
    ):
        listed = (await shop.call("GetDeployments", at, params=query)).json()["deployments"]
        assert [item["deploymentId"] for item in listed] == wanted


async def test_without_a_deployment_the_latest_is_404(shop: Any) -> None:
    reply = await shop.call("GetLatestDeployment", {"appId": shop.app})
    assert reply.status_code == 404
    assert "no deployment yet" in reply.json()["message"]


@pytest.mark.parametrize(
    ("change", "status", "said"),
    [
        ({"requestedCPU": 0.1}, 422, "body.requestedCPU"),
        ({"requestedCPU": "1"}, 422, "body.requestedCPU"),
        ({"requestedMemoryMB": 100}, 422, "body.requestedMemoryMB"),
        ({"requestedMemoryMB": 1e300}, 422, "body.requestedMemoryMB"),
        ({"requestedGPU": 1}, 422, "body.requestedGPU"),
        ({"requestedGPU": 1, "experimentalRequestedGPU": 2}, 422, "body.requestedGPU"),
        ({"roomsPerProcess": 0}, 422, "body.roomsPerProcess"),
        ({"roomsPerProcess": 10001}, 422, "body.roomsPerProcess"),
        ({"containerPort": 65536}, 422, "body.containerPort"),
        ({"transportType": "tls"}, 422, "body.transportType"),
        ({"transportType": "quic"}, 422, "body.transportType"),
        ({"env": [{"name": "1", "value": ""}]}, 422, "body.env[0].name"),
        ({"env": [{"name": "HATHORA_REGION", "value": ""}]}, 422, "body.env[0].name"),
        ({"env": [{"name": "A", "value": "x" * 5001}]}, 422, "body.env[0].value"),
        ({"env": [{"name": "A", "value": ""}] * 101}, 422, "body.env"),
        ({"buildId": "bld-unknown"}, 404, "bld-unknown"),
        ({"fleetId": "fleet-unknown"}, 404, "fleet-unknown"),
    ],
)
async def test_what_is_refused(shop: Any, change: dict[str, Any], status: int, said: str) -> None:
    body = {**CONFIG, "buildId": await shop.studio.build(), **change}
    reply = await shop.call("CreateDeployment", {"appId": shop.app}, body=body)
    assert (reply.status_code, said in reply.json()["message"]) == (status, True), reply.text


async def test_a_build_that_has_not_run_is_400(shop: Any) -> None:
    made = await shop.call("CreateBuild", body={"buildSizeInBytes": 1})
    body = {**CONFIG, "buildId": made.json()["buildId"]}
    reply = await shop.call("CreateDeployment", {"appId": shop.app}, body=body)
    assert reply.status_code == 400
    assert "it is created" in reply.json()["message"]
