"""Seeded histories hold, replay exactly, and catch what is broken on purpose."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from innkeeper.core.actions import Action, MarkIdle, MarkTerminated, RemoveRemains, SignalProcess
from innkeeper.core.decide import decide
from innkeeper.core.snapshot import Snapshot
from innkeeper.reconciler import loop
from innkeeper.testing.world import World

Decide = Callable[[Snapshot, datetime], list[Action]]
STEPS = 60
ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("first", range(1, 201, 20))
def test_histories_hold(first: int, tmp_path: Path) -> None:
    for seed in range(first, first + 20):
        World(seed, tmp_path).run(STEPS)


def simulate(*arguments: str, hash_seed: int = 0) -> "subprocess.CompletedProcess[str]":
    """In an interpreter of its own."""
    return subprocess.run(
        [sys.executable, "-m", "innkeeper.testing.simulate", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": str(hash_seed)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_seed_replays_byte_for_byte_in_a_fresh_interpreter() -> None:
    """Whatever the order of its sets: the story is the seed's alone."""
    told = [simulate("--story", "--first", "16", hash_seed=number) for number in (1, 2)]
    assert [each.returncode for each in told] == [0, 0]
    assert told[0].stdout == told[1].stdout
    assert len(told[0].stdout.splitlines()) > STEPS


def forgets_the_lost(snapshot: Snapshot, now: datetime) -> list[Action]:
    """A record without a container is left alone."""
    return [
        action
        for action in decide(snapshot, now)
        if not (isinstance(action, MarkTerminated) and action.exit is None)
    ]


def takes_any_listing(snapshot: Snapshot, now: datetime) -> list[Action]:
    """A listing that began before the start proves, to this one, that the process is lost."""
    if snapshot.observation is None:
        return decide(snapshot, now)
    return decide(replace(snapshot, observation=replace(snapshot.observation, young=())), now)


def leaves_remains(snapshot: Snapshot, now: datetime) -> list[Action]:
    """What ended is never removed."""
    return [a for a in decide(snapshot, now) if not isinstance(a, RemoveRemains)]


def never_signals(snapshot: Snapshot, now: datetime) -> list[Action]:
    """What shall stop is never told."""
    return [a for a in decide(snapshot, now) if not isinstance(a, SignalProcess)]


def signals_everybody(snapshot: Snapshot, now: datetime) -> list[Action]:
    """An idle game is told to end before anybody wrote down that it shall."""
    return [
        SignalProcess(a.process_id) if isinstance(a, MarkIdle) else a for a in decide(snapshot, now)
    ]


@pytest.mark.parametrize(
    "mutant",
    [forgets_the_lost, takes_any_listing, leaves_remains, never_signals, signals_everybody],
)
def test_mutants_of_decide_are_caught(
    mutant: Decide, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "decide", mutant)
    assert caught_by(tmp_path), f"no history noticed: {mutant.__doc__}"


def caught_by(directory: Path, seeds: int = 60) -> int | None:
    """The first seed whose history breaks an invariant."""
    for seed in range(1, seeds + 1):
        try:
            World(seed, directory).run(STEPS)
        except AssertionError:
            return seed
    return None
