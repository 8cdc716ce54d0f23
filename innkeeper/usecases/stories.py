"""The whole story of a room or a process: its events in order, how it stands now, and what one could do."""

from dataclasses import dataclass
from datetime import datetime

from innkeeper.core import story
from innkeeper.core.accounts import Caller
from innkeeper.core.catalog import App
from innkeeper.core.errors import NotFound
from innkeeper.core.events import Event
from innkeeper.core.moments import from_ms, maybe_from_ms
from innkeeper.core.processes import Process
from innkeeper.core.rooms import Room
from innkeeper.core.snapshot import DeploymentFacts
from innkeeper.core.story import Now, ProcessFacts, Waiting
from innkeeper.interfaces import Context, Tx
from innkeeper.usecases import apps, deployments, processes, rooms
from innkeeper.usecases.journal import event_from

ROOM_UNKNOWN = (
    "no room of this app ever had this id. Rooms stay readable for ever, and ids are case-sensitive: look "
    "for a slip of the pen, and for the right app"
)
PROCESS_UNKNOWN = "no process of this app ever had this id; `innkeeper ps -a` shows the latest ones"


@dataclass(frozen=True, slots=True)
class Story:
    """``whole``: all from its beginning is still kept. ``process`` is what a log can be read of: the process
    itself, or the one that a room is on, or was on last.
    """

    app_id: str
    room_id: str | None
    process: Process | None
    now: Now
    whole: bool
    events: tuple[Event, ...]

    @property
    def log_tells(self) -> bool:
        """Whether the last lines of its log belong to the story: it ended, or does not get ready."""
        process = self.process
        if process is None or process.attempted_at is None:
            return False
        return process.started_at is None or process.terminated_at is not None


def room_story(tx: Tx, caller: Caller, wanted: tuple[str, str], context: Context) -> Story:
    """A room's, with that of every process it was on; ``wanted`` is (app id, room id). Raises
    :class:`NotFound`.
    """
    app = apps.require_app(tx, caller.org_id, wanted[0])
    try:
        room = rooms.get_room(tx, caller, (app.app_id, wanted[1]), context)
    except NotFound:
        raise NotFound("Room", wanted[1], ROOM_UNKNOWN) from None
    own = [event_from(row) for row in tx.all("events.of_one_room", room_id=room.room_id)]
    ids = [each.process_id for each in room.allocations]
    ids += [event.process_id for event in own if event.process_id is not None]
    events = {event.seq: event for event in own}
    for process_id in dict.fromkeys(ids):
        for row in tx.all("events.of_one_process", process_id=process_id):
            events[row["seq"]] = event_from(row)
    last = (
        processes.find(tx, ids[-1] if room.current is None else room.current.process_id)
        if ids
        else None
    )
    on = None if last is None else _facts(tx, app, last)
    now = story.room_now(room, on, _waiting(tx, room), context.policy.limits, context.now)
    whole = bool(own) and own[0].kind in ("room.created", "room.waiting")
    told = _in_order(events)
    return Story(
        app.app_id, room.room_id, last, _missing(now, whole, room.created_at, context), whole, told
    )


def process_story(tx: Tx, caller: Caller, wanted: tuple[str, str], context: Context) -> Story:
    """A process's, with that of the rooms on it; ``wanted`` is (app id, process id). Raises
    :class:`NotFound`.
    """
    app = apps.require_app(tx, caller.org_id, wanted[0])
    try:
        process = processes.require_process(tx, app, wanted[1])
    except NotFound:
        raise NotFound("Process", wanted[1], PROCESS_UNKNOWN) from None
    own = [event_from(r) for r in tx.all("events.of_one_process", process_id=process.process_id)]
    events = {event.seq: event for event in own}
    for row in tx.all("events.of_its_rooms", process_id=process.process_id):
        events[row["seq"]] = event_from(row)
    now = story.process_now(_facts(tx, app, process), context.policy.limits, context.now)
    whole = bool(own) and own[0].kind == "process.created"
    now = _missing(now, whole, process.created_at, context)
    return Story(app.app_id, None, process, now, whole, _in_order(events))


def _in_order(events: dict[int, Event]) -> tuple[Event, ...]:
    return tuple(events[seq] for seq in sorted(events))


def _missing(now: Now, whole: bool, begun: datetime, context: Context) -> Now:
    """Say so where not all is told that happened."""
    if whole:
        return now
    hours = context.policy.event_retention_hours
    text = (
        f"Not all that happened is kept any more: it began on {begun:%Y-%m-%d at %H:%M} UTC, and events are "
        f"kept for {hours} hours (--event-retention-hours)."
    )
    return Now(now.status, now.text, (*now.advice, text))


def _facts(tx: Tx, app: App, process: Process) -> ProcessFacts:
    deployment = deployments.require(tx, app.app_id, process.deployment_id)
    row = tx.one("stories.start_failures", deployment_id=process.deployment_id)
    failures = 0 if row is None else row["start_failures"]
    why = None
    if failures:
        failed = tx.one(
            "stories.last_failure", app_id=app.app_id, deployment_id=process.deployment_id
        )
        why = None if failed is None else failed["summary_exit_reason"]
    facts = DeploymentFacts(
        deployment_id=process.deployment_id,
        default_port=deployment.ports[0].port,
        idle_timeout_enabled=deployment.idle_timeout_enabled,
        start_failures=failures,
        last_start_failure_at=None if row is None else maybe_from_ms(row["last_start_failure_at"]),
    )
    return ProcessFacts(process, facts, tuple(deployment.ports), why)


def _waiting(tx: Tx, room: Room) -> Waiting | None:
    row = tx.one("stories.waiting", room_id=room.room_id) if room.status == "scheduling" else None
    if row is None:
        return None
    return Waiting(row["short"], from_ms(row["deadline"]), row["before_it"])
