"""Rooms that wait for capacity: in line, placed in their order, or ended at their deadline.

Our own (decision 0010). Only a caller who says how long to wait gets such a room. Nobody overtakes it in its
app and region.
"""

from datetime import datetime

from innkeeper.core.accounts import Caller
from innkeeper.core.errors import NoCapacity, NotFound
from innkeeper.core.events import IN_LINE
from innkeeper.core.moments import from_ms, to_ms
from innkeeper.core.rooms import no_capacity
from innkeeper.core.snapshot import WaitingRoom
from innkeeper.interfaces import Context, Tx
from innkeeper.usecases import apps, deployments, journal, room_places, rooms
from innkeeper.usecases.room_places import PlacedRoom, RoomState
from innkeeper.usecases.rooms import NewRoom

QUEUE_MAX = 1000


def stand_in_line(
    tx: Tx, caller: Caller, wanted: NewRoom, full: NoCapacity, deadline: datetime, context: Context
) -> PlacedRoom:
    """The room that found no capacity, of status ``scheduling``, at the end of its queue.

    Raises what :func:`rooms.create_room` raises for what is asked, and ``full`` where too many wait.
    """
    planned = rooms.plan_room(tx, caller.org_id, wanted, context)
    if room_places.waiting_before(tx, wanted.app_id, wanted.region) >= QUEUE_MAX:
        raise full
    placed = rooms.insert(tx, planned, PlacedRoom(planned.room_id, None, ()), IN_LINE, context)
    tx.run(
        "waiting.insert",
        room_id=placed.room_id,
        app_id=wanted.app_id,
        region=wanted.region,
        deployment_id=wanted.deployment_id and planned.deployment_id,
        deadline=to_ms(deadline),
        short=full.message,
        machine_full=int(full.machine),
    )
    now, cause = to_ms(context.now), no_capacity(wanted.region, full.message)
    journal.of_room(tx, placed.room_id, "room.waiting", now, cause)
    context.wake.append((wanted.app_id, wanted.region))
    return placed


def queue(tx: Tx, key: tuple[str, str]) -> tuple[WaitingRoom, ...]:
    """The rooms that wait in an app's region, in their order; the first of them, where there are many."""
    rows = tx.all("waiting.queue", app_id=key[0], region=key[1])
    return tuple(
        WaitingRoom(row["room_id"], row["region"], from_ms(row["deadline"]), row["short"])
        for row in rows
    )


def place(tx: Tx, room_id: str, context: Context) -> bool:
    """Allocate the room if it is the first in its line; false where it is not, or waits no longer.

    Raises :class:`NoCapacity` where there still is none, and what a new process raises.
    """
    row = tx.one("waiting.by_room", room_id=room_id)
    if row is None:
        return False
    app_id, region = row["app_id"], row["region"]
    if room_places.waiting_before(tx, app_id, region, row["number"]):
        return False
    app = apps.require_app_anywhere(tx, app_id)
    if row["deployment_id"] is None:
        deployment = deployments.latest(tx, app)
    else:
        deployment = deployments.require(tx, app_id, row["deployment_id"])
    tx.run("waiting.leave", room_id=room_id)
    where = room_places.Where(app.org_id, app_id, region)
    placed, cause = room_places.allocate(tx, where, deployment, room_id, context, row["number"])
    room_places.put_on(tx, placed, "room.placed", cause, context)
    context.wake.append((app_id, region))
    return True


def still_short(tx: Tx, room_id: str, full: NoCapacity) -> None:
    """Keep what it lacks now: that is its reason if it ends so."""
    tx.run(
        "waiting.keep_short", room_id=room_id, short=full.message, machine_full=int(full.machine)
    )


def end(tx: Tx, room_id: str, reason: str, context: Context) -> bool:
    """End a room that waits; false where it waits no longer."""
    row = tx.one("waiting.by_room", room_id=room_id)
    if row is None:
        return False
    now = to_ms(context.now)
    journal.of_room(tx, room_id, "room.destroyed", now, reason)
    tx.run("rooms.destroy", room_id=room_id, now=now, reason=reason)
    tx.run("waiting.leave", room_id=room_id)
    context.wake.append((row["app_id"], row["region"]))
    return True


def give_up(tx: Tx, room_id: str, context: Context) -> RoomState:
    """Its caller waits no longer: end it where it has no place yet; how it is then."""
    row = tx.one("waiting.by_room", room_id=room_id)
    if row is not None:
        end(tx, room_id, no_capacity(row["region"], row["short"]), context)
    state = room_places.state_of(tx, room_id)
    if state is None:
        raise NotFound("Room", room_id)
    return state


def wake_those_who_wait(tx: Tx, context: Context) -> None:
    """The machine got something back: whoever waits for it looks again."""
    context.wake += [(row["app_id"], row["region"]) for row in tx.all("waiting.keys")]
