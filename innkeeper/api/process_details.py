"""ProcessesV1: processes with what was measured and their rooms. Shapes first, rows last (4.1)."""

from typing import Any

from innkeeper.api import processes, rooms
from innkeeper.api import wire_generated as wire
from innkeeper.api.operation import Operation
from innkeeper.api.request import Request
from innkeeper.usecases import process_details
from innkeeper.usecases.process_details import ProcessDetails, RegionFilter

# The contract's format of these fields: clients of V1 fail on anything larger.
_INT32_MAX = 2**31 - 1


def read_region(request: Request) -> RegionFilter:
    """Which processes are listed."""
    return RegionFilter(request.path["appId"], request.query.get("region"))


def _of_v1(details: ProcessDetails, port_shape: Any) -> dict[str, Any]:
    process, usage = details.process, details.usage
    shown = processes.shared(process, port_shape)
    address = shown["exposedPort"]
    return {
        **shown,
        "deploymentId": process.deployment_number,
        "startingAt": process.created_at,
        "draining": process.draining,
        "idleSince": process.idle_since,
        "host": "" if address is None else address.host,
        "port": 0 if address is None else address.port,
        "roomsAllocatedUpdatedAt": details.rooms_changed_at,
        "roomSlotsAvailable": process.slots_free,
        "roomSlotsAvailableUpdatedAt": details.slots_changed_at,
        "activeConnections": usage.active_connections,
        "activeConnectionsUpdatedAt": details.connections_changed_at,
        "egressedBytes": min(usage.egress_bytes, _INT32_MAX),
    }


def write_process_v1(details: ProcessDetails) -> wire.Process:
    """A process of V1, without a status."""
    return wire.Process(**_of_v1(details, wire.ProcessExposedPort))


def write_with_rooms(details: ProcessDetails) -> wire.ProcessWithRooms:
    """A process of V1 with the rooms allocated to it."""
    shown = rooms.write_rooms(list(details.rooms))
    return wire.ProcessWithRooms(
        **_of_v1(details, wire.ProcessWithRoomsExposedPort), rooms=shown, totalRooms=len(shown)
    )


def write_listed(found: list[ProcessDetails]) -> list[wire.ProcessWithRooms]:
    """The list as it was found. Clients of V1 look for rooms on stopped processes too: there are none."""
    return [write_with_rooms(details) for details in found]


_READ = "processes:read"

OPERATIONS = (
    Operation(
        "GetProcessInfoDeprecated",
        processes.read_process_id,
        process_details.get_details,
        write_process_v1,
        "read",
        _READ,
    ),
    Operation(
        "GetRunningProcesses",
        read_region,
        process_details.running_details,
        write_listed,
        "read",
        _READ,
    ),
    Operation(
        "GetStoppedProcesses",
        read_region,
        process_details.stopped_details,
        write_listed,
        "read",
        _READ,
    ),
)
