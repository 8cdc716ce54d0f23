"""Deployments: how a build is run. Made, read, never changed (behaviour.md 3)."""

import json
from functools import lru_cache

from innkeeper.core.catalog import App, ContainerPort, Deployment, EnvVar
from innkeeper.core.errors import NotFound
from innkeeper.core.moments import from_ms
from innkeeper.interfaces import Row, Tx


def latest(tx: Tx, app: App) -> Deployment:
    """The deployment that new rooms and processes of ``app`` use.

    Raises :class:`NotFound` where the app has none yet (behaviour.md 3, 5.1).
    """
    if app.latest_deployment_id is None:
        raise NotFound("Deployment", "latest", f'app "{app.app_id}" has no deployment yet')
    return require(tx, app.app_id, app.latest_deployment_id)


def require(tx: Tx, app_id: str, deployment_id: str) -> Deployment:
    """A deployment of this app, by its ``dep-`` id or by its number as text (behaviour.md 1.2).

    Raises :class:`NotFound` where the app has no such deployment.
    """
    if _is_number(deployment_id):
        row = tx.one("deployments.by_number", app_id=app_id, number=int(deployment_id))
    else:
        row = tx.one("deployments.by_id", app_id=app_id, deployment_id=deployment_id)
    if row is None:
        raise NotFound("Deployment", deployment_id)
    return deployment_from(row)


def deployment_from(row: Row) -> Deployment:
    """The deployment in a row of the table."""
    ports = _ports(row["ports"])
    return Deployment(
        deployment_id=row["deployment_id"],
        number=row["number"],
        app_id=row["app_id"],
        build_key=row["build_key"],
        build_id=row["build_id"],
        build_tag=row["build_tag"],
        deployment_tag=row["deployment_tag"],
        created_at=from_ms(row["created_at"]),
        created_by=row["created_by"],
        cpu_millis=row["cpu_millis"],
        memory_mb=row["memory_mb"],
        gpu=row["gpu"],
        rooms_per_process=row["rooms_per_process"],
        default_port=ports[0],
        additional_ports=ports[1:],
        env=_env(row["env"]),
        idle_timeout_enabled=bool(row["idle_timeout_enabled"]),
        fleet_id=row["fleet_id"],
    )


def _is_number(text: str) -> bool:
    # Eighteen digits always fit the column.
    return text.isascii() and text.isdigit() and len(text) <= 18


# Deployments never change, and every new room reads one: the same text is decoded once.
@lru_cache(maxsize=1024)
def _ports(text: str) -> tuple[ContainerPort, ...]:
    return tuple(ContainerPort(p["name"], p["port"], p["transport_type"]) for p in json.loads(text))


@lru_cache(maxsize=256)
def _env(text: str) -> tuple[EnvVar, ...]:
    return tuple(EnvVar(v["name"], v["value"]) for v in json.loads(text))
