"""``CreateRoom?wait=30s``: answered when players can connect, or with the reason why they cannot (ours).

Nobody asks the store again and again for it: the journal's tail says when something happened to the room.
"""

import re
from datetime import timedelta

from innkeeper.api.services import Services
from innkeeper.core.accounts import Caller
from innkeeper.core.errors import Invalid, NoCapacity, NotFound, StateConflict
from innkeeper.core.rooms import DESTROYED_BY_REQUEST, NO_CAPACITY
from innkeeper.interfaces import Context
from innkeeper.usecases import room_places, rooms, waiting
from innkeeper.usecases.room_places import PlacedRoom, RoomState
from innkeeper.usecases.rooms import NewRoom

WAIT_MAX_S = 120.0
_TIME = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(ms|s|)", re.ASCII)


def wait_of(text: str | None) -> float:
    """``30s``, ``500ms`` or bare seconds, in seconds; 0 where nothing is said. Raises :class:`Invalid`."""
    if text is None:
        return 0.0
    given = _TIME.fullmatch(text)
    wait_s = float(given[1]) / (1000 if given[2] == "ms" else 1) if given else -1.0
    if not 0 <= wait_s <= WAIT_MAX_S:
        raise Invalid(
            "query.wait",
            f'must be a time such as "30s" or "500ms", or a number of seconds; at most {WAIT_MAX_S:g}s',
        )
    return wait_s


async def create_and_wait(
    services: Services, caller: Caller, wanted: NewRoom, context: Context
) -> PlacedRoom:
    """A new room, once players can connect, or the room as it is when the time is over.

    Raises what CreateRoom raises: :class:`NoCapacity` where there was none in all that time (the room has
    ended then), :class:`StateConflict` with the reason where the room ended before it was ready.
    """
    waits = services.waiters
    key = (wanted.app_id, wanted.region)
    until = waits.now() + wanted.wait_s
    patient = waits.may_wait and wanted.wait_s > 0
    try:
        placed = await services.store.write(
            lambda tx: rooms.create_room(tx, caller, wanted, context), (key,)
        )
    except NoCapacity as none:
        if not patient:
            raise
        full, now = none, services.context()
        deadline = now.now + timedelta(seconds=wanted.wait_s)
        placed = await services.store.write(
            lambda tx: waiting.stand_in_line(tx, caller, wanted, full, deadline, now), (key,)
        )
        services.wake_for(now)
    services.wake_for(context)
    if placed.active or not patient:
        return placed
    with waits.waiter():
        return await _settled(services, key, placed, until)


async def _settled(
    services: Services, key: tuple[str, str], placed: PlacedRoom, until: float
) -> PlacedRoom:
    waits, room_id = services.waiters, placed.room_id
    process_id = placed.process_id
    with services.tail.watch(room_id, process_id) as watch:
        while True:
            state = await services.store.read(lambda tx: room_places.state_of(tx, room_id))
            process_id = _known(state, room_id, process_id)
            if state is not None and state.placed.active:
                return state.placed
            left_s = until - waits.now()
            if left_s <= 0 or waits.ending:
                break
            await waits.either(watch.changed(left_s))
    if state is not None and not state.waits:
        return state.placed
    context = services.context()
    state = await services.store.write(lambda tx: waiting.give_up(tx, room_id, context), (key,))
    services.wake_for(context)
    _known(state, room_id, process_id)
    return state.placed


def _known(state: RoomState | None, room_id: str, process_id: str | None) -> str | None:
    """The process that it is on, or was. Raises why the room is no more."""
    if state is None or state.end_reason == DESTROYED_BY_REQUEST:
        raise NotFound("Room", room_id, "it was destroyed while it was waited for")
    if state.end_reason is None:
        return state.placed.process_id or process_id
    if state.end_reason.startswith(NO_CAPACITY):
        raise NoCapacity(state.end_reason)
    where = "" if process_id is None else f" on process {process_id}"
    raise StateConflict(f'Room "{room_id}" ended{where} before it was ready: {state.end_reason}')
