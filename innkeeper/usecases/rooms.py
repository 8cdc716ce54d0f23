"""What a caller may ask of rooms: create, destroy, suspend, resume, read (behaviour.md 5)."""

from dataclasses import dataclass
from ipaddress import ip_network
from typing import NamedTuple

from innkeeper.core.accounts import Caller
from innkeeper.core.catalog import Deployment
from innkeeper.core.errors import Invalid, NotFound, StateConflict
from innkeeper.core.events import (
    NEVER_PLACED,
)
from innkeeper.core.lobbies import Visibility
from innkeeper.core.moments import from_ms, maybe_from_ms, to_ms
from innkeeper.core.rooms import DESTROYED_BY_REQUEST, SUSPENDED_BY_REQUEST, Allocation, Room
from innkeeper.interfaces import Context, Row, Tx
from innkeeper.usecases import apps, deployments, journal, processes
from innkeeper.usecases.room_places import PlacedRoom as PlacedRoom
from innkeeper.usecases.room_places import Where, allocate, placed_at, put_on


@dataclass(frozen=True, slots=True)
class NewRoom:
    """What CreateRoom is asked for, and CreateLobby, which says how its lobby is seen."""

    app_id: str
    region: str
    room_id: str | None = None
    room_config: str | None = None
    deployment_id: str | None = None
    client_ips: tuple[str, ...] = ()
    lobby_visibility: Visibility | None = None
    wait_s: float = 0.0  # how long the caller waits for players to be able to connect


def create_room(tx: Tx, caller: Caller, wanted: NewRoom, context: Context) -> PlacedRoom:
    """A room on an open process, or on a new one: one transaction (behaviour.md 5.1)."""
    return open_room(tx, plan_room(tx, caller.org_id, wanted, context), context)


class PlannedRoom(NamedTuple):
    """A room that may be opened. ``deployment`` where it was looked up; without id: on no process, ever."""

    room_id: str
    org_id: str
    wanted: NewRoom
    deployment_id: str | None
    deployment: Deployment | None


def plan_room(tx: Tx, org_id: str, wanted: NewRoom, context: Context) -> PlannedRoom:
    """Everything that may be wrong with what is asked for; writes nothing."""
    target = tx.one("rooms.target", app_id=wanted.app_id, org_id=org_id)
    if target is None:
        raise NotFound("App", wanted.app_id)
    if wanted.lobby_visibility == "local":
        return PlannedRoom(_room_id(tx, wanted, context), org_id, wanted, None, None)
    _check(wanted, context)
    deployment_id = target["latest_deployment_id"]
    deployment: Deployment | None = None
    if wanted.deployment_id is not None:
        deployment = deployments.require(tx, wanted.app_id, wanted.deployment_id)
        deployment_id = deployment.deployment_id
    elif deployment_id is None:
        raise NotFound("Deployment", "latest", "the app has no deployment yet; create one first")
    return PlannedRoom(_room_id(tx, wanted, context), org_id, wanted, deployment_id, deployment)


def open_room(tx: Tx, planned: PlannedRoom, context: Context) -> PlacedRoom:
    """The room with its slot. Raises :class:`Exhausted` where a new process finds no place."""
    wanted, room_id = planned.wanted, planned.room_id
    if planned.deployment_id is None:
        return insert(tx, planned, PlacedRoom(room_id, None, ()), NEVER_PLACED, context)
    where = Where(planned.org_id, wanted.app_id, wanted.region)
    chosen = planned.deployment or planned.deployment_id
    placed, cause = allocate(tx, where, chosen, room_id, context)
    return insert(tx, planned, placed, cause, context)


def insert(
    tx: Tx, planned: PlannedRoom, placed: PlacedRoom, cause: str, context: Context
) -> PlacedRoom:
    """The room's record, where it was placed, if it was, and why there."""
    now, wanted = to_ms(context.now), planned.wanted
    journal.of_new_room(
        tx,
        "room.created",
        cause,
        now,
        org_id=planned.org_id,
        app_id=wanted.app_id,
        room_id=placed.room_id,
        process_id=placed.process_id,
    )
    row = {
        "room_id": placed.room_id,
        "app_id": wanted.app_id,
        "region": wanted.region,
        "room_config": wanted.room_config,
        "process_id": placed.process_id,
        "room_allocation_id": context.ids.uuid(),
        "scheduled_at": now,
        "created_at": now,
    }
    if wanted.lobby_visibility is None:
        if placed.process_id is None:
            del row["process_id"], row["room_allocation_id"], row["scheduled_at"]
            tx.put("rooms.insert_waiting", **row)
        else:
            tx.put("rooms.insert", **row)
        return placed
    status = "active"
    if placed.process_id is None:
        status = "scheduling"
        row |= {"room_allocation_id": None, "scheduled_at": None}
    tx.put(
        "rooms.insert_with_lobby", **row, status=status, lobby_visibility=wanted.lobby_visibility
    )
    return placed


def _check(wanted: NewRoom, context: Context) -> None:
    if wanted.region not in context.policy.regions:
        served = processes.served_regions(context)
        raise StateConflict(f'Region "{wanted.region}" is not available here; available: {served}')
    for index, address in enumerate(wanted.client_ips):
        try:
            ip_network(address, strict=False)
        except ValueError:
            raise Invalid(
                f"body.clientIPs[{index}]", f'is not an IP address or range: "{address}"'
            ) from None
    if wanted.client_ips and not context.policy.accept_unenforced:
        raise Invalid(
            "body.clientIPs",
            "must be empty: address lists are not enforced here yet (serve --accept-unenforced stores them)",
        )


def _room_id(tx: Tx, wanted: NewRoom, context: Context) -> str:
    if wanted.room_id is None:
        return context.ids.room_id()
    if tx.one("rooms.exists", room_id=wanted.room_id) is not None:
        raise StateConflict(f'roomId "{wanted.room_id}" already exists')
    return wanted.room_id


def room_from(row: Row, allocations: tuple[Allocation, ...] = ()) -> Room:
    """A room from its row."""
    current = None
    if row["process_id"] is not None:
        current = Allocation(
            row["room_allocation_id"], row["process_id"], from_ms(row["scheduled_at"]), None
        )
    return Room(
        room_id=row["room_id"],
        app_id=row["app_id"],
        region=row["region"],
        room_config=row["room_config"],
        status=row["status"],
        current=current,
        allocations=allocations if current is None else (*allocations, current),
        created_at=from_ms(row["created_at"]),
        destroyed_at=maybe_from_ms(row["destroyed_at"]),
        end_reason=row["end_reason"],
    )


def require_room(tx: Tx, caller: Caller, app_id: str, room_id: str) -> Row:
    """The room's row, if it is the caller's. Raises :class:`NotFound`."""
    apps.require_app(tx, caller.org_id, app_id)
    row = tx.one("rooms.by_id", room_id=room_id, app_id=app_id)
    if row is None:
        raise NotFound("Room", room_id)
    return row


def get_room(tx: Tx, caller: Caller, wanted: tuple[str, str], context: Context) -> Room:
    """The room with its whole history; ``wanted`` is (app id, room id). Destroyed rooms stay readable."""
    app_id, room_id = wanted
    row = require_room(tx, caller, app_id, room_id)
    past = tuple(
        Allocation(
            a["room_allocation_id"],
            a["process_id"],
            from_ms(a["scheduled_at"]),
            from_ms(a["unscheduled_at"]),
        )
        for a in tx.all("rooms.past_allocations", room_id=room_id)
    )
    return room_from(row, past)


def destroy_room(tx: Tx, caller: Caller, wanted: tuple[str, str], context: Context) -> None:
    """End the room and free its slot; its process goes on (behaviour.md 5.5). Twice is 404."""
    app_id, room_id = wanted
    row = require_room(tx, caller, app_id, room_id)
    if row["status"] == "destroyed":
        raise NotFound("Room", room_id, "it was destroyed")
    now = to_ms(context.now)
    journal.of_room(tx, room_id, "room.destroyed", now, DESTROYED_BY_REQUEST)
    tx.run("rooms.keep_allocation", room_id=room_id, now=now)
    tx.run("rooms.destroy", room_id=room_id, now=now, reason=DESTROYED_BY_REQUEST)
    if row["process_id"] is not None:
        tx.run("processes.free_slot", process_id=row["process_id"], now=now)
    elif row["status"] == "scheduling":
        tx.run("waiting.leave", room_id=room_id)
    context.wake.append((app_id, row["region"]))


def suspend_room(tx: Tx, caller: Caller, wanted: tuple[str, str], context: Context) -> None:
    """Free the slot; the room keeps its id and config (behaviour.md 5.4). Not active: 404."""
    app_id, room_id = wanted
    row = require_room(tx, caller, app_id, room_id)
    if row["status"] != "active":
        raise NotFound("Room", room_id, f"it is {row['status']}, not active")
    now = to_ms(context.now)
    journal.of_room(tx, room_id, "room.suspended", now, SUSPENDED_BY_REQUEST)
    tx.run("rooms.keep_allocation", room_id=room_id, now=now)
    tx.run("rooms.suspend", room_id=room_id)
    tx.run("processes.free_slot", process_id=row["process_id"], now=now)
    context.wake.append((app_id, row["region"]))


def resume_room(tx: Tx, caller: Caller, wanted: tuple[str, str], context: Context) -> PlacedRoom:
    """Allocate a suspended room again, as a new one would be; an active one is answered as it is (5.4)."""
    app_id, room_id = wanted
    apps.require_app(tx, caller.org_id, app_id)
    return reallocate_room(tx, app_id, room_id, context)


def reallocate_room(tx: Tx, app_id: str, room_id: str, context: Context) -> PlacedRoom:
    """As :func:`resume_room`, for whoever asks: a poll of a suspended room's connection does it too (5.3)."""
    row = tx.one("rooms.connection", room_id=room_id, app_id=app_id)
    if row is None or row["status"] == "destroyed":
        raise NotFound("Room", room_id)
    if row["status"] != "suspended":
        return placed_at(room_id, row)
    room = tx.one("rooms.by_id", room_id=room_id, app_id=app_id)
    if room is None:
        raise NotFound("Room", room_id)
    app = apps.require_app_anywhere(tx, app_id)
    deployment = deployments.latest(tx, app)
    where = Where(app.org_id, app_id, room["region"])
    placed, cause = allocate(tx, where, deployment, room_id, context)
    put_on(tx, placed, "room.resumed", cause, context)
    return placed


def connection(tx: Tx, wanted: tuple[str, str]) -> PlacedRoom | None:
    """Where players find the room; ``None`` while it is suspended: then it must be allocated again.

    ``wanted`` is (app id, room id). One indexed read. Raises :class:`NotFound` once it is
    destroyed: clients poll
    on as long as they are told "starting" (behaviour.md 5.3).
    """
    app_id, room_id = wanted
    row = tx.one("rooms.connection", room_id=room_id, app_id=app_id)
    if row is None or row["status"] == "destroyed":
        raise NotFound("Room", room_id)
    return None if row["status"] == "suspended" else placed_at(room_id, row)


def update_config(tx: Tx, caller: Caller, wanted: tuple[str, str, str], context: Context) -> None:
    """Replace the room's config; ``wanted`` is (app id, room id, config). Destroyed: 404
    (behaviour.md 5.5).
    """
    app_id, room_id, config = wanted
    require_room(tx, caller, app_id, room_id)
    if not tx.run("rooms.set_config", room_id=room_id, app_id=app_id, room_config=config):
        raise NotFound("Room", room_id, "it was destroyed")


def active_rooms(tx: Tx, caller: Caller, wanted: tuple[str, str], context: Context) -> list[Room]:
    """Rooms allocated to a process now, starting or not, oldest first; ``wanted`` is (app id, process id)."""
    process = processes.get_process(tx, caller, wanted, context)
    return [room_from(r) for r in tx.all("rooms.active_on_process", process_id=process.process_id)]


def inactive_rooms(tx: Tx, caller: Caller, wanted: tuple[str, str], context: Context) -> list[Room]:
    """Rooms that were allocated to a process, newest first, at most 100."""
    process = processes.get_process(tx, caller, wanted, context)
    return [
        room_from(r) for r in tx.all("rooms.inactive_on_process", process_id=process.process_id)
    ]
