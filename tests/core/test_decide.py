"""``decide`` by example: the bounds and refusals that are easiest to read one at a time."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from innkeeper.core import actions as act
from innkeeper.core.decide import decide, start_after
from innkeeper.core.processes import (
    APP_DELETED,
    IDLE_TIMEOUT,
    NODE_LOST,
    STOPPED_BY_REQUEST,
    Exit,
    Process,
    ended_as_failed,
    exit_reason,
)
from innkeeper.core.snapshot import DeploymentFacts, Limits, Observation, ProcessSeen, Snapshot
from innkeeper.testing.records import NOON, new_process

T0 = NOON


def after(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def process(**changes: Any) -> Process:
    return new_process(**changes)


def running(**changes: Any) -> Process:
    return process(**{"attempted_at": T0, "booted_at": T0, "started_at": T0, **changes})


def seen(phase: str = "running", **more: Any) -> ProcessSeen:
    return ProcessSeen("p", phase, **more)  # type: ignore[arg-type]


def decided(
    record: Process,
    look: ProcessSeen | None,
    now: datetime,
    *,
    away: bool = False,
    deleted: bool = False,
    **facts: Any,
) -> act.Action | None:
    observation = None if away else Observation(now, {} if look is None else {"p": look})
    deployment = DeploymentFacts("dep", 7777, facts.pop("idle", True), **facts)
    snapshot = Snapshot(deleted, (record,), {"dep": deployment}, observation, Limits())
    actions = decide(snapshot, now)
    assert len(actions) <= 1
    return actions[0] if actions else None


def test_a_new_process_is_started_at_once() -> None:
    assert decided(process(), None, T0) == act.StartProcess("p")


def test_a_hand_over_is_repeated_only_after_a_while() -> None:
    handed = process(attempted_at=T0)
    assert decided(handed, None, after(4.9)) is None
    assert decided(handed, None, after(5)) == act.StartProcess("p")
    assert decided(handed, seen("created"), after(5)) == act.StartProcess("p")


@pytest.mark.parametrize(
    ("failures", "wait_s"), [(0, 0), (1, 1), (2, 2), (3, 4), (7, 60), (500, 60)]
)
def test_starts_back_off_after_failed_starts(failures: int, wait_s: float) -> None:
    facts: dict[str, Any] = {"start_failures": failures, "last_start_failure_at": T0}
    if wait_s:
        assert decided(process(), None, after(wait_s - 0.001), **facts) is None
    assert decided(process(), None, after(wait_s), **facts) == act.StartProcess("p")
    assert start_after(DeploymentFacts("dep", 1, True, **facts), Limits()) <= after(60)


def test_back_off_holds_no_start_that_was_handed_over_already() -> None:
    facts: dict[str, Any] = {"start_failures": 9, "last_start_failure_at": after(4)}
    assert decided(process(attempted_at=T0), None, after(5), **facts) == act.StartProcess("p")


def test_it_is_running_when_its_ports_are_bound_and_not_before() -> None:
    booted = process(attempted_at=T0, booted_at=T0)
    assert decided(booted, seen(), after(1)) is None
    bound = seen(bound_at=after(1))
    assert decided(booted, bound, after(2)) == act.MarkStarted("p", after(1))


def test_started_is_never_before_booted() -> None:
    booted = process(attempted_at=T0, booted_at=after(1))
    bound = seen(bound_at=after(0.5))
    assert decided(booted, bound, after(2)) == act.MarkStarted("p", after(1))


def test_never_bound_is_told_with_the_port_and_the_time() -> None:
    booted = process(attempted_at=T0, booted_at=T0)
    assert decided(booted, seen(), after(99.999)) is None
    stop = decided(booted, seen(), after(100))
    assert stop == act.MarkStopping("p", "Failed to bind port 7777 within 100 seconds", 10)


def test_unseen_is_not_unbound() -> None:
    """While the engine is away the game may have bound its port, and players may be on it."""
    booted = process(attempted_at=T0, booted_at=T0)
    assert decided(booted, None, after(1000), away=True) is None


def test_lost_is_told_only_by_a_listing_that_began_after_the_boot() -> None:
    record = running(booted_at=after(10), started_at=after(10))
    facts = {"dep": DeploymentFacts("dep", 7777, True)}
    for young, expected in [({"p"}, []), ((), [act.MarkTerminated("p", None)])]:
        # A clock that is set back or forward proves nothing.
        for taken_at in (after(0), after(100)):
            observation = Observation(taken_at, {}, young)
            snapshot = Snapshot(False, (record,), facts, observation, Limits())
            assert decide(snapshot, after(11)) == expected


def test_nothing_is_lost_while_the_engine_is_away() -> None:
    assert decided(running(), None, after(1000), away=True) is None


def test_what_was_never_handed_over_ends_without_a_signal() -> None:
    record = process(stopping_at=after(1), stop_reason=STOPPED_BY_REQUEST)
    assert decided(record, None, after(1)) == act.MarkTerminated("p", None)


@pytest.mark.parametrize("look", [None, seen("created")])
def test_a_stop_during_the_hand_over_ends_what_never_ran(look: ProcessSeen | None) -> None:
    record = process(attempted_at=T0, stopping_at=after(1), stop_reason=STOPPED_BY_REQUEST)
    assert decided(record, look, after(2)) == act.KillProcess("p")
    assert decided(record, look, after(5)) == act.MarkTerminated("p", None)


def test_term_first_then_kill_when_the_grace_is_over() -> None:
    record = running(stopping_at=after(1), stop_reason=STOPPED_BY_REQUEST, stop_grace_s=30.0)
    assert decided(record, seen(), after(1)) == act.SignalProcess("p")
    told = replace(record, term_sent_at=after(2))
    assert decided(told, seen(), after(31.9)) is None
    assert decided(told, seen(), after(32)) == act.KillProcess("p")


@pytest.mark.parametrize("booted", [True, False])
def test_a_kill_is_repeated_only_after_a_while(booted: bool) -> None:
    """Or a pass that follows each act at once would spin until the next listing."""
    begun = {"attempted_at": T0, "booted_at": T0 if booted else None}
    record = process(**begun, stopping_at=T0, term_sent_at=T0, stop_grace_s=0.0)
    look = seen() if booted else None
    assert decided(record, look, after(1)) == act.KillProcess("p")
    killed = replace(record, kill_sent_at=after(1))
    assert decided(killed, look, after(1.9)) is None
    assert decided(killed, look, after(2)) == act.KillProcess("p")


def test_a_grace_of_nothing_is_a_grace() -> None:
    record = running(stopping_at=after(1), term_sent_at=after(1), stop_grace_s=0.0)
    assert decided(record, seen(), after(1)) == act.KillProcess("p")


def test_an_exit_is_the_end_whatever_was_wanted() -> None:
    exit_ = Exit(3, None, False, after(5))
    for record in (process(attempted_at=T0), running(), running(stopping_at=after(2))):
        assert decided(record, seen("exited", exit=exit_), after(6)) == act.MarkTerminated(
            "p", exit_
        )


def test_remains_are_removed_once() -> None:
    ended = running(stopping_at=after(1), terminated_at=after(2))
    assert decided(ended, None, after(3)) == act.RemoveRemains("p")
    assert decided(replace(ended, removed=True), None, after(3)) is None


def test_a_deleted_app_stops_its_processes() -> None:
    assert decided(running(), seen(), after(1), deleted=True) == act.MarkStopping(
        "p", APP_DELETED, 30
    )
    assert decided(process(), None, after(1), deleted=True) == act.MarkStopping(
        "p", APP_DELETED, 30
    )


def test_idle_counts_from_neither_rooms_nor_connections() -> None:
    empty = running(rooms_allocated=0)
    nobody = seen(connections=0)
    assert decided(empty, nobody, after(1)) == act.MarkIdle("p", after(1))
    idle = replace(empty, idle_since=after(1))
    assert decided(idle, nobody, after(300.9)) is None
    stop = act.MarkStopping("p", IDLE_TIMEOUT, 10, if_empty=True)
    assert decided(idle, nobody, after(301)) == stop


@pytest.mark.parametrize(("rooms", "connections"), [(1, 0), (0, 1), (0, None), (2, None)], ids=str)
def test_a_room_a_player_or_not_knowing_keeps_it(rooms: int, connections: int | None) -> None:
    record = running(rooms_allocated=rooms)
    assert decided(record, seen(connections=connections), after(1)) is None
    idle = replace(record, idle_since=after(1))
    assert decided(idle, seen(connections=connections), after(999)) == act.MarkIdle("p", None)


def test_idle_is_nothing_where_it_is_switched_off() -> None:
    record = running(rooms_allocated=0, idle_since=T0)
    assert decided(record, seen(connections=0), after(9999), idle=False) is None


def test_idle_needs_a_look_at_the_connections() -> None:
    record = running(rooms_allocated=0, idle_since=T0)
    assert decided(record, None, after(9999), away=True) is None


CLEAN, CODE, SIGNAL = (Exit(c, s, False, T0) for c, s in ((0, None), (3, None), (None, 11)))
OOM = Exit(None, 9, True, T0)


@pytest.mark.parametrize(
    ("record", "exit_", "failed", "reason"),
    [
        (running(), CLEAN, False, "Exited with code 0"),
        (running(), CODE, True, "Exited with code 3"),
        (running(), SIGNAL, True, "Killed by signal 11"),
        (running(), OOM, True, "Out of memory"),
        (running(), None, True, NODE_LOST),
        (running(), Exit(None, None, False, T0), True, NODE_LOST),
        (
            running(stopping_at=T0, stop_reason=STOPPED_BY_REQUEST),
            SIGNAL,
            False,
            STOPPED_BY_REQUEST,
        ),
        (running(stopping_at=T0, stop_reason=STOPPED_BY_REQUEST), CODE, False, STOPPED_BY_REQUEST),
        (running(stopping_at=T0, stop_reason=IDLE_TIMEOUT), OOM, True, "Out of memory"),
        (process(), CLEAN, True, "Exited with code 0"),
        (process(stopping_at=T0, stop_reason="Failed to bind"), SIGNAL, True, "Failed to bind"),
        (process(stopping_at=T0, stop_reason=STOPPED_BY_REQUEST), None, False, STOPPED_BY_REQUEST),
        (process(stopping_at=T0, stop_reason=APP_DELETED), SIGNAL, False, APP_DELETED),
    ],
)
def test_how_an_end_is_told(record: Process, exit_: Exit | None, failed: bool, reason: str) -> None:
    assert ended_as_failed(record, exit_) is failed
    assert exit_reason(record, exit_) == reason


def test_a_start_that_fails_half_way_every_time_is_given_up() -> None:
    tried = new_process(
        scheduled_at=NOON,
        attempted_at=NOON + timedelta(seconds=295),
    )
    late = NOON + timedelta(seconds=301)
    snapshot = Snapshot(
        False, (tried,), {"dep": DeploymentFacts("dep", 7777, True)}, Observation(late, {})
    )
    (given_up,) = decide(snapshot, late)
    assert isinstance(given_up, act.MarkStopping)
    assert given_up.reason.startswith("Image could not be started")
    # The engine is away: nothing is known, so it tries again once it is back.
    (again,) = decide(replace(snapshot, observation=None), late)
    assert isinstance(again, act.StartProcess)
    # Nobody tried for as long, as after a night without a control plane: a new try comes first.
    (fresh,) = decide(snapshot, late + timedelta(hours=8))
    assert isinstance(fresh, act.StartProcess)
