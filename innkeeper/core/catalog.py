"""What a studio keeps with us: apps, builds and deployments, and the bounds they obey."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from innkeeper.core.errors import Invalid

Region = Literal[
    "Seattle",
    "Los_Angeles",
    "Washington_DC",
    "Chicago",
    "London",
    "Frankfurt",
    "Mumbai",
    "Singapore",
    "Tokyo",
    "Sydney",
    "Sao_Paulo",
    "Dallas",
    "Johannesburg",
    "Dubai",
]
REGIONS: tuple[Region, ...] = Region.__args__  # type: ignore[attr-defined]
# What clients of DiscoveryV1 know: the three others came later (behaviour.md 8.1).
V1_REGIONS: tuple[Region, ...] = tuple(
    region for region in REGIONS if region not in ("Dallas", "Johannesburg", "Dubai")
)
TransportType = Literal["tcp", "udp", "tls"]
BuildStatus = Literal["created", "running", "succeeded", "failed"]
BuildKind = Literal["upload", "registry"]
PlanName = Literal["tiny", "small", "medium", "large"]

# What V1 has in place of CPU (thousandths of a core) and memory (MB), smallest first
# (behaviour.md 0.2).
PLANS: tuple[tuple[PlanName, int, int], ...] = (
    ("tiny", 500, 1024),
    ("small", 1000, 2048),
    ("medium", 2000, 4096),
    ("large", 4000, 8192),
)

# Variables that the platform sets; a deployment may not set them (behaviour.md 0.1).
PLATFORM_ENV = frozenset(
    {
        "HATHORA_APP_ID",
        "HATHORA_APP_SECRET",
        "HATHORA_PROCESS_ID",
        "HATHORA_DEPLOYMENT_ID",
        "HATHORA_BUILD_TAG",
        "HATHORA_REGION",
        "HATHORA_ROOMS_PER_PROCESS",
        "HATHORA_INITIAL_ROOM_ID",
        "HATHORA_INITIAL_ROOM_CONFIG",
        "HATHORA_HOSTNAME",
        "HATHORA_DEFAULT_PORT",
        "HATHORA_ALLOCATED_CPU",
        "HATHORA_ALLOCATED_MEMORY_MB",
        "HATHORA_PRIVATE_IP",
        "HATHORA_IP",
        "HATHORA_PORT",
    }
)


@dataclass(frozen=True, slots=True)
class App:
    """An application. ``service_config`` stays as the wire wrote it; ``targets`` are what the autoscaler
    wants now, by region, where that is asked for.
    """

    app_id: str
    org_id: str
    app_name: str
    app_secret: str
    auth_configuration: dict[str, Any]
    service_config: dict[str, Any] | None
    created_at: datetime
    created_by: str
    deleted_at: datetime | None
    deleted_by: str | None
    latest_deployment_id: str | None
    targets: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Build:
    """A build: an archive or a registry image, and what became of it (behaviour.md 2.1).

    ``build_key`` is ours and unique; ``build_id`` may be the studio's own and is unique in its org.
    """

    build_key: str
    build_id: str
    org_id: str
    build_tag: str | None
    kind: BuildKind
    status: BuildStatus
    upload_size: int
    uploaded: bool
    image_size: int
    image_ref: str | None
    content_hash: str | None
    created_at: datetime
    created_by: str
    started_at: datetime | None
    finished_at: datetime | None
    deleted_at: datetime | None
    expired_at: datetime | None


@dataclass(frozen=True, slots=True)
class NumberedBuild:
    """A build as one app counts it, for the versions that know numbers only (behaviour.md 1.2)."""

    app_id: str
    number: int
    build: Build


@dataclass(frozen=True, slots=True)
class ContainerPort:
    """A port the game listens on inside its container."""

    name: str
    port: int
    transport_type: TransportType


@dataclass(frozen=True, slots=True)
class EnvVar:
    """One variable of a deployment's environment."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Deployment:
    """How a build is run. Never changes once made (behaviour.md 3). CPU in thousandths of a core.

    ``number`` and ``build_number`` are what V1 and V2 call it and its build, counted in the app.
    """

    deployment_id: str
    number: int
    app_id: str
    build_key: str
    build_id: str
    build_number: int
    build_tag: str | None
    deployment_tag: str | None
    created_at: datetime
    created_by: str
    cpu_millis: int
    memory_mb: int
    gpu: int
    rooms_per_process: int
    default_port: ContainerPort
    additional_ports: tuple[ContainerPort, ...]
    env: tuple[EnvVar, ...]
    idle_timeout_enabled: bool
    fleet_id: str | None

    @property
    def ports(self) -> tuple[ContainerPort, ...]:
        """The default port, then the additional ones."""
        return (self.default_port, *self.additional_ports)


def plan_size(name: PlanName) -> tuple[int, int]:
    """CPU in thousandths of a core and memory in MB of a plan."""
    return next((cpu, memory) for plan, cpu, memory in PLANS if plan == name)


def plan_for(cpu_millis: int, memory_mb: int) -> PlanName:
    """The smallest plan that has this much of both; ``large`` where none has (behaviour.md 1.2)."""
    fitting = (name for name, cpu, memory in PLANS if cpu >= cpu_millis and memory >= memory_mb)
    return next(fitting, "large")


def check_deployment(
    cpu_millis_exact: float,
    memory_mb: float,
    gpu: float,
    ports: tuple[ContainerPort, ...],
    env: tuple[EnvVar, ...],
    memory_mb_max: int,
) -> None:
    """Bounds of a new deployment that the contract's schemas cannot say (behaviour.md 0.1, 0.2, 3).

    ``ports`` starts with the default one. Raises :class:`Invalid` naming the field.
    """
    if cpu_millis_exact < 250 or cpu_millis_exact > 8000 or cpu_millis_exact % 10:
        raise Invalid("body.requestedCPU", "must be between 0.25 and 8 with at most 2 decimals")
    if memory_mb < 512 or memory_mb != int(memory_mb):
        raise Invalid("body.requestedMemoryMB", "must be a whole number of at least 512")
    if memory_mb > memory_mb_max:
        raise Invalid(
            "body.requestedMemoryMB",
            f"must be at most {memory_mb_max}, the organization's maxRequestedMemoryMB",
        )
    if gpu < 0 or gpu != int(gpu):
        raise Invalid("body.requestedGPU", "must be a whole number of at least 0")
    if gpu:
        raise Invalid("body.requestedGPU", "must be 0: this machine offers no GPU to games")
    names = {"default"}
    places = {(_wire(ports[0].transport_type), ports[0].port)}
    for index, port in enumerate(ports[1:]):
        field = f"body.additionalContainerPorts[{index}]"
        if port.name in names:
            raise Invalid(f"{field}.name", f'must be unique and not "default": "{port.name}"')
        place = (_wire(port.transport_type), port.port)
        if place in places:
            raise Invalid(f"{field}.port", f"is already used: {port.port}/{place[0]}")
        names.add(port.name)
        places.add(place)
    taken = PLATFORM_ENV | {f"HATHORA_{port_env_name(p.name)}_PORT" for p in ports}
    for index, variable in enumerate(env):
        if variable.name in taken:
            raise Invalid(f"body.env[{index}].name", f"is set by the platform: {variable.name}")
        if "\0" in variable.value:
            raise Invalid(f"body.env[{index}].value", "must not hold a NUL character")


def port_env_name(name: str) -> str:
    """A port's name as it stands in ``HATHORA_<NAME>_PORT``."""
    return name.upper().replace("-", "_")


def _wire(transport: TransportType) -> str:
    return "udp" if transport == "udp" else "tcp"
