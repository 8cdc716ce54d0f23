"""AppsV2 and V1: shapes first, rows last (behaviour.md 1, 8.7)."""

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from innkeeper.api import deployments
from innkeeper.api import wire_generated as wire
from innkeeper.api.locks import of_app
from innkeeper.api.operation import Operation, under_names
from innkeeper.api.request import Request
from innkeeper.core.catalog import App
from innkeeper.core.service_config import SYSTEM_PROCESSES_MAX
from innkeeper.usecases import apps
from innkeeper.usecases.apps import AppPatch, AppSettings, ListedApp, NewApp


def as_sent(value: msgspec.Struct | UnsetType) -> dict[str, Any] | None:
    """An object of the wire as plain data, without what was left out; ``None`` where it was not sent."""
    if value is UNSET:
        return None
    plain: dict[str, Any] = msgspec.to_builtins(value)
    return plain


def read_nothing(request: Request) -> None:
    """For operations that ask for nothing beyond who calls."""


def read_app_id(request: Request) -> str:
    """The app of the path."""
    app_id: str = request.path["appId"]
    return app_id


def read_new_app(request: Request) -> NewApp:
    """What CreateApp is asked for."""
    body: wire.CreateAppConfig = request.body
    return NewApp(
        app_name=body.appName,
        auth_configuration=as_sent(body.authConfiguration) or {},
        load_balancer=as_sent(body.loadBalancer),
    )


def read_settings(request: Request) -> AppSettings:
    """What UpdateApp leaves."""
    body: wire.AppConfigWithServiceConfig = request.body
    return AppSettings(
        app_id=request.path["appId"],
        app_name=body.appName,
        auth_configuration=as_sent(body.authConfiguration) or {},
        service_config=as_sent(body.serviceConfig),
    )


def read_patch(request: Request) -> AppPatch:
    """What PatchApp replaces."""
    body: wire.PartialAppConfigWithServiceConfig = request.body
    return AppPatch(
        app_id=request.path["appId"],
        app_name=None if body.appName is UNSET else body.appName,
        auth_configuration=as_sent(body.authConfiguration),
        service_config=as_sent(body.serviceConfig),
    )


def read_change_v1(request: Request) -> AppPatch:
    """What V1's update replaces: it knows no ``serviceConfig``, so that one stays (behaviour.md 8.7)."""
    body: wire.CreateAppConfig = request.body
    balancer = as_sent(body.loadBalancer)
    return AppPatch(
        app_id=request.path["appId"],
        app_name=body.appName,
        auth_configuration=as_sent(body.authConfiguration) or {},
        service_config=None if balancer is None else {"loadBalancer": balancer},
    )


def _shared(app: App) -> dict[str, Any]:
    return {
        "appId": app.app_id,
        "appName": app.app_name,
        "appSecret": app.app_secret,
        "orgId": app.org_id,
        "authConfiguration": msgspec.convert(app.auth_configuration, wire.AuthConfiguration),
        "createdAt": app.created_at,
        "createdBy": app.created_by,
        "deletedAt": app.deleted_at,
        "deletedBy": app.deleted_by,
    }


def shown_service_config(app: App) -> dict[str, Any] | None:
    """A stored ``serviceConfig`` as replies must have it: every number there, none of them null."""
    config = app.service_config
    if config is None:
        return None
    entries = []
    for entry in config["staticProcessAllocation"]:
        most = entry["maxProcesses"]
        shown = {**entry, "maxProcesses": SYSTEM_PROCESSES_MAX if most is None else most}
        # Where the autoscaler decides, it is what it wants now.
        target = app.targets.get(entry["region"], entry["minProcesses"])
        shown.setdefault("targetProcesses", target)
        entries.append(shown)
    return {**config, "staticProcessAllocation": entries}


def write_app(app: App) -> wire.Application:
    """An app."""
    config = shown_service_config(app)
    shown = None if config is None else msgspec.convert(config, wire.ApplicationServiceConfig)
    return wire.Application(**_shared(app), serviceConfig=shown)


def write_listed(listed: list[ListedApp]) -> wire.ApplicationsPage:
    """The org's apps with their latest deployments."""
    return wire.ApplicationsPage(applications=[_listed(item) for item in listed])


def _listed(item: ListedApp) -> wire.ApplicationWithLatestDeploymentAndBuild:
    config = shown_service_config(item.app)
    shape = wire.ApplicationWithLatestDeploymentAndBuildServiceConfig
    latest: wire.ApplicationWithLatestDeploymentAndBuildDeployment | UnsetType = UNSET
    if item.deployment is not None and item.build is not None:
        latest = deployments.write_embedded(item.deployment, item.build)
    return wire.ApplicationWithLatestDeploymentAndBuild(
        **_shared(item.app),
        serviceConfig=None if config is None else msgspec.convert(config, shape),
        deployment=latest,
    )


def write_listed_v1(
    listed: list[ListedApp],
) -> list[wire.ApplicationWithLatestDeploymentAndBuildDeprecated]:
    """V1's list: the same apps, with numbers for deployments and builds."""
    return [_listed_v1(item) for item in listed]


def _listed_v1(item: ListedApp) -> wire.ApplicationWithLatestDeploymentAndBuildDeprecated:
    config = shown_service_config(item.app)
    latest: wire.Deployment | UnsetType = UNSET
    if item.deployment is not None and item.build is not None:
        latest = deployments.write_embedded_v1(item.deployment, item.build)
    return wire.ApplicationWithLatestDeploymentAndBuildDeprecated(
        **_shared(item.app),
        serviceConfig=None if config is None else msgspec.convert(config, wire.ServiceConfig),
        deployment=latest,
    )


def write_nothing(_: object) -> None:
    """The answer has no body."""


_READ, _WRITE = "applications:read", "applications:read-write"

_V2 = (
    Operation("CreateApp", read_new_app, apps.create_app, write_app, scope=_WRITE),
    Operation("GetApps", read_nothing, apps.list_apps, write_listed, "read", _READ),
    Operation("GetApp", read_app_id, apps.get_app, write_app, "read", _READ),
    Operation("UpdateApp", read_settings, apps.update_app, write_app, scope=_WRITE),
    Operation("PatchApp", read_patch, apps.patch_app, write_app, scope=_WRITE),
    Operation("DeleteApp", read_app_id, apps.delete_app, write_nothing, scope=_WRITE, locks=of_app),
)

OPERATIONS = (
    *_V2,
    Operation("GetAppsV1Deprecated", read_nothing, apps.list_apps, write_listed_v1, "read", _READ),
    Operation("UpdateAppV1Deprecated", read_change_v1, apps.patch_app, write_app, scope=_WRITE),
    *under_names(
        _V2,
        {
            "CreateApp": "CreateAppV1Deprecated",
            "GetApp": "GetAppInfoV1Deprecated",
            "DeleteApp": "DeleteAppV1Deprecated",
        },
    ),
)
