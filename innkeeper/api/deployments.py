"""DeploymentsV3, V2 and V1: shapes first, rows last (behaviour.md 3)."""

from functools import partial
from typing import Any

from msgspec import UNSET, UnsetType

from innkeeper.api import wire_generated as wire
from innkeeper.api.app_builds import write_app_build
from innkeeper.api.builds import write_build
from innkeeper.api.operation import Operation
from innkeeper.api.request import Request
from innkeeper.core.catalog import (
    Build,
    ContainerPort,
    Deployment,
    EnvVar,
    NumberedBuild,
    plan_for,
    plan_size,
)
from innkeeper.core.errors import Invalid
from innkeeper.usecases import deployments
from innkeeper.usecases.deployments import DeploymentFilter, NewDeployment

Number = int | float


def _config(request: Request) -> dict[str, Any]:
    """What every version's body has alike."""
    body: wire.DeploymentConfigV3 | wire.DeploymentConfigV2 | wire.DeploymentConfig = request.body
    additional = () if body.additionalContainerPorts is UNSET else body.additionalContainerPorts
    ports = (
        ContainerPort("default", body.containerPort, body.transportType),
        *(ContainerPort(port.name, port.port, port.transportType) for port in additional),
    )
    return {
        "app_id": request.path["appId"],
        "rooms_per_process": body.roomsPerProcess,
        "ports": ports,
        "env": tuple(EnvVar(variable.name, variable.value) for variable in body.env),
        "idle_timeout_enabled": body.idleTimeoutEnabled,
    }


def read_new_deployment(request: Request) -> NewDeployment:
    """What CreateDeployment is asked for."""
    body: wire.DeploymentConfigV3 = request.body
    return NewDeployment(
        **_config(request),
        build_id=body.buildId,
        cpu=body.requestedCPU,
        memory_mb=body.requestedMemoryMB,
        gpu=_gpu(body.requestedGPU, body.experimentalRequestedGPU),
        fleet_id=None if body.fleetId is UNSET else body.fleetId,
        deployment_tag=None if body.deploymentTag is UNSET else body.deploymentTag,
    )


def read_new_v2(request: Request) -> NewDeployment:
    """V2: the build is a number, in the path."""
    body: wire.DeploymentConfigV2 = request.body
    return NewDeployment(
        **_config(request),
        build_id=request.path["buildId"],
        cpu=body.requestedCPU,
        memory_mb=body.requestedMemoryMB,
        gpu=0,
    )


def read_new_v1(request: Request) -> NewDeployment:
    """V1: as V2, with a plan in place of CPU and memory."""
    body: wire.DeploymentConfig = request.body
    cpu_millis, memory_mb = plan_size(body.planName)
    return NewDeployment(
        **_config(request),
        build_id=request.path["buildId"],
        cpu=cpu_millis / 1000,
        memory_mb=memory_mb,
        gpu=0,
    )


def _gpu(asked: Number | UnsetType, experimental: Number | UnsetType) -> Number:
    """Either name will do; the official command line always sends a 0 under the older one."""
    given = {value for value in (asked, experimental) if value is not UNSET and value != 0}
    if len(given) > 1:
        raise Invalid(
            "body.requestedGPU", "must be what experimentalRequestedGPU says, or be left out"
        )
    return next(iter(given), 0)


def read_app_id(request: Request) -> str:
    """The app of the path."""
    app_id: str = request.path["appId"]
    return app_id


def read_deployment_id(request: Request) -> tuple[str, str]:
    """(app id, deployment id or number)."""
    return request.path["appId"], request.path["deploymentId"]


def read_number(request: Request) -> tuple[str, str]:
    """(app id, the deployment's number as text)."""
    return request.path["appId"], str(request.path["deploymentId"])


def read_filter(request: Request) -> DeploymentFilter:
    """Which deployments are listed."""
    return DeploymentFilter(
        app_id=request.path["appId"],
        deployment_tag=request.query.get("deploymentTag"),
        build_tag=request.query.get("buildTag"),
        page_token=request.query.get("nextPageToken"),
    )


def _port(port: ContainerPort) -> wire.ContainerPort:
    return wire.ContainerPort(transportType=port.transport_type, port=port.port, name=port.name)


def _whole(number: float) -> Number:
    return int(number) if number == int(number) else number


def _shared(deployment: Deployment, variable: Any) -> dict[str, Any]:
    """What every version shows; ``variable`` is its shape of the environment's variables, which come in
    clear, since clients send them on (behaviour.md 3).
    """
    return {
        "appId": deployment.app_id,
        "createdAt": deployment.created_at,
        "createdBy": deployment.created_by,
        "requestedCPU": _whole(deployment.cpu_millis / 1000),
        "requestedMemoryMB": deployment.memory_mb,
        "roomsPerProcess": deployment.rooms_per_process,
        "defaultContainerPort": _port(deployment.default_port),
        "additionalContainerPorts": [_port(port) for port in deployment.additional_ports],
        "idleTimeoutEnabled": deployment.idle_timeout_enabled,
        "env": [variable(name=v.name, value=v.value) for v in deployment.env],
    }


def _of_v3(deployment: Deployment, variable: Any) -> dict[str, Any]:
    """V3's own. The GPU is named twice, and only where there is one."""
    gpu = deployment.gpu or UNSET
    return {
        **_shared(deployment, variable),
        "deploymentId": deployment.deployment_id,
        "buildId": deployment.build_id,
        "buildTag": UNSET if deployment.build_tag is None else deployment.build_tag,
        "deploymentTag": UNSET if deployment.deployment_tag is None else deployment.deployment_tag,
        "requestedGPU": gpu,
        "experimentalRequestedGPU": gpu,
        "fleetId": UNSET if deployment.fleet_id is None else deployment.fleet_id,
    }


def _numbered(deployment: Deployment, variable: Any) -> dict[str, Any]:
    """V1's and V2's own: numbers for names."""
    return {
        **_shared(deployment, variable),
        "deploymentId": deployment.number,
        "buildId": deployment.build_number,
    }


def write_deployment(deployment: Deployment) -> wire.DeploymentV3:
    """A deployment."""
    return wire.DeploymentV3(**_of_v3(deployment, wire.DeploymentV3Env))


def write_v2(deployment: Deployment) -> wire.DeploymentV2:
    """A deployment of V2."""
    return wire.DeploymentV2(**_numbered(deployment, wire.DeploymentV2Env))


def write_v1(deployment: Deployment) -> wire.DeploymentV1:
    """A deployment of V1: with the plan that holds it, and its default port said twice."""
    port = deployment.default_port
    return wire.DeploymentV1(
        **_numbered(deployment, wire.DeploymentV1Env),
        planName=plan_for(deployment.cpu_millis, deployment.memory_mb),
        containerPort=port.port,
        transportType=port.transport_type,
    )


def write_embedded(
    deployment: Deployment, build: Build
) -> wire.ApplicationWithLatestDeploymentAndBuildDeployment:
    """A deployment inside its app, with its build."""
    variable = wire.ApplicationWithLatestDeploymentAndBuildEnv
    return wire.ApplicationWithLatestDeploymentAndBuildDeployment(
        **_of_v3(deployment, variable), build=write_build(build)
    )


def write_embedded_v1(deployment: Deployment, build: Build) -> wire.Deployment:
    """The same as AppsV1 has it."""
    variable = wire.ApplicationWithLatestDeploymentAndBuildDeprecatedEnv
    numbered = NumberedBuild(deployment.app_id, deployment.build_number, build)
    return wire.Deployment(**_numbered(deployment, variable), build=write_app_build(numbered))


def write_page(page: tuple[list[Deployment], str | None]) -> Any:
    """A list; a further page is only named where there is one, which clients of 2.25 never see."""
    listed, following = page
    shown = [write_deployment(deployment) for deployment in listed]
    if following is None:
        return wire.DeploymentsV3Page(deployments=shown)
    return {"deployments": shown, "nextPageToken": following}


def write_list_v2(page: tuple[list[Deployment], str | None]) -> list[wire.DeploymentV2]:
    """V2's list, which has no further page to name."""
    return [write_v2(deployment) for deployment in page[0]]


def write_list_v1(page: tuple[list[Deployment], str | None]) -> list[wire.DeploymentV1]:
    """The same of V1."""
    return [write_v1(deployment) for deployment in page[0]]


_READ, _WRITE = "deployments:read", "deployments:read-write"

_create = partial(Operation, run=deployments.create_deployment, scope=_WRITE)
_list = partial(
    Operation, read=read_filter, run=deployments.list_deployments, kind="read", scope=_READ
)
_latest = partial(
    Operation, read=read_app_id, run=deployments.get_latest_deployment, kind="read", scope=_READ
)
_get = partial(Operation, run=deployments.get_deployment, kind="read", scope=_READ)

OPERATIONS = (
    _create("CreateDeployment", read=read_new_deployment, write=write_deployment),
    _list("GetDeployments", write=write_page),
    _latest("GetLatestDeployment", write=write_deployment),
    _get("GetDeployment", read=read_deployment_id, write=write_deployment),
    _create("CreateDeploymentV2Deprecated", read=read_new_v2, write=write_v2),
    _list("GetDeploymentsV2Deprecated", write=write_list_v2),
    _latest("GetLatestDeploymentV2Deprecated", write=write_v2),
    _get("GetDeploymentInfoV2Deprecated", read=read_number, write=write_v2),
    _create("CreateDeploymentV1Deprecated", read=read_new_v1, write=write_v1),
    _list("GetDeploymentsV1Deprecated", write=write_list_v1),
    _latest("GetLatestDeploymentV1Deprecated", write=write_v1),
    _get("GetDeploymentInfoV1Deprecated", read=read_number, write=write_v1),
)
