"""What is broken on purpose in use cases, the performer and the store is noticed by some history, quickly."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from innkeeper.core.actions import Action, EndWaiting, MarkDraining, MarkStopping
from innkeeper.core.decide import decide
from innkeeper.core.errors import InnkeeperError
from innkeeper.core.processes import REPLACED
from innkeeper.core.snapshot import Snapshot
from innkeeper.interfaces import Tx
from innkeeper.reconciler import loop
from innkeeper.reconciler.perform import Performer
from innkeeper.reconciler.watch import Watch
from innkeeper.testing.simulated_store import TurnWriter
from innkeeper.testing.world import World
from innkeeper.usecases import (
    capacity,
    journal,
    lifecycle,
    metered_months,
    processes,
)

STEPS, SEEDS = 60, 60
Break = Callable[[pytest.MonkeyPatch], None]


def keeps_the_capacity(patch: pytest.MonkeyPatch) -> None:
    """What an ended process was promised is never free again."""
    patch.setattr(capacity, "give_back_capacity", lambda tx, cpu_millis, memory_mb: None)


def gives_ports_out_at_once(patch: pytest.MonkeyPatch) -> None:
    """Ports do not rest."""

    def at_once(tx: Tx, owner: str, context: Any) -> None:
        tx.run("capacity.give_back_ports", owner=owner, free_at=0)

    patch.setattr(capacity, "give_back_ports", at_once)


def bills_twice(patch: pytest.MonkeyPatch) -> None:
    """What has ended is put into its month again, each time the books are kept."""

    def fold(tx: Tx) -> bool:
        rows = tx.all("billing.unmetered_ended", share=100)
        for row in rows:
            metered_months.add_to_month(tx, row["org_id"], row["app_id"], 202601, vcpu_us=5)
        return False

    patch.setattr(metered_months, "fold_ended", fold)


def leaves_rooms_behind(patch: pytest.MonkeyPatch) -> None:
    """Rooms stay on a process that ends."""
    patch.setattr(processes, "end_rooms", lambda *_: None)


def tells_no_end(patch: pytest.MonkeyPatch) -> None:
    """The journal does not hear of one kind of event."""
    of_process = journal.of_process

    def told(tx: Tx, process_id: str, kind: Any, at_ms: int, cause: str | None) -> None:
        if kind != "process.terminated":
            of_process(tx, process_id, kind, at_ms, cause)

    patch.setattr(journal, "of_process", told)


def starts_without_a_record(patch: pytest.MonkeyPatch) -> None:
    """The intent to start is not written down before the act."""

    def attempt(tx: Tx, process_id: str, now: datetime) -> object:
        return tx.one("processes.spec", process_id=process_id)

    patch.setattr(lifecycle, "record_attempt", attempt)


def answers_before_the_commit(patch: pytest.MonkeyPatch) -> None:
    """Callers are told of what is not durable yet."""
    run = TurnWriter._run_batch

    def batch(self: TurnWriter, connection: Any, jobs: Any) -> Any:
        done = run(self, connection, jobs)
        weather = self._host.weather
        if weather.faults is weather.storm and weather.draw(0.05):
            return [(job.future, None, value) for job, value in _values(connection, jobs)], []
        return done

    def _values(connection: Any, jobs: Any) -> Any:
        connection.begin(())
        for job in jobs:
            try:
                yield job, job.fn(connection.tx)
            except InnkeeperError:
                yield job, None
        connection.rollback()

    patch.setattr(TurnWriter, "_run_batch", batch)


def takes_nothing_for_young(patch: pytest.MonkeyPatch) -> None:
    """The watch forgets what was started while a listing was on its way."""
    patch.setattr(Watch, "note_started", lambda self, process_id: None)


def removes_before_the_end(patch: pytest.MonkeyPatch) -> None:
    """A game that shall end is removed and not asked."""

    async def signal(self: Performer, process: Any, kill: bool) -> None:
        await self._around.runtime.remove(process.process_id)

    patch.setattr(Performer, "_signal", signal)


def lets_rooms_wait_for_ever(patch: pytest.MonkeyPatch) -> None:
    """Nobody heeds how long a room may wait for capacity."""

    def decide_less(snapshot: Snapshot, now: datetime) -> list[Action]:
        return [a for a in decide(snapshot, now) if not isinstance(a, EndWaiting)]

    patch.setattr(loop, "decide", decide_less)


def stops_the_ready(patch: pytest.MonkeyPatch) -> None:
    """A new deployment ends all of the old one at once, however few are ready then."""

    def decide_rashly(snapshot: Snapshot, now: datetime) -> list[Action]:
        found: list[Action] = []
        for action in decide(snapshot, now):
            if isinstance(action, MarkDraining) and action.reason == REPLACED:
                found.append(MarkStopping(action.process_id, REPLACED, 10.0))
            else:
                found.append(action)
        return found

    patch.setattr(loop, "decide", decide_rashly)


MUTANTS: list[Break] = [
    keeps_the_capacity,
    gives_ports_out_at_once,
    bills_twice,
    leaves_rooms_behind,
    tells_no_end,
    starts_without_a_record,
    answers_before_the_commit,
    takes_nothing_for_young,
    removes_before_the_end,
    lets_rooms_wait_for_ever,
    stops_the_ready,
]


@pytest.mark.parametrize("break_it", MUTANTS)
def test_mutants_are_caught(
    break_it: Break, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_it(monkeypatch)
    for seed in range(1, SEEDS + 1):
        try:
            World(seed, tmp_path).run(STEPS)
        except AssertionError:
            return
    pytest.fail(f"{SEEDS} histories did not notice: {break_it.__doc__}")
