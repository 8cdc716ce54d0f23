"""RoomsV2 and V1: shapes first, rows last (behaviour.md 5)."""

from typing import Any

from msgspec import UNSET

from innkeeper.api import wire_generated as wire
from innkeeper.api.locks import of_new_room
from innkeeper.api.operation import Operation, under_names
from innkeeper.api.processes import exposed_port, read_process_id, write_nothing
from innkeeper.api.request import Request
from innkeeper.api.room_waits import create_and_wait, wait_of
from innkeeper.api.services import Services
from innkeeper.core.rooms import Allocation, Room
from innkeeper.usecases import locks, rooms
from innkeeper.usecases.rooms import NewRoom, PlacedRoom


def read_new_room(request: Request) -> NewRoom:
    """What CreateRoom is asked for."""
    body = request.body
    return NewRoom(
        app_id=request.path["appId"],
        region=body.region,
        room_id=request.query.get("roomId"),
        room_config=None if body.roomConfig is UNSET else body.roomConfig,
        deployment_id=None if body.deploymentId is UNSET else body.deploymentId,
        client_ips=() if body.clientIPs is UNSET else tuple(body.clientIPs),
        wait_s=wait_of(request.query.get("wait")),
    )


def read_room_id(request: Request) -> tuple[str, str]:
    """(app id, room id)."""
    return request.path["appId"], request.path["roomId"]


def read_config(request: Request) -> tuple[str, str, str]:
    """(app id, room id, new config)."""
    return request.path["appId"], request.path["roomId"], request.body.roomConfig


async def run_connection_info(
    services: Services, _: object, wanted: tuple[str, str], __: object
) -> PlacedRoom:
    """One indexed read; only a suspended room is written to: asking for it allocates it again."""
    placed = await services.store.read(lambda tx: rooms.connection(tx, wanted))
    if placed is not None:
        return placed
    context = services.context()
    where = await services.store.read(lambda tx: locks.of_room(tx, wanted))
    placed = await services.store.write(
        lambda tx: rooms.reallocate_room(tx, *wanted, context), where
    )
    services.wake_for(context)
    return placed


def _where(placed: PlacedRoom) -> dict[str, Any]:
    """Status and ports: clients test either, so they flip together (behaviour.md 5.3)."""
    ports = [exposed_port(port) for port in placed.ports]
    return {
        "status": "active" if ports else "starting",
        "exposedPort": ports[0] if ports else UNSET,
        "additionalExposedPorts": ports[1:],
    }


def write_connection_data(placed: PlacedRoom) -> wire.RoomConnectionData:
    """The answer to CreateRoom."""
    assert placed.process_id is not None, "a created room always has a process"
    return wire.RoomConnectionData(
        roomId=placed.room_id, processId=placed.process_id, **_where(placed)
    )


def write_allocation_data(placed: PlacedRoom) -> wire.RoomAllocationData:
    """The answer to ResumeRoom."""
    return wire.RoomAllocationData(
        roomId=placed.room_id, processId=placed.process_id or UNSET, **_where(placed)
    )


def write_room_id(placed: PlacedRoom) -> str:
    """V1's answer to CreateRoom: nothing but the id."""
    return placed.room_id


def write_connection_info(placed: PlacedRoom) -> wire.ConnectionInfoV2:
    """What players poll."""
    return wire.ConnectionInfoV2(roomId=placed.room_id, **_where(placed))


def write_connection_union(
    placed: PlacedRoom,
) -> wire.ActiveConnectionInfo | wire.StartingConnectionInfo:
    """What players of V1 poll: the default port only, and only once it is bound."""
    if not placed.ports:
        return wire.StartingConnectionInfo(roomId=placed.room_id)
    port = placed.ports[0]
    return wire.ActiveConnectionInfo(
        roomId=placed.room_id, host=port.host, port=port.port, transportType=port.transport_type
    )


def _allocation(kind: Any, allocation: Allocation) -> Any:
    return kind(
        unscheduledAt=allocation.unscheduled_at,
        scheduledAt=allocation.scheduled_at,
        processId=allocation.process_id,
        roomAllocationId=allocation.room_allocation_id,
    )


def write_room(room: Room) -> wire.Room:
    """A room with its history."""
    current = room.current
    return wire.Room(
        currentAllocation=None if current is None else _allocation(wire.CurrentAllocation, current),
        status=room.status,  # "suspended" is older than the enum, and told
        allocations=[_allocation(wire.RoomAllocation, a) for a in room.allocations],
        roomConfig=room.room_config,
        roomId=room.room_id,
        appId=room.app_id,
    )


def write_rooms(found: list[Room]) -> list[wire.RoomWithoutAllocations]:
    """Rooms of a process."""
    return [
        wire.RoomWithoutAllocations(
            currentAllocation=None
            if room.current is None
            else _allocation(wire.RoomWithoutAllocationsCurrentAllocation, room.current),
            status=room.status,  # as above
            roomConfig=room.room_config,
            roomId=room.room_id,
            appId=room.app_id,
        )
        for room in found
    ]


_WRITE = "processes:read-write"
_READ = "processes:read"

_V2 = (
    Operation(
        "CreateRoom",
        read_new_room,
        rooms.create_room,
        write_connection_data,
        scope=_WRITE,
        locks=of_new_room,
        waiting=create_and_wait,
    ),
    Operation(
        "DestroyRoom",
        read_room_id,
        rooms.destroy_room,
        write_nothing,
        scope=_WRITE,
        finds_locks=locks.of_room,
    ),
    Operation(
        "SuspendRoomV2Deprecated",
        read_room_id,
        rooms.suspend_room,
        write_nothing,
        scope=_WRITE,
        finds_locks=locks.of_room,
    ),
    Operation(
        "ResumeRoom",
        read_room_id,
        rooms.resume_room,
        write_allocation_data,
        scope=_WRITE,
        finds_locks=locks.of_room,
    ),
    Operation("UpdateRoomConfig", read_config, rooms.update_config, write_nothing, "write", _WRITE),
    Operation("GetRoomInfo", read_room_id, rooms.get_room, write_room, "read", _READ),
    Operation(
        "GetActiveRoomsForProcess", read_process_id, rooms.active_rooms, write_rooms, "read", _READ
    ),
    Operation(
        "GetInactiveRoomsForProcess",
        read_process_id,
        rooms.inactive_rooms,
        write_rooms,
        "read",
        _READ,
    ),
    Operation(
        "GetConnectionInfo", read_room_id, run_connection_info, write_connection_info, "async"
    ),
)

OPERATIONS = (
    *_V2,
    Operation(
        "CreateRoomDeprecated",
        read_new_room,
        rooms.create_room,
        write_room_id,
        scope=_WRITE,
        locks=of_new_room,
    ),
    Operation(
        "GetConnectionInfoDeprecated",
        read_room_id,
        run_connection_info,
        write_connection_union,
        "async",
    ),
    *under_names(
        _V2,
        {
            "DestroyRoom": "DestroyRoomDeprecated",
            "SuspendRoomV2Deprecated": "SuspendRoomDeprecated",
            "GetRoomInfo": "GetRoomInfoDeprecated",
            "GetActiveRoomsForProcess": "GetActiveRoomsForProcessDeprecated",
            "GetInactiveRoomsForProcess": "GetInactiveRoomsForProcessDeprecated",
        },
    ),
)
