"""ProcessesV3 and V2: shapes first, rows last (behaviour.md 4). V1 is in ``process_details.py``."""

from typing import Any

from msgspec import UNSET

from innkeeper.api import wire_generated as wire
from innkeeper.api.locks import of_new_process
from innkeeper.api.operation import Operation, under_names
from innkeeper.api.request import Request
from innkeeper.api.validation import SAFE_INTEGER
from innkeeper.core.errors import Invalid
from innkeeper.core.processes import ExposedPort, Process
from innkeeper.usecases import locks, processes
from innkeeper.usecases.processes import ProcessFilter

# Numbers below this are seconds: in milliseconds it would be March 1973 (behaviour.md 4.1).
_SECONDS_BELOW = 1e11


def exposed_port(port: ExposedPort) -> wire.ExposedPort:
    """An address as the wire shows it."""
    return wire.ExposedPort(
        transportType=port.transport_type, port=port.port, host=port.host, name=port.name
    )


def read_process_id(request: Request) -> tuple[str, str]:
    """(app id, process id)."""
    return request.path["appId"], request.path["processId"]


def read_new_process(request: Request) -> tuple[str, str]:
    """(app id, region)."""
    return request.path["appId"], request.path["region"]


def read_filter(request: Request) -> ProcessFilter:
    """The filters of a list or count; ``before`` in milliseconds, or in seconds where it is small."""
    before = request.query.get("before")
    if before is not None:
        before = before if before >= _SECONDS_BELOW else before * 1000
        if abs(before) > SAFE_INTEGER:  # before it is made whole: infinity has no whole number
            raise Invalid("query.before", "must be a moment since 1970, in milliseconds")
        before = int(before)
    statuses, regions = request.query.get("status"), request.query.get("region")
    return ProcessFilter(
        app_id=request.path["appId"],
        statuses=tuple(statuses) if statuses else None,
        regions=tuple(regions) if regions else None,
        before=before,
    )


def shared(process: Process, port_shape: Any) -> dict[str, Any]:
    """What every version shows. The address is there once it has a place, and stays after the end (4.3)."""
    placed = process.scheduled_at is not None
    default = process.exposed_port if placed else None
    return {
        "appId": process.app_id,
        "processId": process.process_id,
        "region": process.region,
        "roomsPerProcess": process.rooms_per_process,
        "roomsAllocated": process.rooms_allocated,
        "startedAt": process.started_at,
        "stoppingAt": process.stopping_at,
        "terminatedAt": process.terminated_at,
        "additionalExposedPorts": (
            [exposed_port(port) for port in process.exposed_ports[1:]] if placed else []
        ),
        "exposedPort": None
        if default is None
        else port_shape(
            transportType=default.transport_type,
            port=default.port,
            host=default.host,
            name=default.name,
        ),
    }


def write_process(process: Process) -> wire.ProcessV3:
    """A process."""
    return wire.ProcessV3(
        **shared(process, wire.ProcessV3ExposedPort),
        deploymentId=process.deployment_id,
        status=process.status,
        createdAt=process.created_at,
        scheduledAt=process.scheduled_at,
        bootedAt=process.booted_at,
        summaryExitReason=process.summary_exit_reason or UNSET,
        hosting=process.hosting,
        fleetId=process.fleet_id or UNSET,
    )


def write_process_v2(process: Process) -> wire.ProcessV2:
    """A process of V2: less is told, and its deployment is a number."""
    return wire.ProcessV2(
        **shared(process, wire.ProcessV2ExposedPort),
        deploymentId=process.deployment_number,
        status=process.status,
        createdAt=process.created_at,
    )


def write_processes(found: list[Process]) -> list[wire.ProcessV3]:
    """The list as it was found."""
    return [write_process(process) for process in found]


def write_processes_v2(found: list[Process]) -> list[wire.ProcessV2]:
    """The list as it was found."""
    return [write_process_v2(process) for process in found]


def write_count(count: int) -> wire.GetProcessesCountExperimentalResponseBody:
    """How many there are."""
    return wire.GetProcessesCountExperimentalResponseBody(count=count)


def write_nothing(_: object) -> None:
    """An empty body."""
    return


_V3 = (
    Operation(
        "GetProcessesCountExperimental",
        read=read_filter,
        run=processes.count_processes,
        write=write_count,
        kind="read",
        scope="processes:read",
    ),
    Operation(
        "GetLatestProcesses",
        read=read_filter,
        run=processes.latest_processes,
        write=write_processes,
        kind="read",
        scope="processes:read",
    ),
    Operation(
        "CreateProcess",
        read=read_new_process,
        run=processes.create_process,
        write=write_process,
        scope="processes:read-write",
        locks=of_new_process,
    ),
    Operation(
        "GetProcess",
        read=read_process_id,
        run=processes.get_process,
        write=write_process,
        kind="read",
        scope="processes:read",
    ),
    Operation(
        "StopProcess",
        read=read_process_id,
        run=processes.stop_process,
        write=write_nothing,
        scope="processes:read-write",
        finds_locks=locks.of_process,
    ),
)

OPERATIONS = (
    *_V3,
    Operation(
        "DrainProcess",
        read=read_process_id,
        run=processes.drain_process,
        write=write_nothing,
        scope="processes:read-write",
        finds_locks=locks.of_process,
    ),
    Operation(
        "CreateProcessV2Deprecated",
        read=read_new_process,
        run=processes.create_process,
        write=write_process_v2,
        scope="processes:read-write",
        locks=of_new_process,
    ),
    Operation(
        "GetProcessInfoV2Deprecated",
        read=read_process_id,
        run=processes.get_process,
        write=write_process_v2,
        kind="read",
        scope="processes:read",
    ),
    Operation(
        "GetLatestProcessesV2Deprecated",
        read=read_filter,
        run=processes.latest_processes,
        write=write_processes_v2,
        kind="read",
        scope="processes:read",
    ),
    *under_names(
        _V3,
        {
            "StopProcess": "StopProcessV2Deprecated",
            "GetProcessesCountExperimental": "GetProcessesCountExperimentalV2Deprecated",
        },
    ),
)
