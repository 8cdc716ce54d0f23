"""The harness around the groups: what fails is said and the rest goes on; loads and stores are read right."""

import json
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from bench import __main__ as harness
from bench import growth, http_load
from bench.allocation import CONTROL_PLANE
from bench.http_load import ask_for_rooms
from bench.results import Measurement
from bench.run import Run, program


def half(run: Run) -> Iterator[Measurement]:
    """A group that fails in its middle."""
    run.say("half")
    (run.place("half") / "file").write_text("x")
    yield Measurement("first", "ms", 1.0)
    raise RuntimeError("no more")


def whole(run: Run) -> Iterator[Measurement]:
    """A group that does not."""
    yield Measurement("second", "ms", 2.0)


def test_a_group_that_fails_is_a_line_and_the_next_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(harness, "GROUPS", {"half": half, "whole": whole})
    folder = tmp_path / "work"
    folder.mkdir()
    out = tmp_path / "results.json"
    assert harness.main(["--dir", str(folder), "--out", str(out)]) == 1
    lines = [
        (line["name"], line["value"], line.get("reason")) for line in json.loads(out.read_text())
    ]
    assert lines == [
        ("first", 1.0, None),
        ("half", None, "RuntimeError: no more"),
        ("second", 2.0, None),
    ]
    assert list(folder.iterdir()) == [], "nothing is left behind"
    assert "RuntimeError: no more" in capsys.readouterr().out


def test_one_group_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harness, "GROUPS", {"half": half, "whole": whole})
    out = tmp_path / "results.json"
    assert harness.main(["--only", "whole", "--dir", str(tmp_path), "--out", str(out)]) == 0
    assert [line["name"] for line in json.loads(out.read_text())] == ["second"]


@pytest.mark.parametrize("fault", [{"refused": 1}, {"broken": 2}, {"requests": 0}])
def test_a_load_that_met_a_refusal_is_no_measurement(fault: dict[str, int]) -> None:
    seen = {
        "requests": 10,
        "duration_us": 1000,
        "p50_us": 1,
        "p99_us": 2,
        "refused": 0,
        "broken": 0,
    }
    good = subprocess.CompletedProcess([], 0, f"RESULT {json.dumps(seen)}\n", "")
    assert http_load._parsed(good, 0.0).rate == 10_000
    bad = subprocess.CompletedProcess([], 0, f"RESULT {json.dumps(seen | fault)}\n", "")
    with pytest.raises(RuntimeError, match="not every call"):
        http_load._parsed(bad, 0.0)


@pytest.mark.parametrize("wrk", [True, False])
def test_answered_rooms_are_in_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrk: bool
) -> None:
    if wrk and not http_load.have_wrk():
        pytest.skip("wrk is not installed")
    monkeypatch.setattr(http_load, "have_wrk", lambda: wrk)
    with program(CONTROL_PLANE, [str(tmp_path), "--processes", "2"]) as server:
        url = server.told["url"] + server.told["path"]
        load = ask_for_rooms(url, server.told["token"], 3, 1)
        assert server.cpu_s() > 0
        assert 20 < server.memory_mb()[0] <= server.memory_mb()[1]
    with closing(sqlite3.connect(tmp_path / "innkeeper.db")) as store:
        (kept,) = store.execute("SELECT count(*) FROM rooms").fetchone()
    assert 0 < load.requests <= kept
    assert 0 < load.p50_ms <= load.p99_ms


def test_copies_are_processes_like_any_other(tmp_path: Path) -> None:
    with program(CONTROL_PLANE, [str(tmp_path), "--processes", "2"]):
        pass
    growth.add_copies(tmp_path / "innkeeper.db", 50, growth._ENDED)
    with closing(sqlite3.connect(tmp_path / "innkeeper.db")) as store:
        live = "SELECT count(*) FROM processes WHERE terminated_at IS NULL AND removed = 0"
        assert store.execute(live).fetchone() == (2,)
        assert store.execute("SELECT count(*) FROM processes").fetchone() == (52,)
        assert store.execute("SELECT count(*) FROM rooms").fetchone() == (50,)
    with program(CONTROL_PLANE, [str(tmp_path), "--resume"]) as server:
        url = server.told["url"] + server.told["path"]
        assert ask_for_rooms(url, server.told["token"], 1, 1).requests > 0
