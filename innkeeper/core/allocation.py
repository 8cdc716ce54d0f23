"""Which processes an app's region gets beside those its rooms ask for, and which make way (behaviour.md 8.7).

Pure, as ``decide`` is, which asks for the plan first. docs/decisions/0010 has the choices that are not in the
contract.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from innkeeper.core.actions import (
    CreateProcess,
    HoldProcesses,
    MarkDraining,
    MarkStopping,
    ProcessAction,
    RegionAction,
)
from innkeeper.core.processes import GAVE_WAY, REPLACED, SCALED_DOWN, Process
from innkeeper.core.snapshot import Limits, Snapshot, Wanted

CREATES_PER_PASS = 8
HOLD_MAX = timedelta(seconds=60)
QUICK_ENDS_COUNTED = timedelta(minutes=10)
NOT_STARTABLE = (
    "the build of the latest deployment was deleted; create a deployment of another build"
)
_OURS = ("allocation", "pool")


@dataclass(frozen=True, slots=True)
class Plan:
    """What a region's wishes make of its processes.

    ``actions`` are by process id, and come before what a process would do by itself. Those of ``spared`` are
    not stopped for being idle; those of ``surplus`` are, even where their deployment does not ask for it.
    ``ready_min`` must be ready after any such end.
    """

    actions: Mapping[str, ProcessAction]
    more: tuple[RegionAction, ...] = ()
    spared: frozenset[str] = frozenset()
    surplus: frozenset[str] = frozenset()
    ready_min: int = 0


def plan(snapshot: Snapshot, now: datetime) -> Plan:
    """The plan of one app in one region."""
    if snapshot.app_deleted:
        return Plan({})
    board = _Board(snapshot, now)
    wanted = snapshot.wanted
    ready_min = 0 if wanted is None or wanted.static is None else wanted.static.min_processes
    _end_drained(board, wanted, ready_min)
    if wanted is None or not board.concerned(wanted):
        return Plan(board.actions)
    _replace(board, wanted)
    _scale_down(board, wanted, ready_min)
    spared, surplus = _idle_ones(board, wanted, ready_min)
    more = _grow(board, wanted)
    return Plan(board.actions, more, spared, surplus, ready_min)


class _Board:
    """The live processes while a plan is made: what was planned so far counts as done."""

    def __init__(self, snapshot: Snapshot, now: datetime) -> None:
        self._snapshot = snapshot
        self.now = now
        self.limits: Limits = snapshot.limits
        self.actions: dict[str, ProcessAction] = {}
        live = [p for p in snapshot.processes if p.stopping_at is None and not snapshot.over(p)]
        self.live = sorted(live, key=lambda p: (p.created_at, p.process_id))
        self.total = len(self.live)
        self.ready = sum(p.started_at is not None for p in self.live)
        wanted = snapshot.wanted
        self.latest = None if wanted is None else wanted.deployment_id
        self.rooms_wait_here = bool(snapshot.waiting)
        self.giving_way = any(
            p.stop_reason == GAVE_WAY and p.terminated_at is None for p in snapshot.processes
        )
        self.create_after = now if wanted is None else _create_after(wanted, snapshot, now)

    def concerned(self, wanted: Wanted) -> bool:
        """Whether anything is wanted here, or was."""
        return bool(wanted.static or wanted.reserve or any(p.made_for in _OURS for p in self.live))

    def fresh(self) -> list[Process]:
        """Those of the latest deployment that take rooms, oldest first, without what is planned to end."""
        return [p for p in self.live if self._is_fresh(p) and p.process_id not in self.actions]

    def old(self) -> list[Process]:
        """Those of earlier deployments, oldest first."""
        return [p for p in self.live if p.deployment_id != self.latest]

    def vacated(self, process: Process) -> bool:
        """No rooms and nobody connected; a draining one also when its last room is long over."""
        if process.rooms_allocated:
            return False
        if process.started_at is None:
            return True
        seen = self._snapshot.seen(process)
        if seen is None:
            return False  # The engine is away: who is connected is not known.
        if seen.connections == 0:
            return True
        if not process.draining or process.drained_at is None:
            return False
        return self._long_since(max(process.drained_at, process.emptied_at or process.drained_at))

    def unmeasured(self, process: Process) -> bool:
        """It runs without rooms, and whether anybody is connected cannot be measured."""
        seen = self._snapshot.seen(process)
        if process.started_at is None or seen is None:
            return False
        return not process.rooms_allocated and seen.connections is None

    def unused_for_long(self, process: Process) -> bool:
        """Whether it has been without rooms for as long as one may be idle."""
        return self._long_since(process.emptied_at or process.started_at)

    def stop(self, process: Process, reason: str, ready_min: int) -> bool:
        """Plan its end, unless fewer than ``ready_min`` ready ones were left. It is vacated."""
        if process.started_at is not None:
            if self.ready - 1 < ready_min:
                return False
            self.ready -= 1
        self.actions[process.process_id] = MarkStopping(
            process.process_id, reason, self.limits.idle_stop_grace_s, True, ready_min
        )
        return True

    def drain(self, process: Process, reason: str) -> None:
        """Plan that it takes no new rooms."""
        if not process.draining:
            self.actions[process.process_id] = MarkDraining(process.process_id, reason)

    def idle_for_long(self, process: Process) -> bool:
        """Whether its idle time is over."""
        return self._long_since(process.idle_since)

    def _long_since(self, moment: datetime | None) -> bool:
        return moment is not None and self.now - moment >= timedelta(
            seconds=self.limits.idle_timeout_s
        )

    def _is_fresh(self, process: Process) -> bool:
        return process.deployment_id == self.latest and not process.draining


def _end_drained(board: _Board, wanted: Wanted | None, ready_min: int) -> None:
    """Draining ones stop when they are empty; those of an earlier deployment as their successors allow.

    What a person wants drained stops even where too few are left; and so do those of an earlier deployment
    where no number of processes is wanted any more.
    """
    for process in board.live:
        reason = process.drain_reason
        if reason == REPLACED and wanted is not None and _succeeded(process, wanted):
            continue
        if process.draining and board.vacated(process):
            board.stop(process, reason or SCALED_DOWN, ready_min if reason == SCALED_DOWN else 0)


def _replace(board: _Board, wanted: Wanted) -> None:
    """Those of earlier deployments make way as new ones are ready, greedily (behaviour.md 8.7).

    Never fewer than min are ready together, once that many were; never more than max live.
    """
    old = [p for p in board.old() if p.process_id not in board.actions]
    old = [p for p in old if _succeeded(p, wanted)]
    empty = []
    for process in old:
        if board.vacated(process):
            empty.append(process)
        elif wanted.static is not None or not process.rooms_allocated:
            board.drain(process, REPLACED)
    ready_min = _ready_min(board, wanted, old)
    for process in sorted(empty, key=lambda p: p.started_at is not None):
        board.stop(process, REPLACED, ready_min)


def _succeeded(process: Process, wanted: Wanted) -> bool:
    """Whether another takes its place when it is of an earlier deployment."""
    return wanted.static is not None or process.made_for in _OURS


def _ready_min(board: _Board, wanted: Wanted, old: list[Process]) -> int:
    """How many must be ready for an old one to stop."""
    if wanted.deployment_id is None or not wanted.startable:
        return board.ready  # Nothing can take their place.
    fresh = board.fresh()
    static = wanted.static
    if static is None:
        # Only the reserve is replaced; whatever else is ready does not count for it.
        cover = [p for p in (*fresh, *old) if p.started_at and not p.rooms_allocated]
        return 0 if _held(wanted) else board.ready - max(len(cover) - wanted.reserve, 0)
    full = board.total >= static.max_processes
    blocked = full or _held(wanted)
    if len(fresh) < _count(fresh, wanted) and blocked and board.create_after <= board.now:
        # Somebody must go first. Where max is min, max is kept: one at a time is missing then.
        return min(static.min_processes, static.max_processes - 1) if full else static.min_processes
    return static.target_processes


def _held(wanted: Wanted) -> bool:
    return wanted.hold is not None and wanted.hold.deployment_id == wanted.deployment_id


def _count(fresh: Iterable[Process], wanted: Wanted) -> int:
    """How many of the latest deployment there shall be: the target, or those with rooms and the reserve."""
    with_rooms = sum(p.rooms_allocated > 0 for p in fresh)
    if wanted.static is None:
        return with_rooms + wanted.reserve
    count = max(wanted.static.target_processes, with_rooms + wanted.reserve)
    return min(count, wanted.static.max_processes)


def _scale_down(board: _Board, wanted: Wanted, ready_min: int) -> None:
    """Above the count: those that never held a room stop, starting ones first, the newest first.

    What was made for rooms, or held some, is demand: it idles out. But where the target was lowered, those
    that were made for it drain; and where max was lowered, any.
    """
    fresh = board.fresh()
    static = wanted.static
    surplus = len(fresh) - _count(fresh, wanted)
    unused = [p for p in fresh if p.made_for in _OURS and p.emptied_at is None]
    newest = [p for p in reversed(unused) if board.vacated(p) or board.unmeasured(p)]
    newest.sort(key=lambda p: p.started_at is not None)
    for process in newest[: max(surplus, 0)]:
        if board.vacated(process):
            board.stop(process, SCALED_DOWN, ready_min)
        else:
            board.drain(process, SCALED_DOWN)  # It stops when it has been without rooms for long.
    if wanted.rooms_wait and not board.giving_way:
        # One at a time: the others come in only where that was not enough.
        pool = [p for p in newest if p.made_for == "pool" and p.process_id not in board.actions]
        for process in pool[:1]:
            board.stop(process, GAVE_WAY, ready_min)
    held = [p for p in reversed(board.fresh()) if p.rooms_allocated]
    target = 0 if static is None else static.target_processes
    ours = [p for p in held if p.made_for == "allocation"]
    for process in ours[: max(len(ours) - target, 0)]:
        board.drain(process, SCALED_DOWN)
    if static is not None:
        beyond = len(board.fresh()) - static.max_processes
        for process in [p for p in held if p.process_id not in board.actions][: max(beyond, 0)]:
            board.drain(process, SCALED_DOWN)


def _idle_ones(
    board: _Board, wanted: Wanted, ready_min: int
) -> tuple[frozenset[str], frozenset[str]]:
    """Of the roomless: who is spared although idle, and who is idled out although nobody asks for it."""
    fresh = board.fresh()
    may_go = max(min(len(fresh) - _count(fresh, wanted), board.ready - ready_min), 0)
    roomless = [p for p in reversed(fresh) if not p.rooms_allocated and p.started_at is not None]
    # One order for both, or one would be spared while the other is not asked for.
    roomless.sort(key=lambda p: (p.idle_since is None, p.idle_since or board.now))
    going = roomless[:may_go]
    kept = [p for p in roomless[may_go:] if board.idle_for_long(p)]
    ours = [p for p in going if wanted.static is not None or p.made_for in _OURS]
    for process in ours:
        if board.unmeasured(process) and board.unused_for_long(process):
            board.drain(process, SCALED_DOWN)  # No idle clock would ever run for it.
    if wanted.static is not None:
        kept += board.old()  # They go as their successors allow.
    return (
        frozenset(p.process_id for p in kept),
        frozenset(p.process_id for p in ours),
    )


def _grow(board: _Board, wanted: Wanted) -> tuple[RegionAction, ...]:
    """Below the count: new ones of the latest deployment, without rooms, as far as max allows."""
    latest, hold, fresh = wanted.deployment_id, wanted.hold, board.fresh()
    if wanted.rooms_wait:
        wanted = replace(wanted, reserve=0)  # What there is goes to rooms that players wait for.
    missing = _count(fresh, wanted) - len(fresh)
    if latest is None or missing <= 0 or board.rooms_wait_here:
        return ()
    if not wanted.startable:
        told = hold is not None and (hold.deployment_id, hold.reason) == (latest, NOT_STARTABLE)
        return () if told else (HoldProcesses(latest, NOT_STARTABLE),)
    # A clock that was set back must not hold it for longer than any hold lasts.
    waits = _held(wanted) and hold is not None and timedelta() < hold.until - board.now <= HOLD_MAX
    if waits or board.now < board.create_after:
        return ()
    static = wanted.static
    if static is not None:
        missing = min(missing, static.max_processes - board.total)
    owed = 0 if static is None else static.target_processes - len(fresh)
    return tuple(
        CreateProcess(latest, "allocation" if nth < owed else "pool", nth)
        for nth in range(min(missing, CREATES_PER_PASS))
    )


def _create_after(wanted: Wanted, snapshot: Snapshot, now: datetime) -> datetime:
    """Crash back-off: 1, 2, 4 … 60 seconds after processes that ended by themselves or never bound."""
    lately = [end for end in wanted.quick_ends if timedelta() <= now - end < QUICK_ENDS_COUNTED]
    facts = snapshot.deployments.get(wanted.deployment_id or "")
    ends = [back_off(len(lately), max(lately), snapshot.limits)] if lately else []
    if facts is not None and facts.start_failures and facts.last_start_failure_at is not None:
        failed_at = facts.last_start_failure_at
        ends.append(back_off(facts.start_failures, failed_at, snapshot.limits))
    return max(ends, default=now)


def back_off(failures: int, last: datetime, limits: Limits) -> datetime:
    """1, 2, 4 … seconds after the ``last`` of some failures in a row, 60 at the most."""
    return last + timedelta(seconds=min(2.0 ** min(failures - 1, 10), limits.backoff_max_s))
