"""The autoscaler by example: up at once, down after five minutes, never down on what is not known."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from innkeeper.core import actions as act
from innkeeper.core.autoscaling import desired_processes
from innkeeper.core.decide import decide
from innkeeper.core.snapshot import Load, Snapshot, StaticAllocation, Wanted
from innkeeper.testing.records import NOON as NOW


def region(target: int, least: int = 1, most: int = 9, per: float = 4.0) -> StaticAllocation:
    return StaticAllocation(least, target, most, per)


def every_10_s(*values: int | None, until: datetime = NOW) -> list[Load]:
    """One value each ten seconds, the last of them now."""
    moments = (until - timedelta(seconds=10 * back) for back in range(len(values) - 1, -1, -1))
    return [Load(at, value) for at, value in zip(moments, values, strict=True)]


def wants(static: StaticAllocation, loads: Sequence[Load], now: datetime = NOW) -> int:
    return desired_processes(static, loads, now)[0]


def test_up_at_once_and_by_the_average_of_a_minute() -> None:
    assert wants(region(1), every_10_s(5)) == 2
    assert wants(region(1), every_10_s(4, 4, 4, 4, 4, 4)) == 1
    # One busy moment in a minute is a sixth of it.
    assert wants(region(1), every_10_s(0, 0, 0, 0, 0, 24)) == 1
    assert wants(region(1), every_10_s(0, 0, 0, 0, 0, 25)) == 2
    assert wants(region(1), every_10_s(*[99] * 50, *[4] * 6)) == 1


def test_within_min_and_max() -> None:
    assert wants(region(2, 2, 5), every_10_s(1000)) == 5
    assert wants(region(3, 2, 5), every_10_s(*[0] * 45)) == 2
    assert wants(region(0, 0, 5), every_10_s(1)) == 1


def test_down_only_after_five_minutes_and_to_what_the_busiest_needed() -> None:
    quiet = [8] * 35  # five minutes, at each of which the minute before is looked at
    assert wants(region(5), every_10_s(*[20] * 10, *quiet[:29])) == 5
    assert wants(region(5), every_10_s(*[20] * 10, *quiet)) == 2
    spike = [8] * 20 + [12] * 6 + [8] * 10
    assert wants(region(5), every_10_s(*[8] * 20, *spike)) == 3


def test_down_only_where_all_of_that_time_is_known() -> None:
    assert wants(region(5), every_10_s(*[8] * 20)) == 5, "too short a time"
    assert wants(region(5), every_10_s(*[8] * 30, None, *[8] * 10)) == 5, "one was not measured"
    gap = [*every_10_s(*[8] * 20, until=NOW - timedelta(seconds=180)), *every_10_s(*[8] * 8)]
    assert wants(region(5), gap) == 5, "nobody measured for a while"
    old = every_10_s(*[8] * 45, until=NOW - timedelta(seconds=91))
    assert wants(region(5), old) == 5, "nobody measures any more"
    assert wants(region(5), []) == 5


def test_what_is_not_known_raises_nothing_either() -> None:
    assert wants(region(2), every_10_s(99, 99, None)) == 2
    assert wants(region(2), every_10_s(99, 99, until=NOW - timedelta(seconds=91))) == 2


@given(st.integers(1, 1000), st.sampled_from([0.1, 0.2, 0.3, 0.7, 1.1, 2.5]))
def test_whole_quotients_are_not_rounded_up(count: int, per: float) -> None:
    load = [Load(NOW, count * round(per * 10))]
    assert wants(region(0, 0, 10**6, per * 10), load) == count


LOADS = st.lists(
    st.tuples(st.integers(0, 450), st.none() | st.integers(0, 100)),
    max_size=60,
    unique_by=lambda p: p[0],
)


@given(LOADS, st.integers(1, 9))
def test_bounds_hold_and_falling_needs_a_known_quiet_time(
    pairs: list[tuple[int, int | None]], target: int
) -> None:
    loads = [Load(NOW - timedelta(seconds=s), v) for s, v in sorted(pairs, reverse=True)]
    wanted = wants(region(target), loads)
    assert 1 <= wanted <= 9
    if wanted < target:
        lately = [load for load in loads if NOW - load.at < timedelta(minutes=5)]
        assert all(load.requests is not None for load in lately)
        assert loads[0].at <= NOW - timedelta(seconds=300)
        assert wanted >= max(load.requests or 0 for load in lately) / 4 / len(loads) - 1


@pytest.mark.parametrize("deleted", [False, True])
def test_decide_sets_the_target_and_the_next_pass_acts_on_it(deleted: bool) -> None:
    wanted = Wanted("new", static=region(1, 0), loads=tuple(every_10_s(9)))
    found = decide(Snapshot(deleted, (), {}, None, wanted=wanted), NOW)
    if deleted:
        assert found == []
        return
    why = "9 concurrent requests on average, 4 for each process: 3"
    assert found == [act.SetTarget(3, why), act.CreateProcess("new", "allocation", 0)]
