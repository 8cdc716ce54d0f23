"""Deployments: how a build is run. Made, read, never changed (behaviour.md 3)."""

import json
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache

from innkeeper.core.accounts import Caller
from innkeeper.core.catalog import (
    App,
    Build,
    ContainerPort,
    Deployment,
    EnvVar,
    check_deployment,
)
from innkeeper.core.errors import Invalid, NotFound, StateConflict
from innkeeper.core.moments import from_ms, to_ms
from innkeeper.core.service_config import unenforced
from innkeeper.interfaces import Context, Row, Tx
from innkeeper.usecases import allocations, app_builds, apps, builds, fleets, orgs

# A list without a page token is whole up to here: old clients cannot page (behaviour.md 3).
LIST_MAX = 1000
PAGE_SIZE = 100
_NUMBER_MAX = 10**18


@dataclass(frozen=True, slots=True)
class NewDeployment:
    """What creates a deployment. CPU in cores; ``ports`` starts with the default one.

    ``build_id`` is a build of the org, or as a number one that the app counts.
    """

    app_id: str
    build_id: str | int
    cpu: float
    memory_mb: float
    gpu: float
    rooms_per_process: int
    ports: tuple[ContainerPort, ...]
    env: tuple[EnvVar, ...]
    idle_timeout_enabled: bool
    fleet_id: str | None = None
    deployment_tag: str | None = None


@dataclass(frozen=True, slots=True)
class DeploymentFilter:
    """Which of an app's deployments: exact tags, and the page that a former answer named."""

    app_id: str
    deployment_tag: str | None = None
    build_tag: str | None = None
    page_token: str | None = None


def create_deployment(
    tx: Tx, caller: Caller, wanted: NewDeployment, context: Context
) -> Deployment:
    """Make a deployment, which is the app's latest from then on (behaviour.md 3).

    It touches nothing that runs; but what a static allocation or a pool keeps is replaced from now on.

    Raises :class:`NotFound` for the app, build or fleet, :class:`Invalid` for bounds, and
    :class:`StateConflict` where the build has not succeeded.
    """
    app = apps.require_app(tx, caller.org_id, wanted.app_id)
    cpu_millis = _check(tx, caller, wanted, context)
    build = _usable_build(tx, caller, app, wanted.build_id)
    fleet_id = fleets.fleet_of_deployment(tx, caller.org_id, wanted.fleet_id)
    made = tx.one("deployments.made_so_far", app_id=app.app_id)
    assert made is not None
    number = made["deployments_made"] + 1
    app_builds.number_of(tx, app.app_id, build.build_key)
    deployment_id = context.ids.prefixed("dep")
    tx.run(
        "deployments.insert",
        deployment_id=deployment_id,
        app_id=app.app_id,
        number=number,
        build_key=build.build_key,
        build_id=build.build_id,
        build_tag=build.build_tag,
        deployment_tag=wanted.deployment_tag,
        created_at=to_ms(context.now),
        created_by=caller.name,
        cpu_millis=cpu_millis,
        memory_mb=int(wanted.memory_mb),
        gpu=int(wanted.gpu),
        rooms_per_process=wanted.rooms_per_process,
        ports=json.dumps(
            [
                {"name": p.name, "port": p.port, "transport_type": p.transport_type}
                for p in wanted.ports
            ]
        ),
        env=json.dumps([{"name": v.name, "value": v.value} for v in wanted.env]),
        idle_timeout_enabled=int(wanted.idle_timeout_enabled),
        fleet_id=fleet_id,
    )
    tx.run("deployments.make_latest", app_id=app.app_id, deployment_id=deployment_id, number=number)
    context.wake += allocations.wishful_regions(tx, app.app_id)
    return require(tx, app.app_id, deployment_id)


def get_deployment(tx: Tx, caller: Caller, wanted: tuple[str, str], context: Context) -> Deployment:
    """One deployment: its app's id, then its own id or number.

    Raises :class:`NotFound` for either.
    """
    app_id, deployment_id = wanted
    app = apps.require_app(tx, caller.org_id, app_id)
    return require(tx, app.app_id, deployment_id)


def get_latest_deployment(tx: Tx, caller: Caller, app_id: str, context: Context) -> Deployment:
    """The deployment that new rooms use.

    Raises :class:`NotFound` for the app, and where it has none.
    """
    return latest(tx, apps.require_app(tx, caller.org_id, app_id))


def list_deployments(
    tx: Tx, caller: Caller, wanted: DeploymentFilter, context: Context
) -> tuple[list[Deployment], str | None]:
    """An app's deployments, newest first, and the token of the next page where there is one.

    Raises :class:`NotFound` for the app, :class:`Invalid` for a token that no answer gave.
    """
    app = apps.require_app(tx, caller.org_id, wanted.app_id)
    below = _NUMBER_MAX if wanted.page_token is None else _below(wanted.page_token)
    whole = LIST_MAX if wanted.page_token is None else PAGE_SIZE
    rows = tx.all(
        "deployments.of_app",
        app_id=app.app_id,
        below=below,
        deployment_tag=wanted.deployment_tag,
        build_tag=wanted.build_tag,
        count=whole + 1,
    )
    if len(rows) <= whole:
        return [deployment_from(row) for row in rows], None
    page = [deployment_from(row) for row in rows[:PAGE_SIZE]]
    return page, f"below-{page[-1].number}"


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
        build_number=row["build_number"],
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


def _check(tx: Tx, caller: Caller, wanted: NewDeployment, context: Context) -> int:
    """Check the bounds; returns the CPU in thousandths of a core."""
    # 0.29 * 1000 is not 290 in binary floating point; the decimal that was written is.
    cpu_millis = Decimal(str(wanted.cpu)) * 1000
    builds.check_tag("body.deploymentTag", wanted.deployment_tag)
    if not context.policy.accept_unenforced:
        for index, port in enumerate(wanted.ports):
            if port.transport_type == "tls":
                place = f"additionalContainerPorts[{index - 1}]." if index else ""
                raise unenforced(f"body.{place}transportType", 'TLS before the game ("tls")')
    additional = len(wanted.ports) - 1
    if additional > context.policy.additional_ports_max:
        raise Invalid(
            "body.additionalContainerPorts",
            f"must have at most {context.policy.additional_ports_max} items",
        )
    check_deployment(
        float(cpu_millis),
        wanted.memory_mb,
        wanted.gpu,
        wanted.ports,
        wanted.env,
        orgs.require_org(tx, caller.org_id).max_requested_memory_mb,
    )
    return int(cpu_millis)


def _usable_build(tx: Tx, caller: Caller, app: App, build_id: str | int) -> Build:
    build = app_builds.build_of(tx, caller, app, build_id)
    if build.status != "succeeded":
        raise StateConflict(f'Build "{build_id}" has not succeeded: it is {build.status}')
    if build.expired_at is not None:
        raise NotFound("Build", str(build_id), "it has expired")
    return build


def _below(token: str) -> int:
    number = token.removeprefix("below-")
    if number == token or not _is_number(number):
        raise Invalid("query.nextPageToken", "is not a token that an answer of this list gave")
    return int(number)


def _is_number(text: str) -> bool:
    # Eighteen digits always fit the column.
    return text.isascii() and text.isdigit() and len(text) <= 18


# Deployments never change, and every new room reads one: the same short text is decoded once.
@lru_cache(maxsize=1024)
def _ports(text: str) -> tuple[ContainerPort, ...]:
    return tuple(ContainerPort(p["name"], p["port"], p["transport_type"]) for p in json.loads(text))


def _env(text: str) -> tuple[EnvVar, ...]:
    return _decoded_env(text) if len(text) <= 4096 else _decoded_env.__wrapped__(text)


@lru_cache(maxsize=1024)
def _decoded_env(text: str) -> tuple[EnvVar, ...]:
    return tuple(EnvVar(v["name"], v["value"]) for v in json.loads(text))
