"""AppsV2 on the wire (behaviour.md 1, 7.3, 8.7)."""

from dataclasses import replace
from typing import Any

import pytest

from innkeeper.usecases import tokens
from innkeeper.usecases.tokens import NewToken

AUTH = {"anonymous": {}, "google": {"clientId": "c"}}
STATIC = {"region": "Tokyo", "minProcesses": 0, "targetProcesses": 1, "maxProcesses": None}


async def test_an_app_from_its_making_to_its_end(shop: Any) -> None:
    made = await shop.call("CreateApp", body={"appName": "arena", "authConfiguration": AUTH})
    assert made.status_code == 201
    app = made.json()
    assert app["authConfiguration"] == AUTH
    assert app["appId"].startswith("app-")
    assert (app["serviceConfig"], app["deletedAt"], app["deletedBy"]) == (None, None, None)
    at = {"appId": app["appId"]}
    assert (await shop.call("GetApp", at)).json() == app

    config = {"staticProcessAllocation": [STATIC]}
    change = {"appName": "arena2", "authConfiguration": {}, "serviceConfig": config}
    updated = (await shop.call("UpdateApp", at, body=change)).json()
    assert updated["appName"] == "arena2"
    assert updated["authConfiguration"] == {}
    shown = {**STATIC, "maxProcesses": 1000}
    assert updated["serviceConfig"] == {"staticProcessAllocation": [shown]}

    patched = (await shop.call("PatchApp", at, body={"appName": "arena3"})).json()
    assert patched == {**updated, "appName": "arena3"}
    emptied = {"serviceConfig": {"staticProcessAllocation": []}}
    patched = (await shop.call("PatchApp", at, body=emptied)).json()
    assert patched["serviceConfig"] == {"staticProcessAllocation": []}
    overridden = {"appName": "arena3", "authConfiguration": {}}
    assert (await shop.call("UpdateApp", at, body=overridden)).json()["serviceConfig"] is None

    gone = await shop.call("DeleteApp", at)
    assert (gone.status_code, gone.content) == (204, b"")
    for operation in ("GetApp", "DeleteApp", "GetDeployments", "GetLatestDeployment"):
        missing = await shop.call(operation, at)
        assert missing.status_code == 404
        assert missing.json()["message"] == f'App "{app["appId"]}" not found'
    listed = (await shop.call("GetApps")).json()["applications"]
    assert [item["appId"] for item in listed] == [shop.app]


async def test_what_a_tool_reads_it_can_send_back(shop: Any) -> None:
    shop.studio.policy = shop.house.services.policy = replace(
        shop.studio.policy, accept_unenforced=True
    )
    scaled = {"region": "London", "minProcesses": 1, "maxProcesses": 5, "autoscalingEnabled": True}
    config = {
        "staticProcessAllocation": [STATIC, scaled],
        "processAutoscalerConfig": {
            "targetMetric": {"metricName": "concurrent-requests", "metricValue": 2.5}
        },
        "loadBalancer": {"enabled": True},
    }
    at = {"appId": shop.app}
    first = (await shop.call("PatchApp", at, body={"serviceConfig": config})).json()
    entries = first["serviceConfig"]["staticProcessAllocation"]
    assert entries[1]["targetProcesses"] == 1
    keys = ("region", "minProcesses", "targetProcesses", "maxProcesses")
    four = [{key: entry[key] for key in keys} for entry in entries]
    four[0]["targetProcesses"] = 2
    sent = {"serviceConfig": {"staticProcessAllocation": four}}
    second = (await shop.call("PatchApp", at, body=sent)).json()["serviceConfig"]
    assert second["staticProcessAllocation"][0]["targetProcesses"] == 2
    assert second["staticProcessAllocation"][1] == entries[1]
    assert second["loadBalancer"] == {"enabled": True}
    assert second["processAutoscalerConfig"] == config["processAutoscalerConfig"]
    (listed,) = (await shop.call("GetApps")).json()["applications"]
    assert listed["serviceConfig"] == second


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"authConfiguration": {}}, "body.appName"),
        ({"appName": "Upper", "authConfiguration": {}}, "body.appName"),
        ({"appName": "x" * 65, "authConfiguration": {}}, "body.appName"),
        ({"appName": "", "authConfiguration": {}}, "body.appName"),
        ({"appName": "a\n", "authConfiguration": {}}, "body.appName"),
        ({"appName": "my-game", "authConfiguration": {}}, "body.appName"),
        ({"appName": "a", "authConfiguration": {"google": {}}}, "body.authConfiguration.google"),
        (
            {"appName": "a", "authConfiguration": {}, "loadBalancer": {"enabled": True}},
            "body.loadBalancer.enabled",
        ),
    ],
)
async def test_a_bad_app_is_422_and_names_the_field(
    shop: Any, body: dict[str, Any], field: str
) -> None:
    reply = await shop.call("CreateApp", body=body)
    assert reply.status_code == 422
    assert field in reply.json()["message"]


@pytest.mark.parametrize(
    "config",
    [
        {"staticProcessAllocation": [], "loadBalancer": {"enabled": True}},
        {"staticProcessAllocation": [{**STATIC, "region": "Mars"}]},
        {"staticProcessAllocation": [{**STATIC, "minProcesses": 2}]},
        {"staticProcessAllocation": [STATIC, STATIC]},
        {},
    ],
)
async def test_a_bad_service_config_is_422(shop: Any, config: dict[str, Any]) -> None:
    reply = await shop.call("PatchApp", {"appId": shop.app}, body={"serviceConfig": config})
    assert reply.status_code == 422
    assert "body.serviceConfig" in reply.json()["message"]


async def test_the_latest_deployment_is_embedded_where_the_caller_may_see_it(shop: Any) -> None:
    deployment = await shop.studio.deploy(rooms_per_process=7)
    (listed,) = (await shop.call("GetApps")).json()["applications"]
    assert listed["deployment"]["deploymentId"] == deployment.deployment_id
    assert listed["deployment"]["roomsPerProcess"] == 7
    assert listed["deployment"]["build"]["status"] == "succeeded"
    made = await shop.studio.ask(
        tokens.create_token,
        NewToken(shop.studio.caller.org_id, "narrow", ("applications:read", "builds:read")),
    )
    header = {"authorization": f"Bearer {made.plain_text}"}
    (listed,) = (await shop.call("GetApps", headers=header)).json()["applications"]
    assert "deployment" not in listed
    refused = await shop.call("DeleteApp", {"appId": shop.app}, headers=header)
    assert refused.status_code == 401
    assert refused.json()["message"] == "Missing scope: applications:read-write"


async def test_another_org_in_the_query_is_404(shop: Any) -> None:
    for operation in ("GetApps", "GetBuilds"):
        reply = await shop.call(operation, params={"orgId": "org-other"})
        assert reply.status_code == 404
        own = await shop.call(operation, params={"orgId": shop.studio.caller.org_id})
        assert own.status_code == 200


async def test_a_deleted_app_wakes_the_passes_of_its_regions(shop: Any) -> None:
    deployment = await shop.studio.deploy()
    created = await shop.call("CreateProcess", {"appId": shop.app, "region": "Tokyo"})
    assert created.status_code == 201
    shop.house.woken.clear()
    await shop.call("DeleteApp", {"appId": shop.app})
    assert shop.house.woken == [(shop.app, "Tokyo")]
    assert deployment.app_id == shop.app
