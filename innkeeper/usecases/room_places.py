"""Where a room goes: a slot on an open process, or on a new one, in its turn (behaviour.md 5.1)."""

from dataclasses import dataclass
from typing import Any, NamedTuple

from innkeeper.core.catalog import Deployment
from innkeeper.core.errors import NoCapacity
from innkeeper.core.events import ON_NEW, ON_RUNNING, ON_STARTING, EventKind, for_room
from innkeeper.core.moments import to_ms
from innkeeper.core.processes import SCALED_DOWN, ExposedPort
from innkeeper.interfaces import Context, Row, Tx
from innkeeper.usecases import allocations, deployments, journal, made_ahead, processes

# The place in line of a room that does not wait: behind all that do.
LAST = 2**62


@dataclass(frozen=True, slots=True)
class PlacedRoom:
    """A room and where it is. ``ports`` are empty while its process is starting."""

    room_id: str
    process_id: str | None
    ports: tuple[ExposedPort, ...]

    @property
    def active(self) -> bool:
        """Whether players can connect now."""
        return bool(self.ports)


@dataclass(frozen=True, slots=True)
class RoomState:
    """A room as its caller waits for it; ``end_reason`` where it has ended."""

    placed: PlacedRoom
    waits: bool
    end_reason: str | None


class Where(NamedTuple):
    """Whose room, of which app, in which region."""

    org_id: str
    app_id: str
    region: str


def allocate(
    tx: Tx,
    where: Where,
    chosen: Deployment | str,
    room_id: str,
    context: Context,
    number: int = LAST,
) -> tuple[PlacedRoom, str]:
    """A slot on an open process, or on a new one, and why there. ``number`` is the room's place in line.

    Raises :class:`NoCapacity` where there is none, or others wait before it.
    """
    deployment_id = chosen if isinstance(chosen, str) else chosen.deployment_id
    asked = {
        "deployment_id": deployment_id,
        "app_id": where.app_id,
        "region": where.region,
        "number": number,
    }
    slot = tx.one("processes.take_slot", **asked) or _reopened(tx, where, asked, context)
    if slot is not None:
        return placed_at(room_id, slot), _why(slot)
    deployment = chosen
    if isinstance(deployment, str):
        deployment = deployments.require(tx, where.app_id, deployment)
    cause = for_room(room_id)
    process_id = processes.new_process(
        tx, where.org_id, deployment, where.region, room_id, context, cause
    )
    return PlacedRoom(room_id, process_id, ()), ON_NEW


def waiting_before(tx: Tx, app_id: str, region: str, number: int = LAST) -> int:
    """How many rooms wait there for capacity before this place in line."""
    row = tx.one("waiting.ahead", app_id=app_id, region=region, number=number)
    return 0 if row is None else int(row["count"])


def _reopened(tx: Tx, where: Where, asked: dict[str, Any], context: Context) -> Row | None:
    """A slot on a process that drains because it was not needed; ``None``: a new process may be made.

    Raises :class:`NoCapacity` where none may.
    """
    row = tx.one("allocations.before_new", reason=SCALED_DOWN, **asked)
    assert row is not None, "the app was found before"
    if row["ahead"]:
        raise NoCapacity(
            f"{row['ahead']} room(s) wait for capacity in {where.region} before this one"
        )
    key = where.app_id, where.region
    if row["reopenable"] and made_ahead.reopen(tx, key, asked["deployment_id"], "room", context):
        return tx.one("processes.take_slot", **asked)
    allocations.refuse_above_max(row["live"], row["max_processes"], where.region)
    return None


def _why(slot: Row) -> str:
    return ON_STARTING if slot["started_at"] is None else ON_RUNNING


def placed_at(room_id: str, slot: Row) -> PlacedRoom:
    """A room on a process; with its ports once they are bound."""
    ready = slot["started_at"] is not None
    ports = processes.exposed_ports(slot["exposed_ports"]) if ready else ()
    return PlacedRoom(room_id, slot["process_id"], ports)


def put_on(tx: Tx, placed: PlacedRoom, kind: EventKind, cause: str, context: Context) -> None:
    """Record the new allocation of a room that had none."""
    tx.run(
        "rooms.allocate_again",
        room_id=placed.room_id,
        process_id=placed.process_id,
        room_allocation_id=context.ids.uuid(),
        scheduled_at=to_ms(context.now),
    )
    journal.of_room(tx, placed.room_id, kind, to_ms(context.now), cause)


def state_of(tx: Tx, room_id: str) -> RoomState | None:
    """How a room is, for its caller who waits; one indexed read. ``None`` where there is none."""
    row = tx.one("rooms.state", room_id=room_id)
    if row is None:
        return None
    placed = PlacedRoom(room_id, None, ()) if row["process_id"] is None else placed_at(room_id, row)
    ended = row["status"] == "destroyed"
    return RoomState(placed, row["status"] == "scheduling", row["end_reason"] if ended else None)
