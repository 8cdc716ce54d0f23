"""Wanted processes by example: who is made, who makes way, in which order (behaviour.md 8.7)."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from innkeeper.core import actions as act
from innkeeper.core.allocation import NOT_STARTABLE
from innkeeper.core.decide import decide
from innkeeper.core.processes import (
    DRAINED_BY_REQUEST,
    GAVE_WAY,
    IDLE_TIMEOUT,
    REPLACED,
    SCALED_DOWN,
    Process,
)
from innkeeper.core.snapshot import (
    DeploymentFacts,
    Hold,
    Observation,
    ProcessSeen,
    Snapshot,
    StaticAllocation,
    Wanted,
)
from innkeeper.testing.records import NOON, new_process

NOW = NOON + timedelta(hours=1)


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def ready(name: str, deployment: str = "new", **changes: Any) -> Process:
    """A running process without rooms, as the allocation made it; its name orders it by age."""
    age = timedelta(seconds=ord(name[0]) - ord("a"))
    begun = NOON + age
    known: dict[str, Any] = {
        "process_id": name,
        "deployment_id": deployment,
        "rooms_allocated": 0,
        "made_for": "allocation",
        "attempted_at": begun,
        "booted_at": begun,
        "started_at": begun,
    }
    return new_process(begun, **(known | changes))


def starting(name: str, deployment: str = "new", **changes: Any) -> Process:
    begun = {"attempted_at": None, "booted_at": None, "started_at": None}
    return ready(name, deployment, **(begun | changes))


def snapshot(
    processes: Iterable[Process],
    bounds: tuple[int, int, int] | None,
    connections: int | None = 0,
    idle: bool = False,
    failures: int = 0,
    away: bool = False,
    deleted: bool = False,
    **wanted: Any,
) -> Snapshot:
    known = tuple(processes)
    shown = {
        p.process_id: ProcessSeen(p.process_id, "running", p.booted_at, connections=connections)
        for p in known
        if p.booted_at
    }
    failed_at = at(-1) if failures else None
    return Snapshot(
        deleted,
        known,
        {
            name: DeploymentFacts(name, 7777, idle, failures if name == "new" else 0, failed_at)
            for name in ("old", "new")
        },
        None if away else Observation(NOW, shown),
        wanted=Wanted(
            "new", static=None if bounds is None else StaticAllocation(*bounds), **wanted
        ),
    )


def planned(*args: Any, now: datetime = NOW, **more: Any) -> list[act.Action]:
    """What is decided, but for the starts of what is there."""
    decided = decide(snapshot(*args, **more), now)
    return [action for action in decided if not isinstance(action, act.StartProcess)]


def make(count: int, made_for: Any = "allocation") -> list[act.Action]:
    return [act.CreateProcess("new", made_for, nth) for nth in range(count)]


def stop(name: str, reason: str = SCALED_DOWN, ready_min: int = 0) -> act.Action:
    return act.MarkStopping(name, reason, 10, True, ready_min)


# ------------------------------------------------------------ up to the target


def test_below_the_target_new_ones_are_made_and_at_it_none() -> None:
    assert planned([], (1, 3, 5)) == make(3)
    assert planned([ready("a")], (1, 3, 5)) == make(2)
    assert planned([ready("a"), starting("b"), ready("c")], (1, 3, 5)) == []
    assert planned([], (0, 0, 5)) == []


def test_those_that_rooms_and_people_made_count() -> None:
    mine = [ready("a", made_for="room", rooms_allocated=1), ready("b", made_for="request")]
    assert planned(mine, (1, 3, 5)) == make(1)


def test_those_that_end_or_drain_or_were_lost_do_not_count() -> None:
    ending = ready("a", stopping_at=NOW, term_sent_at=NOW)
    draining = ready("b", draining=True, drain_reason=DRAINED_BY_REQUEST, rooms_allocated=1)
    assert planned([ending, draining], (1, 2, 5)) == make(2)
    gone = snapshot([ready("c")], (1, 1, 1))
    gone = replace(gone, observation=Observation(NOW, {}))
    assert decide(gone, NOW) == [act.MarkTerminated("c", None), *make(1)]


def test_max_bounds_what_is_made_with_old_ones_and_draining_ones() -> None:
    held = {"rooms_allocated": 1, "draining": True, "drain_reason": REPLACED}
    old = [ready("a", "old", **held), ready("b", "old", **held)]
    assert planned(old, (1, 2, 3)) == make(1)
    assert planned(old, (1, 2, 2)) == []


def test_many_are_made_some_at_a_go() -> None:
    assert len(planned([], (1, 500, 1000))) == 8


def test_without_a_deployment_or_with_a_deleted_app_nothing_is_made() -> None:
    nothing = snapshot([], (1, 2, 3))
    assert (
        decide(replace(nothing, wanted=Wanted(None, static=StaticAllocation(1, 2, 3))), NOW) == []
    )
    assert planned([], (1, 2, 3), deleted=True) == []


def test_a_build_that_is_gone_is_told_once() -> None:
    assert planned([], (1, 2, 3), startable=False) == [act.HoldProcesses("new", NOT_STARTABLE)]
    told = Hold("new", NOT_STARTABLE, at(-99))
    assert planned([], (1, 2, 3), startable=False, hold=told) == []
    assert planned([], (1, 2, 3), startable=True, hold=told) == make(2)


def test_what_could_not_be_made_is_tried_again_when_its_time_has_come() -> None:
    full = Hold("new", "The machine is full", at(10))
    assert planned([], (1, 1, 1), hold=full) == []
    assert planned([], (1, 1, 1), hold=full, now=at(10)) == make(1)
    assert planned([], (1, 1, 1), hold=replace(full, deployment_id="old")) == make(1)


@pytest.mark.parametrize(("ends", "wait_s"), [(1, 1), (2, 2), (4, 8), (10, 60)])
def test_ones_that_end_soon_are_replaced_under_back_off(ends: int, wait_s: float) -> None:
    moments = tuple(at(-second) for second in range(ends))
    assert planned([], (1, 1, 1), quick_ends=moments, now=at(wait_s - 0.001)) == []
    assert planned([], (1, 1, 1), quick_ends=moments, now=at(wait_s)) == make(1)


def test_ones_that_never_bound_count_for_the_back_off_too() -> None:
    assert planned([], (1, 1, 1), failures=4, now=at(6.9)) == []
    assert planned([], (1, 1, 1), failures=4, now=at(7)) == make(1)


# ------------------------------------------------------------ down to the target


def test_above_the_target_starting_ones_stop_first_then_the_newest() -> None:
    many = [ready("a"), starting("b"), ready("c"), ready("d"), starting("e")]
    assert planned(many, (0, 3, 9)) == [stop("b"), stop("e")]
    assert planned(many, (0, 2, 9)) == [stop("b"), stop("d"), stop("e")]


def test_no_fewer_than_min_stay_ready() -> None:
    many = [ready("a"), ready("b"), starting("c"), starting("d"), starting("e")]
    assert planned(many, (2, 2, 9)) == [stop(name, ready_min=2) for name in "cde"]


def test_nobody_is_cut_and_nobody_is_taken_for_gone_unseen() -> None:
    many = [ready("a"), ready("b")]
    assert planned(many, (0, 1, 9), connections=1) == []
    assert planned(many, (0, 1, 9), connections=None) == [act.MarkDraining("b", SCALED_DOWN)]
    drains = {"draining": True, "drain_reason": SCALED_DOWN, "drained_at": NOW}
    unseen = [many[0], replace(many[1], **drains)]
    assert planned(unseen, (0, 1, 9), connections=None, now=at(299)) == []
    assert planned(unseen, (0, 1, 9), connections=None, now=at(300)) == [stop("b")]
    assert planned(many, (0, 1, 9), away=True) == []


def test_with_rooms_they_drain_where_the_target_was_lowered_and_not_where_rooms_made_them() -> None:
    held = [ready(name, rooms_allocated=1) for name in "abc"]
    assert planned(held, (0, 1, 9)) == [
        act.MarkDraining("b", SCALED_DOWN),
        act.MarkDraining("c", SCALED_DOWN),
    ]
    asked = [replace(p, made_for="room") for p in held]
    assert planned([held[0], *asked[1:]], (0, 1, 9)) == []
    # Where max was lowered, it is kept.
    assert planned([held[0], *asked[1:]], (0, 1, 2)) == [act.MarkDraining("c", SCALED_DOWN)]


def test_one_whose_rooms_have_ended_idles_out_first() -> None:
    used = ready("b", emptied_at=at(-1))
    assert planned([ready("a", rooms_allocated=1), used], (0, 1, 9)) == [act.MarkIdle("b", NOW)]
    over = replace(used, idle_since=at(-300))
    assert planned([ready("a", rooms_allocated=1), over], (0, 1, 9)) == [stop("b")]
    # At the target it stays, and without the deployment's wish no idle clock runs.
    assert planned([ready("a", rooms_allocated=1), over], (0, 2, 9)) == []


def test_one_that_cannot_be_measured_drains_when_it_was_without_rooms_for_long() -> None:
    held = ready("a", rooms_allocated=1)
    mine = [held, ready("b", made_for="room", emptied_at=at(-299))]
    assert planned(mine, (0, 1, 9), connections=None) == []
    drains = [act.MarkDraining("b", SCALED_DOWN)]
    assert planned(mine, (0, 1, 9), connections=None, now=at(1)) == drains
    assert planned(mine, (0, 2, 9), connections=None, now=at(1)) == []
    # Where nothing is wanted, what rooms made is left alone.
    assert planned([mine[1]], None, connections=None, now=at(1)) == []


def test_idle_ones_that_the_target_needs_are_spared() -> None:
    idle = [ready(name, idle_since=at(-300 - ord(name))) for name in "abc"]
    asked = [replace(p, made_for="request", idle_since=p.idle_since) for p in idle]
    assert planned(asked, (0, 3, 9), idle=True) == []
    # The one that has been idle for longest goes; and none while too few are ready.
    assert planned(asked, (0, 2, 9), idle=True) == [stop("c", IDLE_TIMEOUT)]
    few = [*asked[:2], starting("d", rooms_allocated=1)]
    assert planned(few, (2, 2, 9), idle=True) == []


def test_what_was_wanted_before_is_given_up_when_nothing_is() -> None:
    mine = [ready("a"), ready("b", rooms_allocated=1), ready("c", made_for="room")]
    assert planned(mine, None) == [stop("a"), act.MarkDraining("b", SCALED_DOWN)]


# ------------------------------------------------------------ a newer deployment


def test_new_ones_come_first_where_max_has_room_for_them() -> None:
    old = [ready("a", "old"), ready("b", "old")]
    assert planned(old, (2, 2, 4)) == make(2)
    assert planned([*old, starting("c"), starting("d")], (2, 2, 4)) == []
    assert planned([*old, ready("c"), starting("d")], (2, 2, 4)) == [stop("a", REPLACED, 2)]
    assert planned([*old, ready("c"), ready("d")], (2, 2, 4)) == [
        stop("a", REPLACED, 2),
        stop("b", REPLACED, 2),
    ]


def test_at_max_old_ones_go_first_down_to_min() -> None:
    old = [ready(name, "old") for name in "abc"]
    assert planned(old, (2, 3, 3)) == [stop("a", REPLACED, 2)]
    # Where max is min one of both must give way: max is kept, and one at a time is missing.
    assert planned(old, (3, 3, 3)) == [stop("a", REPLACED, 2)]
    assert planned([*old[1:], starting("d")], (3, 3, 3)) == []
    assert planned([*old[1:], ready("d")], (3, 3, 3)) == [stop("b", REPLACED, 2)]


def test_a_full_machine_does_as_max_does_but_never_below_min() -> None:
    full = Hold("new", "The machine is full", at(10))
    old = [ready("a", "old"), ready("b", "old")]
    assert planned(old, (1, 2, 9), hold=full) == [stop("a", REPLACED, 1)]
    assert planned(old, (2, 2, 9), hold=full) == []


def test_old_ones_with_rooms_drain_and_stop_when_they_are_empty() -> None:
    old = ready("a", "old", rooms_allocated=1)
    assert planned([old, ready("b")], (0, 1, 9)) == [act.MarkDraining("a", REPLACED)]
    draining = replace(old, draining=True, drain_reason=REPLACED, drained_at=at(-500))
    assert planned([draining, ready("b")], (0, 1, 9)) == []
    empty = replace(draining, rooms_allocated=0, emptied_at=at(-1))
    assert planned([empty, ready("b")], (0, 1, 9)) == [stop("a", REPLACED, 1)]
    # Who is still connected may stay for five minutes after the last room.
    assert planned([empty, ready("b")], (0, 1, 9), connections=2) == []
    assert planned([empty, ready("b")], (0, 1, 9), connections=2, now=at(299)) == [
        stop("a", REPLACED, 1)
    ]


def test_nothing_makes_way_for_a_deployment_that_cannot_run() -> None:
    old = [ready("a", "old"), ready("b", "old")]
    told = Hold("new", NOT_STARTABLE, at(99))
    assert planned(old, (1, 2, 2), startable=False, hold=told) == []
    assert planned(old, (1, 2, 2), quick_ends=(NOW,)) == []


def test_without_a_static_allocation_nothing_that_runs_is_touched() -> None:
    old = [
        ready("a", "old", made_for="room", rooms_allocated=1),
        ready("b", "old", made_for="room"),
    ]
    assert planned(old, None) == []


# ------------------------------------------------------------ draining by request


def test_one_that_a_person_drains_stops_when_empty_and_is_replaced() -> None:
    drained = ready("a", draining=True, drain_reason=DRAINED_BY_REQUEST, drained_at=NOW)
    assert planned([drained], (1, 1, 2)) == [stop("a", DRAINED_BY_REQUEST), *make(1)]
    busy = replace(drained, rooms_allocated=1)
    assert planned([busy], (1, 1, 2)) == make(1)
    alone = replace(snapshot([drained], None), wanted=None)
    assert decide(alone, NOW) == [stop("a", DRAINED_BY_REQUEST)]


# ------------------------------------------------------------ warm pools


def test_a_pool_is_kept_beyond_those_with_rooms_and_within_max() -> None:
    assert planned([], None, reserve=2) == make(2, "pool")
    held = ready("a", made_for="room", rooms_allocated=1)
    assert planned([held, ready("b", made_for="pool")], None, reserve=1) == []
    assert planned([held, ready("b", made_for="pool", rooms_allocated=1)], None, reserve=1) == make(
        1, "pool"
    )
    assert planned([held], (1, 1, 2), reserve=5) == make(1, "pool")


def test_a_pool_is_spared_by_idle_and_shrinks_when_less_is_wanted() -> None:
    pool = [ready(name, made_for="pool", idle_since=at(-999)) for name in "ab"]
    assert planned(pool, None, reserve=2, idle=True) == []
    assert planned(pool, None, reserve=1, idle=True) == [stop("b")]


@pytest.mark.parametrize("connections", [0, None])
def test_a_pool_gives_way_to_a_room_that_waits_one_at_a_time(connections: int | None) -> None:
    pool = [ready(name, made_for="pool") for name in "ab"]
    gives = stop("b", GAVE_WAY)
    wish: dict[str, Any] = {"reserve": 3, "rooms_wait": True, "connections": connections}
    assert planned(pool, None, **wish) == [gives]
    going = replace(pool[1], stopping_at=NOW, term_sent_at=NOW, stop_reason=GAVE_WAY)
    assert planned([pool[0], going], None, **wish) == []
    assert planned(pool, None, reserve=2, rooms_wait=True, connections=1) == []


def test_a_new_deployment_replaces_the_pool_and_nothing_else() -> None:
    old = [ready("a", "old", made_for="pool"), ready("b", "old", made_for="request")]
    assert planned(old, None, reserve=1) == make(1, "pool")
    assert planned([*old, starting("c", made_for="pool")], None, reserve=1) == []
    assert planned([*old, ready("c", made_for="pool")], None, reserve=1) == [stop("a", REPLACED, 2)]


def test_a_replaced_one_ends_when_it_is_empty_although_its_allocation_is_gone() -> None:
    """It drained while its region had a static allocation; nobody else would ever end it."""
    known = {"made_for": "room", "draining": True, "drain_reason": REPLACED, "drained_at": at(-400)}
    left = ready("a", "old", **known)
    assert planned([left], None) == [stop("a", REPLACED)]
    assert planned([left], None, connections=1) == [stop("a", REPLACED)]
    assert planned([replace(left, rooms_allocated=1)], None) == []
    assert planned([left], (1, 1, 2)) == make(1)
