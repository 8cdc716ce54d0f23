"""Between our words and the Engine API's: what to send for a process, what an answer says of one. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from innkeeper.core.moments import truncate
from innkeeper.core.processes import Exit
from innkeeper.core.snapshot import Phase
from innkeeper.interfaces import PortSpec, ProcessSpec

LABEL_INSTALLATION: Final = "innkeeper.installation"
LABEL_PROCESS: Final = "innkeeper.process"
LABEL_SANDBOX: Final = "innkeeper.sandbox"  # on a holder: the sandbox it is
LABEL_JOINS: Final = "innkeeper.joins"  # on a process: the sandbox it has joined

_CPU_PERIOD_US = 100_000
CAPABILITIES_DROPPED = ("NET_RAW", "MKNOD", "AUDIT_WRITE")
_SIGNAL_MAX = 64
_PHASES: Mapping[str, Phase] = {
    "created": "created",
    "configured": "created",
    "initialized": "created",
    "running": "running",
    "paused": "running",
    "restarting": "running",
    "stopping": "running",
}


@dataclass(frozen=True, slots=True)
class ContainerSettings:
    """How containers of one installation are made. Sizes in MB of 2**20 bytes.

    ``server_url``: what processes are told as HATHORA_SERVER_URL, by default the gateway's address
    and ``api_port``. ``writable_mb``: what a process may write to its own layer, in one file by the
    kernel's limit, in all by a check every few seconds. ``log_bytes_max``: what is kept of its output,
    oldest dropped; the engine's own limit ``log_mb`` (it drops all) only counts while nobody
    looks. ``nofile``/``nproc``: at most the server's
    own hard limits.
    """

    installation: str
    api_port: int
    server_url: str | None = None
    pids_max: int = 1024
    writable_mb: int = 4096
    disk_check_s: float = 5.0
    log_check_s: float = 2.0
    log_mb: int = 1000
    log_bytes_max: int = 100 * 1024**2
    nofile: int = 65536
    nproc: int = 65536

    @property
    def prefix(self) -> str:
        """What the names of our containers, images and our network begin with."""
        return f"innkeeper-{self.installation[:8]}"


def process_name(settings: ContainerSettings, process_id: str) -> str:
    """The name of a process's container: one process, one container."""
    return f"{settings.prefix}-{process_id}"


def sandbox_name(settings: ContainerSettings, sandbox_id: str) -> str:
    """The name of a sandbox's holder."""
    return f"{settings.prefix}-net-{sandbox_id}"


def process_body(
    spec: ProcessSpec,
    settings: ContainerSettings,
    sandbox_id: str,
    env: Mapping[str, str],
    podman: bool,
) -> dict[str, Any]:
    """The create call for a process that joins a sandbox (behaviour.md 0.1, 3)."""
    memory = spec.memory_mb * 1024**2
    file_bytes = settings.writable_mb * 1024**2
    return {
        "Image": spec.image_ref,
        "Env": [f"{name}={value}" for name, value in env.items()],
        "Labels": {
            LABEL_INSTALLATION: settings.installation,
            LABEL_PROCESS: spec.process_id,
            LABEL_JOINS: sandbox_id,
            "innkeeper.app": spec.app_id,
            "innkeeper.deployment": spec.deployment_id,
        },
        # Podman takes NONE for a check to be made; its own images carry none.
        **({} if podman else {"Healthcheck": {"Test": ["NONE"]}}),
        "StopTimeout": 0,
        "HostConfig": {
            "NetworkMode": f"container:{sandbox_name(settings, sandbox_id)}",
            "CpuPeriod": _CPU_PERIOD_US,
            "CpuQuota": max(1000, spec.cpu_millis * _CPU_PERIOD_US // 1000),
            "CpuShares": max(2, spec.cpu_millis * 1024 // 1000),
            "Memory": memory,
            "MemorySwap": memory,
            "PidsLimit": settings.pids_max,
            "OomScoreAdj": 300,  # when the whole machine is short, a game goes before the control plane
            "Ulimits": [
                *_ulimits(settings),
                {"Name": "fsize", "Soft": file_bytes, "Hard": file_bytes},
            ],
            "SecurityOpt": ["no-new-privileges"],
            "CapDrop": list(CAPABILITIES_DROPPED),
            "Privileged": False,
            "IpcMode": "private",
            "LogConfig": {
                "Type": log_format(podman),
                "Config": {"max-size": f"{settings.log_mb}m"},
            },
            "RestartPolicy": {"Name": "no"},
        },
    }


def holder_body(
    sandbox_id: str,
    ports: Sequence[PortSpec],
    settings: ContainerSettings,
    image: str,
    network: str,
) -> dict[str, Any]:
    """The create call for the holder of a network sandbox with its published ports."""
    bindings: dict[str, list[dict[str, str]]] = {}
    for port in ports:
        inside = f"{port.container_port}/{port.protocol}"
        bindings.setdefault(inside, []).append({"HostIp": "", "HostPort": str(port.host_port)})
    return {
        "Image": image,
        "Labels": {LABEL_INSTALLATION: settings.installation, LABEL_SANDBOX: sandbox_id},
        "ExposedPorts": {inside: {} for inside in bindings},
        "StopTimeout": 0,
        "HostConfig": {
            "NetworkMode": network,
            "PortBindings": bindings,
            # The holder itself is one page; the runtime that starts it runs inside these limits too.
            "Memory": 64 * 1024**2,
            "MemorySwap": 64 * 1024**2,
            "PidsLimit": 64,
            "Ulimits": _ulimits(settings),
            "SecurityOpt": ["no-new-privileges"],
            "CapDrop": ["ALL"],
            "ReadonlyRootfs": True,
            "IpcMode": "private",
            "LogConfig": {"Type": "none"},
            "RestartPolicy": {"Name": "no"},
        },
    }


def _ulimits(settings: ContainerSettings) -> list[dict[str, Any]]:
    # Always sent: Podman's compatible API ignores its configured defaults. The limit of processes is
    # counted per user over all containers, so it is wide; the pids group bounds each container.
    return [
        {"Name": "nofile", "Soft": settings.nofile, "Hard": settings.nofile},
        {"Name": "nproc", "Soft": settings.nproc, "Hard": settings.nproc},
    ]


def log_format(podman: bool) -> str:
    """How the engine keeps a container's output in a file: also our own name for the format."""
    return "k8s-file" if podman else "json-file"


def phase(state: str) -> Phase:
    """Our word for an engine's state of a container; what is neither made nor running has ended."""
    return _PHASES.get(state.lower(), "exited")


def phase_of(state: Mapping[str, Any]) -> Phase:
    """The phase of an inspected container. One that was started before and is not any more has ended:
    Podman calls it created again after the machine was restarted.
    """
    now = phase(str(state.get("Status", "")))
    return "exited" if now == "created" and moment(state.get("StartedAt")) is not None else now


def moment(text: str | None) -> datetime | None:
    """A moment of the engine's, in whole milliseconds; its zero moment is ``None``."""
    if not text or text.startswith("0001-"):
        return None
    return truncate(datetime.fromisoformat(text).astimezone(UTC))


def exit_of(state: Mapping[str, Any], killed_for_memory: bool, detail: str = "") -> Exit:
    """How a container ended. Engines tell a signal as 128 + its number, as shells do.

    Nothing is known of an end that nobody saw: the machine's own.
    """
    code = int(state.get("ExitCode", 0))
    if phase(str(state.get("Status", "exited"))) == "created":
        return Exit(None, None, killed_for_memory, truncate(datetime.now(UTC)), detail)
    started, finished = moment(state.get("StartedAt")), moment(state.get("FinishedAt"))
    at = finished or started or truncate(datetime.now(UTC))
    if started is not None:
        at = max(at, started)  # the kernel's clock for file times is coarser
    signalled = 128 < code <= 128 + _SIGNAL_MAX
    return Exit(
        code=None if signalled else code,
        signal=code - 128 if signalled else None,
        out_of_memory=bool(state.get("OOMKilled")) or killed_for_memory,
        at=at,
        detail=detail,
    )


def address_of(networks: Any) -> str | None:
    """The private IPv4 address in an answer's ``NetworkSettings``."""
    if not isinstance(networks, dict):
        return None
    for network in (networks.get("Networks") or {}).values():
        if network and network.get("IPAddress"):
            return str(network["IPAddress"])
    return None
