"""From samples to points: rates over each step, peaks, and gaps that stay gaps."""

from hypothesis import given
from hypothesis import strategies as st

from innkeeper.core.usage import Sample, Window, series

MINUTE = 60_000


def sample(at: int, cpu: int | None = None, sent: int | None = None, **more: int | None) -> Sample:
    return Sample(at, cpu, more.get("memory"), sent, more.get("connections"))


WINDOW = Window(10 * MINUTE, 15 * MINUTE, MINUTE)


def test_cpu_is_a_share_of_what_was_requested() -> None:
    """Half a core requested: 15 s of CPU in a minute are a quarter of a core, half of the request."""
    samples = [sample(10 * MINUTE, cpu=1000), sample(11 * MINUTE, cpu=16_000)]
    assert series(samples, "cpu", WINDOW, 500, None) == [(11 * MINUTE, 50.0)]


def test_the_first_step_counts_from_the_boot() -> None:
    samples = [sample(10 * MINUTE + 30_000, sent=3000)]
    booted = 10 * MINUTE + 20_000
    assert series(samples, "rate_egress", WINDOW, 500, booted) == [(11 * MINUTE, 300.0)]
    assert series(samples, "rate_egress", WINDOW, 500, None) == []


def test_a_step_before_the_window_is_the_base_of_the_first_in_it() -> None:
    samples = [sample(8 * MINUTE, sent=0), sample(10 * MINUTE, sent=1200)]
    assert series(samples, "rate_egress", WINDOW, 500, None) == [(10 * MINUTE, 10.0)]


def test_a_gap_stays_a_gap_and_the_rate_after_it_spans_it() -> None:
    samples = [
        sample(11 * MINUTE, sent=0),
        sample(12 * MINUTE, sent=None),
        sample(13 * MINUTE, sent=12_000),
    ]
    assert series(samples, "rate_egress", WINDOW, 500, None) == [(13 * MINUTE, 100.0)]
    assert series(samples, "total_egress", WINDOW, 500, None) == [
        (11 * MINUTE, 0),
        (13 * MINUTE, 12_000),
    ]


def test_memory_and_connections_show_the_most_of_a_step() -> None:
    samples = [
        sample(11 * MINUTE - 20_000, memory=10, connections=1),
        sample(11 * MINUTE - 10_000, memory=30, connections=2),
        sample(11 * MINUTE, memory=20, connections=0),
    ]
    assert series(samples, "memory", WINDOW, 500, None) == [(11 * MINUTE, 30)]
    assert series(samples, "active_connections", WINDOW, 500, None) == [(11 * MINUTE, 2)]


def test_what_lies_after_the_last_whole_step_is_not_shown() -> None:
    window = Window(0, 150_000, MINUTE)
    samples = [sample(60_000, sent=60), sample(130_000, sent=130), sample(140_000, sent=140)]
    assert series(samples, "rate_egress", window, 500, 0) == [(60_000, 1.0)]
    assert series(samples, "total_egress", window, 500, 0) == [(60_000, 60)]


def test_nothing_measured_is_no_points() -> None:
    for name in ("cpu", "memory", "rate_egress", "total_egress", "active_connections"):
        assert series([], name, WINDOW, 500, None) == []
        assert series([sample(11 * MINUTE)], name, WINDOW, 500, 0) == []


@given(
    st.lists(st.tuples(st.integers(1, 40_000), st.integers(0, 10**9)), max_size=60),
    st.integers(1, 200_000),
    st.integers(0, 400_000),
    st.integers(0, 2_000_000),
)
def test_points_are_in_order_in_the_window_and_add_up(
    steps: list[tuple[int, int]], step: int, start: int, span: int
) -> None:
    samples, at, sent = [], 0, 0
    for later, more in steps:
        at, sent = at + later, sent + more
        samples.append(sample(at, cpu=sent, sent=sent))
    window = Window(start, start + span, step)
    points = series(samples, "rate_egress", window, 500, 0)
    moments = [moment for moment, _ in points]
    assert moments == sorted(set(moments))
    assert all(
        start <= moment <= start + span and (moment - start) % step == 0 for moment in moments
    )
    assert all(value >= 0 for _, value in points)
    totals = series(samples, "total_egress", window, 500, 0)
    assert [moment for moment, _ in totals] == moments
    assert [value for _, value in totals] == sorted(value for _, value in totals)
