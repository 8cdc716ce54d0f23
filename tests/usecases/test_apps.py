"""What a studio asks of apps (behaviour.md 1.3, 7.3, 8.7)."""

from typing import Any

import pytest

from innkeeper.core.errors import Invalid, NotFound
from innkeeper.usecases import apps, deployments
from innkeeper.usecases.apps import AppPatch, AppSettings, NewApp

STATIC = {"region": "Chicago", "minProcesses": 0, "targetProcesses": 1, "maxProcesses": 2}


async def test_a_new_app_has_ids_a_secret_and_what_was_sent(desk: Any) -> None:
    auth = {"google": {"clientId": "c"}, "nickname": {}}
    app = await desk.ask(apps.create_app, NewApp("arena", auth))
    assert app.app_id.startswith("app-")
    assert app.app_secret.startswith("secret-")
    assert app.auth_configuration == auth
    assert (app.org_id, app.created_by) == (desk.caller.org_id, desk.caller.name)
    assert (app.service_config, app.deleted_at, app.deleted_by) == (None, None, None)
    assert await desk.ask(apps.get_app, app.app_id) == app


async def test_a_name_is_unique_among_live_apps_and_free_after_a_deletion(desk: Any) -> None:
    app = await desk.app("arena")
    with pytest.raises(Invalid, match=r"body\.appName"):
        await desk.app("arena")
    await desk.ask(apps.delete_app, app.app_id)
    again = await desk.app("arena")
    assert again.app_id != app.app_id
    other = await desk.app("other")
    with pytest.raises(Invalid, match=r"body\.appName"):
        await desk.ask(apps.patch_app, AppPatch(other.app_id, app_name="arena"))
    kept = await desk.ask(apps.patch_app, AppPatch(other.app_id, app_name="other"))
    assert kept.app_name == "other"


async def test_the_list_is_newest_first_with_the_latest_deployment_and_its_build(desk: Any) -> None:
    first, second = await desk.app("first"), await desk.app("second")
    build = await desk.succeeded_build()
    await desk.ask(deployments.create_deployment, desk.deployment_of(first.app_id, build.build_id))
    latest = await desk.ask(
        deployments.create_deployment, desk.deployment_of(first.app_id, build.build_id)
    )
    listed = await desk.ask(apps.list_apps, None)
    names = [item.app.app_id for item in listed]
    assert names == [second.app_id, first.app_id, desk.studio.app_id]
    assert (listed[0].deployment, listed[0].build) == (None, None)
    assert listed[1].deployment == latest
    assert listed[1].build.build_key == build.build_key


async def test_deployments_are_left_out_for_callers_that_may_not_read_them(desk: Any) -> None:
    app = await desk.app()
    build = await desk.succeeded_build()
    await desk.ask(deployments.create_deployment, desk.deployment_of(app.app_id, build.build_id))
    for scopes, shown in (
        (("applications:read",), False),
        (("applications:read", "deployments:read"), False),
        (("applications:read", "builds:read-write"), False),
        (("applications:read", "deployments:read-write", "builds:read"), True),
    ):
        item, _ = await desk.ask(apps.list_apps, None, caller=desk.holding(*scopes))
        assert (item.deployment is not None) is shown, scopes


async def test_update_overrides_every_setting_and_patch_only_what_it_names(desk: Any) -> None:
    app = await desk.app()
    config = {"staticProcessAllocation": [STATIC]}
    app = await desk.ask(apps.update_app, AppSettings(app.app_id, "renamed", {}, config))
    assert (app.app_name, app.auth_configuration, app.service_config) == ("renamed", {}, config)
    app = await desk.ask(apps.patch_app, AppPatch(app.app_id, auth_configuration={"nickname": {}}))
    assert app.app_name == "renamed"
    assert app.auth_configuration == {"nickname": {}}
    assert app.service_config == config
    app = await desk.ask(apps.update_app, AppSettings(app.app_id, "again", {}, None))
    assert (app.app_name, app.service_config) == ("again", None)


async def test_a_patch_of_the_service_config_is_merged_one_level_down(desk: Any) -> None:
    app = await desk.app()
    config = {"staticProcessAllocation": [STATIC], "loadBalancer": {"enabled": False}}
    await desk.ask(apps.patch_app, AppPatch(app.app_id, service_config=config))
    emptied = {"staticProcessAllocation": []}
    app = await desk.ask(apps.patch_app, AppPatch(app.app_id, service_config=emptied))
    assert app.service_config == {"staticProcessAllocation": [], "loadBalancer": {"enabled": False}}


async def test_a_patched_entry_keeps_its_autoscaling_and_drops_the_shown_target(desk: Any) -> None:
    desk.accept_unenforced()
    app = await desk.app()
    scaled = {"region": "Tokyo", "minProcesses": 1, "maxProcesses": 5, "autoscalingEnabled": True}
    config = {
        "staticProcessAllocation": [STATIC, scaled],
        "processAutoscalerConfig": {
            "targetMetric": {"metricName": "concurrent-requests", "metricValue": 3}
        },
    }
    await desk.ask(apps.patch_app, AppPatch(app.app_id, service_config=config))
    four_keys = {"region": "Tokyo", "minProcesses": 1, "targetProcesses": 1, "maxProcesses": 5}
    changed = {"staticProcessAllocation": [{**STATIC, "targetProcesses": 2}, four_keys]}
    app = await desk.ask(apps.patch_app, AppPatch(app.app_id, service_config=changed))
    assert app.service_config["staticProcessAllocation"] == [
        {**STATIC, "targetProcesses": 2},
        scaled,
    ]


@pytest.mark.parametrize(
    ("entry", "field"),
    [
        ({"minProcesses": -1}, "minProcesses"),
        ({"minProcesses": 3}, "minProcesses"),
        ({"minProcesses": 2, "targetProcesses": 1}, "targetProcesses"),
        ({"targetProcesses": 3}, "targetProcesses"),
        ({"targetProcesses": None}, "targetProcesses"),
        ({"maxProcesses": 1001}, "maxProcesses"),
        ({"maxProcesses": None, "targetProcesses": 1001}, "targetProcesses"),
        ({"autoscalingEnabled": True}, "targetProcesses"),
        ({"autoscalingEnabled": True, "targetProcesses": None}, "autoscalingEnabled"),
    ],
)
async def test_numbers_that_do_not_fit_are_refused(
    desk: Any, entry: dict[str, Any], field: str
) -> None:
    app = await desk.app()
    config = {"staticProcessAllocation": [{**STATIC, **entry}]}
    with pytest.raises(Invalid, match=rf"staticProcessAllocation\[0\]\.{field} "):
        await desk.ask(apps.patch_app, AppPatch(app.app_id, service_config=config))


async def test_equal_numbers_no_maximum_and_one_entry_a_region(desk: Any) -> None:
    app = await desk.app()
    equal = {**STATIC, "minProcesses": 2, "targetProcesses": 2}
    endless = {**STATIC, "region": "Tokyo", "maxProcesses": None}
    config = {"staticProcessAllocation": [equal, endless]}
    await desk.ask(apps.update_app, AppSettings(app.app_id, "arena", {}, config))
    twice = {"staticProcessAllocation": [STATIC, STATIC]}
    with pytest.raises(Invalid, match=r"\[1\]\.region appears more than once"):
        await desk.ask(apps.update_app, AppSettings(app.app_id, "arena", {}, twice))


async def test_an_autoscaler_is_taken_and_its_value_must_be_above_nought(desk: Any) -> None:
    app = await desk.app()
    for value in (0.5, 0, -1):
        metric = {"metricName": "concurrent-requests", "metricValue": value}
        config = {
            "staticProcessAllocation": [],
            "processAutoscalerConfig": {"targetMetric": metric},
        }
        asked = desk.ask(apps.patch_app, AppPatch(app.app_id, service_config=config))
        if value > 0:
            assert (await asked).service_config == config
        else:
            with pytest.raises(Invalid, match="metricValue must be greater than 0"):
                await asked


async def test_what_nothing_enforces_is_refused_unless_that_is_accepted(desk: Any) -> None:
    balancer = {"staticProcessAllocation": [], "loadBalancer": {"enabled": True}}
    app = await desk.app()
    with pytest.raises(Invalid, match="does not enforce yet"):
        await desk.ask(apps.patch_app, AppPatch(app.app_id, service_config=balancer))
    with pytest.raises(Invalid, match="does not enforce yet"):
        await desk.ask(apps.update_app, AppSettings(app.app_id, "arena", {}, balancer))
    with pytest.raises(Invalid, match=r"body\.loadBalancer\.enabled"):
        await desk.ask(apps.create_app, NewApp("balanced", {}, {"enabled": True}))
    off = await desk.ask(apps.create_app, NewApp("plain", {}, {"enabled": False}))
    assert off.service_config == {"staticProcessAllocation": [], "loadBalancer": {"enabled": False}}
    desk.accept_unenforced()
    on = await desk.ask(apps.create_app, NewApp("balanced", {}, {"enabled": True}))
    assert on.service_config["loadBalancer"] == {"enabled": True}


async def test_a_deleted_app_is_gone_for_its_org(desk: Any) -> None:
    app = await desk.app()
    await desk.ask(apps.delete_app, app.app_id)
    with pytest.raises(NotFound):
        await desk.ask(apps.get_app, app.app_id)
    with pytest.raises(NotFound):
        await desk.ask(apps.delete_app, app.app_id)
    (left,) = await desk.ask(apps.list_apps, None)
    assert left.app.app_id == desk.studio.app_id


async def test_another_orgs_app_is_not_there(desk: Any, stranger: Any) -> None:
    app = await desk.app()
    with pytest.raises(NotFound) as foreign:
        await desk.ask(apps.get_app, app.app_id, caller=stranger)
    assert foreign.value.message == f'App "{app.app_id}" not found'
    with pytest.raises(NotFound):
        await desk.ask(apps.delete_app, app.app_id, caller=stranger)
    assert (await desk.tx(apps.require_app_anywhere, app.app_id)) == app


async def test_a_change_of_what_is_wanted_wakes_the_regions_it_concerns(desk: Any) -> None:
    app = await desk.app()
    build = await desk.succeeded_build()
    tokyo, london = {**STATIC, "region": "Tokyo"}, {**STATIC, "region": "London"}

    async def woken_by(regions: list[Any]) -> set[str]:
        desk.woken.clear()
        config = {"staticProcessAllocation": regions}
        await desk.ask(apps.patch_app, AppPatch(app.app_id, service_config=config))
        return {region for _, region in desk.woken}

    assert await woken_by([tokyo, london]) == {"Tokyo", "London"}
    assert await woken_by([tokyo, london]) == set(), "nothing has changed"
    assert await woken_by([tokyo]) == {"Tokyo", "London"}
    desk.woken.clear()
    await desk.ask(deployments.create_deployment, desk.deployment_of(app.app_id, build.build_id))
    assert desk.woken == [(app.app_id, "Tokyo")]
