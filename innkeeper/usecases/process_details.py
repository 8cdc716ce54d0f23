"""What V1 shows of processes: with what was measured, when it changed, and their rooms (behaviour.md 4.1)."""

from dataclasses import dataclass
from datetime import datetime

from innkeeper.core.accounts import Caller
from innkeeper.core.moments import maybe_from_ms
from innkeeper.core.processes import Process
from innkeeper.core.rooms import Room
from innkeeper.interfaces import Context, Tx
from innkeeper.usecases import apps, processes, rooms
from innkeeper.usecases.processes import ProcessUsage


@dataclass(frozen=True, slots=True)
class ProcessDetails:
    """A process beside the facts that later versions left out.

    ``rooms_changed_at``: when a room was last allocated to it or taken off it; its creation where none was.
    ``rooms`` are those allocated to it now.
    """

    process: Process
    usage: ProcessUsage
    rooms_changed_at: datetime
    rooms: tuple[Room, ...]

    @property
    def slots_changed_at(self) -> datetime:
        """When the number of free slots last changed: with rooms, and as it began and ended to take some."""
        moments = (self.rooms_changed_at, self.process.started_at, self.process.stopping_at)
        return max(moment for moment in moments if moment is not None)

    @property
    def connections_changed_at(self) -> datetime:
        """When its connections were last counted; before that, since when there could be any."""
        return self.usage.measured_at or self.process.started_at or self.process.created_at


@dataclass(frozen=True, slots=True)
class RegionFilter:
    """An app's processes, in one region or in all."""

    app_id: str
    region: str | None = None


def get_details(
    tx: Tx, caller: Caller, wanted: tuple[str, str], context: Context
) -> ProcessDetails:
    """One process; ``wanted`` is (app id, process id). Raises :class:`NotFound`."""
    return _details(tx, processes.get_process(tx, caller, wanted, context))


def running_details(
    tx: Tx, caller: Caller, wanted: RegionFilter, context: Context
) -> list[ProcessDetails]:
    """The ten that started last of those not terminated, latest first."""
    return _listed(tx, caller, wanted, "processes.running_latest")


def stopped_details(
    tx: Tx, caller: Caller, wanted: RegionFilter, context: Context
) -> list[ProcessDetails]:
    """The ten that ended last, latest first."""
    return _listed(tx, caller, wanted, "processes.stopped_latest")


def _listed(tx: Tx, caller: Caller, wanted: RegionFilter, query: str) -> list[ProcessDetails]:
    app = apps.require_app(tx, caller.org_id, wanted.app_id)
    rows = tx.all(query, app_id=app.app_id, region=wanted.region)
    return [_details(tx, processes.process_from(row)) for row in rows]


def _details(tx: Tx, process: Process) -> ProcessDetails:
    changed = tx.one("processes.rooms_changed_at", process_id=process.process_id)
    changed_at = None if changed is None else maybe_from_ms(changed["changed_at"])
    allocated = tx.all("rooms.active_on_process", process_id=process.process_id)
    return ProcessDetails(
        process=process,
        usage=processes.usage_of(tx, process.process_id),
        rooms_changed_at=changed_at or process.created_at,
        rooms=tuple(rooms.room_from(row) for row in allocated),
    )
