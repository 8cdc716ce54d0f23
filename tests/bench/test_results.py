"""Ratios, goals and the results file: the arithmetic behind `make bench`, without any measuring."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from bench.results import (
    Measurement,
    at_least,
    at_most,
    not_measured,
    print_table,
    ratio_of,
    write_results,
)
from bench.run import file_system_of, interleaved, median_ratio


@pytest.mark.parametrize(
    ("goal", "value", "baseline", "met"),
    [
        (at_most("ratio", 1.15), 115, 100, True),
        (at_most("ratio", 1.15), 116, 100, False),
        (at_least("ratio", 0.6), 59, 100, False),
        (at_most("added", 5), 7, 2, True),
        (at_most("added", 5), 7.1, 2, False),
        (at_least("value", 8000), 8000, None, True),
        (at_most("value", 15), 15.1, 3, False),
    ],
)
def test_a_goal_bounds_the_value_the_ratio_or_what_is_added(
    goal: object, value: float, baseline: float | None, met: bool
) -> None:
    measured = Measurement("m", "ms", value, baseline, goal)  # type: ignore[arg-type]
    assert measured.met is met


def test_the_ratio_of_pairs_is_the_one_that_is_judged() -> None:
    measured = Measurement("m", "1/s", 50, 100, at_least("ratio", 0.6), ratio=0.7)
    assert measured.met is True
    assert measured.as_json()["ratio"] == 0.7


def test_a_goal_needs_the_baseline_it_is_about() -> None:
    with pytest.raises(ValueError, match="baseline"):
        _ = Measurement("m", "ms", 1, None, at_most("ratio", 2)).met
    with pytest.raises(ValueError, match="positive"):
        ratio_of(1, 0)


def test_what_was_not_measured_says_why(tmp_path: Path) -> None:
    lines = [
        Measurement("rate", "1/s", 12345.678, 20000, at_least("value", 8000), detail="p50 1 ms"),
        not_measured("containers", "ms", at_most("ratio", 1.15), "needs root"),
    ]
    path = tmp_path / "new" / "results.json"
    write_results(path, lines)
    assert json.loads(path.read_text()) == [
        {
            "name": "rate",
            "value": 12350.0,
            "unit": "1/s",
            "baseline": 20000.0,
            "ratio": 0.6173,
            "goal": "value >= 8000 1/s",
            "met": True,
            "detail": "p50 1 ms",
        },
        {
            "name": "containers",
            "value": None,
            "unit": "ms",
            "baseline": None,
            "ratio": None,
            "goal": "ratio <= 1.15",
            "met": None,
            "reason": "needs root",
        },
    ]
    assert [p.name for p in path.parent.iterdir()] == ["results.json"]


def test_the_table_shows_every_line_and_what_stands_behind_it() -> None:
    out = io.StringIO()
    lines = [
        Measurement("a", "ms", 2.5, 1.0, at_most("ratio", 2), detail="p99 9 ms"),
        not_measured("b", "ms", None, "no engine"),
    ]
    print_table(lines, Console(file=out, width=120))
    text = out.getvalue()
    assert "2.5 ms" in text
    assert "2.50" in text
    assert "ratio <= 2" in text
    assert "NO" in text
    assert "a: p99 9 ms" in text
    assert "b: NOT MEASURED: no engine" in text


def test_measures_take_turns() -> None:
    turns: list[str] = []

    def take(name: str) -> int:
        turns.append(name)
        return len(turns)

    found = interleaved(3, [("a", lambda: take("a")), ("b", lambda: take("b"))])
    assert turns == ["a", "b", "b", "a", "a", "b"]
    assert found == {"a": [1, 4, 5], "b": [2, 3, 6]}


def test_a_median_ratio_is_of_pairs() -> None:
    # The machine was ten times slower in the second pair: the ratios do not see it.
    assert median_ratio([50, 5, 60], [100, 10, 100]) == 0.5
    with pytest.raises(ValueError, match="zip"):
        median_ratio([1, 2], [1])


def test_the_file_system_of_a_folder_is_known() -> None:
    mounts = "/dev/vda / ext4 rw 0 0\ntmpfs /tmp tmpfs rw 0 0\ntmpfs /tmp/deep/er ramfs rw 0 0\n"
    assert file_system_of(Path("/var/tmp/x"), mounts) == "ext4"
    assert file_system_of(Path("/tmp/x"), mounts) == "tmpfs"
    assert file_system_of(Path("/tmp/deep/er"), mounts) == "ramfs"
    assert file_system_of(Path("/tmpx"), mounts) == "ext4"
