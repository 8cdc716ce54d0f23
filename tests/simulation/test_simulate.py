"""The command: progress, a failing seed's story and how to replay it, and an exit status that says so."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from innkeeper.testing import simulate
from innkeeper.testing.invariants import Facts
from innkeeper.testing.world import World

ROOT = Path(__file__).resolve().parents[2]


def test_seeds_that_hold_end_with_one_line() -> None:
    done = CliRunner().invoke(simulate.main, ["--seeds", "3", "--steps", "5"])
    assert done.exit_code == 0, done.output
    assert done.output.startswith("3 seeds held")


def test_a_failing_seed_tells_its_story_and_how_to_replay_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    check = World.check

    def broken(self: World) -> Facts:
        assert self.seed != 12, "a room was lost"
        return check(self)

    monkeypatch.setattr(World, "check", broken)
    outcome = simulate.run_share(11, 5, 3)
    assert (outcome.seeds, outcome.failed_seed) == (2, 12)
    assert "a room was lost" in outcome.failure
    assert "program 1 reconciles" in outcome.failure
    monkeypatch.setattr(simulate, "run_all", lambda *_: iter([outcome]))
    done = CliRunner().invoke(simulate.main, ["--first", "11", "--seeds", "5", "--steps", "3"])
    assert done.exit_code == 1
    assert "a room was lost" in done.output
    assert "simulate --first 12 --seeds 1 --steps 3" in done.output


def test_make_passes_its_numbers_on_and_the_exit_status_back() -> None:
    recipe = (ROOT / "Makefile").read_text().partition("\nsimulate:")[2].split("\n\n")[0]
    assert "innkeeper.testing.simulate --seeds $(or $(SEEDS),200)" in recipe
    assert "|| true" not in recipe
    assert "\t-" not in recipe
