"""Apps: what a studio's builds, deployments, processes and rooms hang on (behaviour.md 1, 8.7)."""

import json
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from innkeeper.core.accounts import Caller, held
from innkeeper.core.catalog import App, Build, Deployment
from innkeeper.core.errors import Invalid, NotFound
from innkeeper.core.moments import from_ms, maybe_from_ms, to_ms
from innkeeper.core.processes import APP_DELETED
from innkeeper.core.service_config import (
    check_enforced,
    check_service_config,
    merge_service_config,
    unenforced,
)
from innkeeper.interfaces import Context, Row, Tx
from innkeeper.usecases import allocations, builds, deployments, journal


@dataclass(frozen=True, slots=True)
class NewApp:
    """What creates an app. Both configurations in the wire's form."""

    app_name: str
    auth_configuration: dict[str, Any]
    load_balancer: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class AppSettings:
    """What an update leaves: all of it, so what was not sent is gone (behaviour.md 8.7)."""

    app_id: str
    app_name: str
    auth_configuration: dict[str, Any]
    service_config: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class AppPatch:
    """What a patch replaces: ``None`` keeps what is there."""

    app_id: str
    app_name: str | None = None
    auth_configuration: dict[str, Any] | None = None
    service_config: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class ListedApp:
    """An app beside its latest deployment and that one's build, where the caller may see them."""

    app: App
    deployment: Deployment | None
    build: Build | None


def create_app(tx: Tx, caller: Caller, wanted: NewApp, context: Context) -> App:
    """Make an app (behaviour.md 1, 0.2).

    Raises :class:`Invalid` for a name that a live app of the org holds.
    """
    config: dict[str, Any] | None = None
    if wanted.load_balancer is not None:
        if wanted.load_balancer["enabled"] and not context.policy.accept_unenforced:
            raise unenforced("body.loadBalancer.enabled", "load balancing")
        config = {"staticProcessAllocation": [], "loadBalancer": wanted.load_balancer}
    _check_name_free(tx, caller.org_id, wanted.app_name)
    app_id = context.ids.prefixed("app")
    tx.run(
        "apps.insert",
        app_id=app_id,
        org_id=caller.org_id,
        app_name=wanted.app_name,
        app_secret=context.ids.prefixed("secret"),
        auth_configuration=json.dumps(wanted.auth_configuration),
        service_config=None if config is None else json.dumps(config),
        created_at=to_ms(context.now),
        created_by=caller.name,
    )
    return require_app(tx, caller.org_id, app_id)


def get_app(tx: Tx, caller: Caller, app_id: str, context: Context) -> App:
    """One app, with its autoscaled targets. Raises :class:`NotFound`."""
    return _with_targets(tx, require_app(tx, caller.org_id, app_id))


def list_apps(tx: Tx, caller: Caller, wanted: None, context: Context) -> list[ListedApp]:
    """The org's apps, newest first; their deployments only for callers that may read those and
    builds (7.3).
    """
    targets = _targets(tx, caller.org_id)
    apps = [
        replace(app, targets=targets.get(app.app_id, {}))
        for app in map(app_from, tx.all("apps.live_of_org", org_id=caller.org_id))
    ]
    if not (held(caller.scopes, "deployments:read") and held(caller.scopes, "builds:read")):
        return [ListedApp(app, None, None) for app in apps]
    latest = {
        row["app_id"]: deployments.deployment_from(row)
        for row in tx.all("deployments.latest_of_org", org_id=caller.org_id)
    }
    used = {
        row["build_key"]: builds.build_from(row)
        for row in tx.all("builds.latest_of_org", org_id=caller.org_id)
    }
    listed = []
    for app in apps:
        deployment = latest.get(app.app_id)
        listed.append(
            ListedApp(app, deployment, used[deployment.build_key] if deployment else None)
        )
    return listed


def update_app(tx: Tx, caller: Caller, wanted: AppSettings, context: Context) -> App:
    """Override all of an app's settings. Raises :class:`NotFound` and :class:`Invalid`."""
    app = require_app(tx, caller.org_id, wanted.app_id)
    if wanted.service_config is not None:
        _check_given(wanted.service_config, context)
        check_service_config(wanted.service_config)
    return _change(tx, app, wanted, context)


def patch_app(tx: Tx, caller: Caller, patch: AppPatch, context: Context) -> App:
    """Replace the settings that were given; ``serviceConfig`` is merged one level down (8.7).

    Raises :class:`NotFound` and :class:`Invalid`.
    """
    app = require_app(tx, caller.org_id, patch.app_id)
    config = app.service_config
    if patch.service_config is not None:
        _check_given(patch.service_config, context)
        config = merge_service_config(app.service_config, patch.service_config)
        check_service_config(config)
    wanted = AppSettings(
        app_id=app.app_id,
        app_name=app.app_name if patch.app_name is None else patch.app_name,
        auth_configuration=(
            app.auth_configuration if patch.auth_configuration is None else patch.auth_configuration
        ),
        service_config=config,
    )
    return _change(tx, app, wanted, context)


def delete_app(tx: Tx, caller: Caller, app_id: str, context: Context) -> None:
    """Take an app away from its org (behaviour.md 1.3).

    Raises :class:`NotFound`, the second time too.

    Its processes are stopped by the passes it wakes, and their rooms end with them; rooms that no
    process holds end here.
    """
    app = require_app(tx, caller.org_id, app_id)
    now = to_ms(context.now)
    tx.run("apps.mark_deleted", app_id=app.app_id, deleted_at=now, deleted_by=caller.name)
    journal.of_unplaced_rooms(tx, app.app_id, "room.destroyed", now, APP_DELETED)
    tx.run("apps.end_unplaced_rooms", app_id=app.app_id, destroyed_at=now, end_reason=APP_DELETED)
    allocations.drop(tx, app.app_id)
    for row in tx.all("apps.regions_unfinished", app_id=app.app_id):
        context.wake.append((app.app_id, row["region"]))


def require_app(tx: Tx, org_id: str, app_id: str) -> App:
    """An app of this org.

    Raises :class:`NotFound` where it is unknown, deleted or another org's.
    """
    row = tx.one("apps.live_by_id", app_id=app_id, org_id=org_id)
    if row is None:
        raise NotFound("App", app_id)
    return app_from(row)


def require_app_anywhere(tx: Tx, app_id: str) -> App:
    """An app of any org, for calls without an org token. Raises :class:`NotFound`."""
    row = tx.one("apps.live_anywhere", app_id=app_id)
    if row is None:
        raise NotFound("App", app_id)
    return app_from(row)


def app_from(row: Row) -> App:
    """The app in a row of the table.

    Its two configurations are shared between reads: change a copy.
    """
    config = row["service_config"]
    return App(
        app_id=row["app_id"],
        org_id=row["org_id"],
        app_name=row["app_name"],
        app_secret=row["app_secret"],
        auth_configuration=_object(row["auth_configuration"]),
        service_config=None if config is None else _object(config),
        created_at=from_ms(row["created_at"]),
        created_by=row["created_by"],
        deleted_at=maybe_from_ms(row["deleted_at"]),
        deleted_by=row["deleted_by"],
        latest_deployment_id=row["latest_deployment_id"],
    )


def _check_given(config: dict[str, Any], context: Context) -> None:
    if not context.policy.accept_unenforced:
        check_enforced(config)


def _check_name_free(tx: Tx, org_id: str, app_name: str, but: str | None = None) -> None:
    row = tx.one("apps.live_by_name", org_id=org_id, app_name=app_name)
    if row is not None and row["app_id"] != but:
        raise Invalid("body.appName", f'is already used by another app: "{app_name}"')


def _change(tx: Tx, app: App, wanted: AppSettings, context: Context) -> App:
    _check_name_free(tx, app.org_id, wanted.app_name, but=app.app_id)
    config = wanted.service_config
    tx.run(
        "apps.change",
        app_id=app.app_id,
        app_name=wanted.app_name,
        auth_configuration=json.dumps(wanted.auth_configuration),
        service_config=None if config is None else json.dumps(config),
    )
    if config != app.service_config:
        allocations.keep_static(tx, app.app_id, config, context)
    return _with_targets(tx, require_app(tx, app.org_id, app.app_id))


def _with_targets(tx: Tx, app: App) -> App:
    return replace(app, targets=_targets(tx, app.org_id).get(app.app_id, {}))


def _targets(tx: Tx, org_id: str) -> dict[str, dict[str, int]]:
    """By app, then by region."""
    found: dict[str, dict[str, int]] = {}
    for row in tx.all("autoscaling.targets_of_org", org_id=org_id):
        found.setdefault(row["app_id"], {})[row["region"]] = row["target_processes"]
    return found


def _object(text: str) -> dict[str, Any]:
    # Every new room reads its app: the same short text is decoded once.
    return _decoded(text) if len(text) <= 4096 else _decoded.__wrapped__(text)


@lru_cache(maxsize=1024)
def _decoded(text: str) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(text)
    return value
