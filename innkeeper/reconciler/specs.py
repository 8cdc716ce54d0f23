"""What the runtime is told of a process: ports, limits, and the environment of behaviour.md 0.1."""

import msgspec

from innkeeper.core.catalog import ContainerPort, EnvVar, port_env_name
from innkeeper.core.processes import ExposedPort
from innkeeper.interfaces import PortSpec, ProcessSpec, Row


def port_specs(inside: tuple[ContainerPort, ...], outside: tuple[int, ...]) -> tuple[PortSpec, ...]:
    """Each container port with its host port; TLS is TCP once the edge has taken it off."""
    return tuple(
        PortSpec(port.name, port.port, host_port, "udp" if port.transport_type == "udp" else "tcp")
        for port, host_port in zip(inside, outside, strict=True)
    )


def process_spec(row: Row, public_ip: str) -> ProcessSpec:
    """The specification from a row of ``processes.spec``."""
    inside = msgspec.json.decode(row["ports"], type=tuple[ContainerPort, ...])
    outside = msgspec.json.decode(row["exposed_ports"], type=tuple[ExposedPort, ...])
    return ProcessSpec(
        process_id=row["process_id"],
        app_id=row["app_id"],
        deployment_id=row["deployment_id"],
        image_ref=row["image_ref"],
        cpu_millis=row["cpu_millis"],
        memory_mb=row["memory_mb"],
        ports=port_specs(inside, tuple(port.port for port in outside)),
        env=_environment(row, outside, public_ip),
        sandbox_id=row["sandbox_id"],
    )


def _environment(row: Row, outside: tuple[ExposedPort, ...], public_ip: str) -> dict[str, str]:
    """The studio's variables, then the platform's: the platform wins."""
    given = msgspec.json.decode(row["env"], type=tuple[EnvVar, ...])
    environment = {variable.name: variable.value for variable in given}
    default = outside[0]
    environment |= {
        "HATHORA_APP_ID": row["app_id"],
        "HATHORA_APP_SECRET": row["app_secret"],
        "HATHORA_PROCESS_ID": row["process_id"],
        "HATHORA_DEPLOYMENT_ID": row["deployment_id"],
        "HATHORA_BUILD_TAG": row["build_tag"] or "",
        "HATHORA_REGION": row["region"],
        "HATHORA_ROOMS_PER_PROCESS": str(row["rooms_per_process"]),
        "HATHORA_INITIAL_ROOM_ID": row["initial_room_id"] or "",
        "HATHORA_INITIAL_ROOM_CONFIG": row["initial_room_config"] or "",
        "HATHORA_HOSTNAME": default.host,
        "HATHORA_DEFAULT_PORT": str(default.port),
        "HATHORA_ALLOCATED_CPU": f"{row['cpu_millis'] / 1000:g}",
        "HATHORA_ALLOCATED_MEMORY_MB": str(row["memory_mb"]),
        "HATHORA_IP": public_ip,
        "HATHORA_PORT": str(default.port),
    }
    for port in outside[1:]:
        environment[f"HATHORA_{port_env_name(port.name)}_PORT"] = str(port.port)
    return environment
