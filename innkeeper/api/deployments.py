"""DeploymentsV3: shapes first, rows last (behaviour.md 3)."""

from typing import Any

from msgspec import UNSET, UnsetType

from innkeeper.api import wire_generated as wire
from innkeeper.api.builds import write_build
from innkeeper.api.operation import Operation
from innkeeper.api.request import Request
from innkeeper.core.catalog import Build, ContainerPort, Deployment, EnvVar
from innkeeper.core.errors import Invalid
from innkeeper.usecases import deployments
from innkeeper.usecases.deployments import DeploymentFilter, NewDeployment

Number = int | float


def read_new_deployment(request: Request) -> NewDeployment:
    """What CreateDeployment is asked for."""
    body: wire.DeploymentConfigV3 = request.body
    additional = () if body.additionalContainerPorts is UNSET else body.additionalContainerPorts
    ports = (
        ContainerPort("default", body.containerPort, body.transportType),
        *(ContainerPort(port.name, port.port, port.transportType) for port in additional),
    )
    return NewDeployment(
        app_id=request.path["appId"],
        build_id=body.buildId,
        cpu=body.requestedCPU,
        memory_mb=body.requestedMemoryMB,
        gpu=_gpu(body.requestedGPU, body.experimentalRequestedGPU),
        rooms_per_process=body.roomsPerProcess,
        ports=ports,
        env=tuple(EnvVar(variable.name, variable.value) for variable in body.env),
        idle_timeout_enabled=body.idleTimeoutEnabled,
        fleet_id=None if body.fleetId is UNSET else body.fleetId,
        deployment_tag=None if body.deploymentTag is UNSET else body.deploymentTag,
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


def _shared(deployment: Deployment) -> dict[str, Any]:
    """What every shape of a deployment has. The GPU is named twice, and only where there is one."""
    gpu = deployment.gpu or UNSET
    return {
        "deploymentId": deployment.deployment_id,
        "appId": deployment.app_id,
        "buildId": deployment.build_id,
        "buildTag": UNSET if deployment.build_tag is None else deployment.build_tag,
        "deploymentTag": UNSET if deployment.deployment_tag is None else deployment.deployment_tag,
        "createdAt": deployment.created_at,
        "createdBy": deployment.created_by,
        "requestedCPU": _whole(deployment.cpu_millis / 1000),
        "requestedMemoryMB": deployment.memory_mb,
        "requestedGPU": gpu,
        "experimentalRequestedGPU": gpu,
        "roomsPerProcess": deployment.rooms_per_process,
        "defaultContainerPort": _port(deployment.default_port),
        "additionalContainerPorts": [_port(port) for port in deployment.additional_ports],
        "idleTimeoutEnabled": deployment.idle_timeout_enabled,
        "fleetId": UNSET if deployment.fleet_id is None else deployment.fleet_id,
    }


def write_deployment(deployment: Deployment) -> wire.DeploymentV3:
    """A deployment; its variables in clear, since clients send them on (behaviour.md 3)."""
    env = [wire.DeploymentV3Env(name=v.name, value=v.value) for v in deployment.env]
    return wire.DeploymentV3(**_shared(deployment), env=env)


def write_embedded(
    deployment: Deployment, build: Build
) -> wire.ApplicationWithLatestDeploymentAndBuildDeployment:
    """A deployment inside its app, with its build."""
    shape = wire.ApplicationWithLatestDeploymentAndBuildEnv
    return wire.ApplicationWithLatestDeploymentAndBuildDeployment(
        **_shared(deployment),
        env=[shape(name=v.name, value=v.value) for v in deployment.env],
        build=write_build(build),
    )


def write_page(page: tuple[list[Deployment], str | None]) -> Any:
    """A list; a further page is only named where there is one, which clients of 2.25 never see."""
    listed, following = page
    shown = [write_deployment(deployment) for deployment in listed]
    if following is None:
        return wire.DeploymentsV3Page(deployments=shown)
    return {"deployments": shown, "nextPageToken": following}


_READ, _WRITE = "deployments:read", "deployments:read-write"

OPERATIONS = (
    Operation(
        "CreateDeployment",
        read_new_deployment,
        deployments.create_deployment,
        write_deployment,
        scope=_WRITE,
    ),
    Operation(
        "GetDeployments", read_filter, deployments.list_deployments, write_page, "read", _READ
    ),
    Operation(
        "GetLatestDeployment",
        read_app_id,
        deployments.get_latest_deployment,
        write_deployment,
        "read",
        _READ,
    ),
    Operation(
        "GetDeployment",
        read_deployment_id,
        deployments.get_deployment,
        write_deployment,
        "read",
        _READ,
    ),
)
