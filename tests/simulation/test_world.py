"""Seeded histories hold, replay exactly, and catch what is broken on purpose."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from innkeeper.core.actions import Action, MarkTerminated, RemoveRemains, SignalProcess
from innkeeper.core.decide import decide
from innkeeper.core.snapshot import Snapshot
from innkeeper.reconciler import loop
from innkeeper.testing.world import World

Decide = Callable[[Snapshot, datetime], list[Action]]
STEPS = 60


@pytest.mark.parametrize("first", range(1, 241, 40))
async def test_histories_hold(first: int, tmp_path: Path) -> None:
    for seed in range(first, first + 40):
        await World(seed, tmp_path).run(STEPS)


async def test_a_seed_replays_exactly(tmp_path: Path) -> None:
    stories = []
    for name in ("once", "again"):
        (tmp_path / name).mkdir()
        world = World(7, tmp_path / name)
        await world.run(STEPS)
        stories.append(world.story.lines)
    assert stories[0] == stories[1]
    assert len(stories[0]) > STEPS / 2


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
    late = replace(snapshot.observation, taken_at=datetime.max.replace(tzinfo=now.tzinfo))
    return decide(replace(snapshot, observation=late), now)


def leaves_remains(snapshot: Snapshot, now: datetime) -> list[Action]:
    """What ended is never removed."""
    return [a for a in decide(snapshot, now) if not isinstance(a, RemoveRemains)]


def never_signals(snapshot: Snapshot, now: datetime) -> list[Action]:
    """What shall stop is never told."""
    return [a for a in decide(snapshot, now) if not isinstance(a, SignalProcess)]


@pytest.mark.parametrize(
    "mutant", [forgets_the_lost, takes_any_listing, leaves_remains, never_signals]
)
async def test_mutants_are_caught(
    mutant: Decide, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "decide", mutant)
    for seed in range(1, 61):
        try:
            await World(seed, tmp_path).run(STEPS)
        except AssertionError:
            return
    pytest.fail(f"60 histories did not notice: {mutant.__doc__}")
