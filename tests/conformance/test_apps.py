"""AppsV2: every operation, by meaning (behaviour.md 1.3, 8.7)."""

import re

from innkeeper.testing.live_studio import LiveStudio
from innkeeper.testing.official_sdk import Sdk, refused

UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}"
UNKNOWN = "app-00000000-0000-4000-8000-000000000000"


def regional(region: str, **more: object) -> dict[str, object]:
    return {"region": region, "minProcesses": 0, "maxProcesses": 4, "targetProcesses": 0, **more}


def test_a_new_app(studio: LiveStudio, org_id: str) -> None:
    auth = {"anonymous": {}, "nickname": {}, "google": {"clientId": "a-client"}}
    wanted = {"appName": "made-here", "authConfiguration": auth}
    app, (reply,) = studio.sdk.answered("appsV2.createApp", wanted)
    studio.apps.append(app["appId"])
    assert reply.status == 201
    assert reply.authorized
    assert re.fullmatch(f"app-{UUID}", app["appId"])
    assert re.fullmatch(f"secret-{UUID}", app["appSecret"])
    assert (app["orgId"], app["appName"]) == (org_id, "made-here")
    assert app["authConfiguration"] == auth
    assert (app["serviceConfig"], app["deletedAt"], app["deletedBy"]) == (None, None, None)
    assert app["createdBy"]
    assert studio.sdk("appsV2.getApp", app["appId"]) == app


def test_an_app_name_is_unique_in_its_organization(studio: LiveStudio, stranger: Sdk) -> None:
    studio.app(appName="only-once")
    wanted = {"appName": "only-once", "authConfiguration": {}}
    with refused(422, "appName"):
        studio.sdk("appsV2.createApp", wanted)
    theirs = stranger("appsV2.createApp", wanted)
    assert theirs["orgId"] == "org-of-strangers"
    stranger("appsV2.deleteApp", theirs["appId"])


def test_names_are_checked(studio: LiveStudio) -> None:
    for name in ("", "Upper", "with space", "x" * 65, "new\nline", "line\n"):
        with refused(422, "appName"):
            studio.sdk("appsV2.createApp", {"appName": name, "authConfiguration": {}})


def test_the_list_shows_apps_with_their_latest_deployment(
    studio: LiveStudio, build_id: str
) -> None:
    bare, full = studio.app(), studio.app()
    studio.deploy(full, build_id)
    latest = studio.deploy(full, build_id, roomsPerProcess=7)
    listed = {a["appId"]: a for a in studio.sdk("appsV2.getApps")["applications"]}
    assert "deployment" not in listed[bare]
    assert listed[full]["deployment"]["deploymentId"] == latest["deploymentId"]
    assert listed[full]["deployment"]["roomsPerProcess"] == 7
    assert listed[full]["deployment"]["build"]["buildId"] == build_id


def test_update_overrides_everything(studio: LiveStudio) -> None:
    app_id = studio.app()
    service = {"staticProcessAllocation": [regional("London")]}
    wanted = {
        "appName": "renamed",
        "authConfiguration": {"anonymous": {}},
        "serviceConfig": service,
    }
    updated = studio.sdk("appsV2.updateApp", wanted, app_id)
    assert updated["appName"] == "renamed"
    assert updated["serviceConfig"]["staticProcessAllocation"][0]["region"] == "London"
    bare = studio.sdk("appsV2.updateApp", {"appName": "renamed", "authConfiguration": {}}, app_id)
    assert bare["serviceConfig"] is None
    assert bare["authConfiguration"] == {}
    assert studio.sdk("appsV2.getApp", app_id) == bare


def test_patch_changes_what_it_names(studio: LiveStudio) -> None:
    app_id = studio.app(authConfiguration={"anonymous": {}})
    before = studio.sdk("appsV2.getApp", app_id)
    patched = studio.sdk("appsV2.patchApp", {"appName": "patched"}, app_id)
    assert patched == {**before, "appName": "patched"}
    regions = [regional("London"), regional("Tokyo")]
    body = {"serviceConfig": {"staticProcessAllocation": regions}}
    patched = studio.sdk("appsV2.patchApp", body, app_id)
    shown = patched["serviceConfig"]["staticProcessAllocation"]
    assert [entry["region"] for entry in shown] == ["London", "Tokyo"]
    body = {"serviceConfig": {"staticProcessAllocation": []}}
    patched = studio.sdk("appsV2.patchApp", body, app_id)
    # Once set it is an empty list, never null: an official tool fails on null.
    assert patched["serviceConfig"]["staticProcessAllocation"] == []
    assert patched["appName"] == "patched"


def test_static_allocation_keeps_its_order_of_numbers(studio: LiveStudio) -> None:
    app_id = studio.app()
    for bad in (
        {"minProcesses": 3, "targetProcesses": 2},
        {"targetProcesses": 5},
        {"minProcesses": -1},
    ):
        body = {"serviceConfig": {"staticProcessAllocation": [regional("London", **bad)]}}
        with refused(422, "staticProcessAllocation"):
            studio.sdk("appsV2.patchApp", body, app_id)
    twice = {"serviceConfig": {"staticProcessAllocation": [regional("London"), regional("London")]}}
    with refused(422, "staticProcessAllocation"):
        studio.sdk("appsV2.patchApp", twice, app_id)


def test_what_is_not_acted_on_is_refused_aloud(studio: LiveStudio) -> None:
    app_id = studio.app()
    balanced = {"staticProcessAllocation": [], "loadBalancer": {"enabled": True}}
    with refused(422, "loadBalancer"):
        studio.sdk("appsV2.patchApp", {"serviceConfig": balanced}, app_id)
    with refused(422, "loadBalancer"):
        studio.app(loadBalancer={"enabled": True})


def test_a_deleted_app_is_gone_everywhere(studio: LiveStudio, build_id: str) -> None:
    app_id = studio.app(appName="soon-gone")
    studio.deploy(app_id, build_id)
    room = studio.room(app_id)
    value, (reply,) = studio.sdk.answered("appsV2.deleteApp", app_id)
    assert (value, reply.status) == (None, 204)
    assert app_id not in {a["appId"] for a in studio.sdk("appsV2.getApps")["applications"]}
    for call, *args in (
        ("appsV2.getApp", app_id),
        ("appsV2.deleteApp", app_id),
        ("appsV2.patchApp", {}, app_id),
        ("deploymentsV3.getLatestDeployment", app_id),
        ("roomsV2.createRoom", {"region": "Seattle"}, app_id),
        ("roomsV2.getRoomInfo", room["roomId"], app_id),
        ("roomsV2.getConnectionInfo", room["roomId"], app_id),
        ("processesV3.getProcess", room["processId"], app_id),
    ):
        with refused(404):
            studio.sdk(call, *args)
    assert studio.app(appName="soon-gone") != app_id


def test_unknown_and_foreign_apps_are_not_found_alike(studio: LiveStudio, stranger: Sdk) -> None:
    app_id = studio.app()
    with refused(404, app_id):
        stranger("appsV2.getApp", app_id)
    with refused(404, UNKNOWN):
        studio.sdk("appsV2.getApp", UNKNOWN)
    for call in ("appsV2.updateApp", "appsV2.patchApp"):
        with refused(404):
            stranger(call, {"appName": "stolen", "authConfiguration": {}}, app_id)
    with refused(404):
        stranger("appsV2.deleteApp", app_id)
    assert app_id not in {a["appId"] for a in stranger("appsV2.getApps")["applications"]}
