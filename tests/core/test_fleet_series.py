"""Series of a fleet's minutes (behaviour.md 8.9)."""

from hypothesis import given
from hypothesis import strategies as st

from innkeeper.core.fleet_metrics import FleetSample, samples_from, series
from innkeeper.core.usage import Window

MINUTE = 60_000


def minutes(*utilized: int) -> list[FleetSample]:
    """Samples at 60 s, 120 s, ... of a machine with 4 cores."""
    return [FleetSample(n * MINUTE, 4000, 50, used) for n, used in enumerate(utilized, 1)]


def test_each_metric_shows_its_own_number() -> None:
    window = Window(MINUTE, MINUTE, MINUTE)
    samples = minutes(1500)
    shown = {
        "provisioned_total": 4.0,
        "provisioned_bare_metal": 4.0,
        "provisioned_cloud": 0.0,
        "utilized": 1.5,
        "system_overhead": 0.05,
    }
    for metric, value in shown.items():
        assert series(samples, metric, window) == [(MINUTE, value)]  # type: ignore[arg-type]


def test_a_step_shows_the_mean_of_its_minutes() -> None:
    window = Window(0, 4 * MINUTE, 2 * MINUTE)
    samples = minutes(1000, 2000, 500, 500)
    assert series(samples, "utilized", window) == [(2 * MINUTE, 1.5), (4 * MINUTE, 0.5)]


def test_a_minute_that_came_late_leaves_no_hole_and_an_hour_without_any_does() -> None:
    samples = [FleetSample(0, 4000, 0, 1000), FleetSample(61_000, 4000, 0, 2000)]
    window = Window(0, 10 * MINUTE, MINUTE)
    assert series(samples, "utilized", window) == [
        (0, 1.0),
        (MINUTE, 1.0),
        (2 * MINUTE, 2.0),
        (3 * MINUTE, 2.0),
    ]


def test_what_was_sampled_just_before_the_window_is_in_its_first_point() -> None:
    window = Window(90_000, 90_000, 1000)
    assert samples_from(window) <= 0
    assert series(minutes(750), "utilized", window) == [(90_000, 0.75)]
    assert series([], "utilized", window) == []


@given(
    st.lists(st.integers(0, 100), max_size=30),
    st.integers(1, 7),
    st.integers(0, 3000),
    st.integers(0, 3000),
)
def test_points_are_in_the_window_and_no_more_than_was_used(
    gaps: list[int], step_s: int, start_s: int, span_s: int
) -> None:
    samples, at = [], 0
    for gap in gaps:
        at += gap * 1000 + 1
        samples.append(FleetSample(at, 4000, 0, gap))
    window = Window(start_s * 1000, (start_s + span_s) * 1000, step_s * 1000)
    points = series(samples, "utilized", window)
    moments = [moment for moment, _ in points]
    assert moments == sorted(set(moments))
    assert all(window.start <= moment <= window.end for moment in moments)
    assert all(0 <= value <= max(gaps, default=0) / 1000 for _, value in points)
