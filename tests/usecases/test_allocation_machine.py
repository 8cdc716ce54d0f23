"""Static allocation in every order of things: bounds hold whatever comes between a decision and its record.

No room is cut, and the target is reached. Real store, use cases and ``decide``; the host is a dict.
"""

import asyncio
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from innkeeper.core import actions as act
from innkeeper.core.decide import decide
from innkeeper.core.errors import NoCapacity
from innkeeper.core.processes import IDLE_TIMEOUT, REPLACED, SCALED_DOWN, Exit, Process
from innkeeper.core.snapshot import Observation, ProcessSeen, Snapshot
from innkeeper.interfaces import Context, Tx
from innkeeper.testing.inline_store import InlineStore
from innkeeper.testing.studio import Studio
from innkeeper.usecases import allocations, apps, lifecycle, made_ahead, processes, rooms
from innkeeper.usecases.processes import process_from
from innkeeper.usecases.rooms import NewRoom

OURS = (REPLACED, SCALED_DOWN, IDLE_TIMEOUT)
EMPTY = "empty.db"
Bounds = tuple[int, int, int]
BOUNDS = st.tuples(*[st.integers(0, 4)] * 3).map(lambda numbers: tuple(sorted(numbers)))


@dataclass
class Game:
    """What the host carries."""

    bound: bool
    connections: int | None = 0
    exit: Exit | None = None


@dataclass
class Pending:
    """A decision that is not recorded yet, and the bounds of its moment."""

    action: act.Action
    bounds: Bounds


class Region(RuleBasedStateMachine):
    """One app in one region."""

    folder: Path  # with an empty store in it

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.directory = Path(tempfile.mkdtemp(dir=self.folder))
        path = self.directory / "region.db"
        shutil.copy(self.folder / EMPTY, path)
        self.store = InlineStore(path, lambda place: None)
        self.studio = Studio(self.store)
        self.games: dict[str, Game] = {}
        self.pending: list[Pending] = []
        self.open_rooms: list[str] = []
        self.bounds: Bounds = (0, 0, 0)
        self.live_before = 0

    def run(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    @property
    def key(self) -> tuple[str, str]:
        return self.studio.app_id, "Tokyo"

    def tx(self, fn: Callable[[Tx, Context], Any]) -> Any:
        context = self.studio.context()
        return self.run(self.store.write(lambda tx: fn(tx, context)))

    def live(self) -> list[Process]:
        def read(tx: Tx) -> list[Process]:
            found = [process_from(row) for row in tx.all("invariants.processes")]
            return [p for p in found if p.stopping_at is None and p.terminated_at is None]

        found: list[Process] = self.run(self.store.read(read))
        return found

    def ready(self) -> int:
        return sum(p.started_at is not None for p in self.live())

    # ------------------------------------------------------------ what happens

    @initialize(bounds=BOUNDS, per=st.sampled_from([1, 2]), idle=st.booleans())
    def begins(self, bounds: Bounds, per: int, idle: bool) -> None:
        self.run(self.studio.open())
        self.deploys(per, idle)
        self.wants(bounds)

    @rule(per=st.sampled_from([1, 2]), idle=st.booleans())
    def deploys(self, per: int, idle: bool) -> None:
        self.run(
            self.studio.deploy(rooms_per_process=per, memory_mb=512, idle_timeout_enabled=idle)
        )

    @rule(bounds=BOUNDS)
    def wants(self, bounds: Bounds) -> None:
        least, target, most = bounds
        entry = {
            "region": "Tokyo",
            "minProcesses": least,
            "targetProcesses": target,
            "maxProcesses": most,
        }
        config = {"staticProcessAllocation": [entry]}
        self.run(
            self.studio.ask(
                apps.patch_app, apps.AppPatch(self.studio.app_id, service_config=config)
            )
        )
        self.bounds = bounds

    @rule(seconds=st.sampled_from([0.5, 3, 61, 301]))
    def time_passes(self, seconds: float) -> None:
        self.studio.clock.move(seconds)

    @rule()
    def a_room_comes(self) -> None:
        before = self.live()
        try:
            placed = self.run(self.studio.ask(rooms.create_room, NewRoom(*self.key)))
        except NoCapacity:
            assert len(before) >= self.bounds[2], "refused, and there was room"
            return
        self.open_rooms.append(placed.room_id)

    @rule()
    def somebody_wants_one(self) -> None:
        try:
            self.run(self.studio.ask(processes.create_process, self.key))
        except NoCapacity:
            assert len(self.live()) >= self.bounds[2], "refused, and there was room"

    @precondition(lambda self: self.open_rooms)
    @rule(data=st.data())
    def a_room_ends(self, data: st.DataObject) -> None:
        room_id = data.draw(st.sampled_from(self.open_rooms))
        self.open_rooms.remove(room_id)
        if self.room(room_id).status == "active":
            self.run(self.studio.ask(rooms.destroy_room, (self.studio.app_id, room_id)))

    @precondition(lambda self: self.games)
    @rule(data=st.data(), what=st.sampled_from(["crash", "binds", 0, 1, None]))
    def the_host_changes(self, data: st.DataObject, what: Any) -> None:
        game = self.games[data.draw(st.sampled_from(sorted(self.games)))]
        if what == "crash":
            game.exit = game.exit or Exit(3, None, False, self.studio.clock())
        elif what == "binds":
            game.bound = True
        else:
            game.connections = what

    @rule()
    def a_pass(self) -> None:
        now = self.studio.clock()
        loaded = self.run(self.store.read(lambda tx: lifecycle.load(tx, self.key, now)))
        by_id = {p.process_id: p for p in loaded.processes}
        seen = {
            process_id: ProcessSeen(
                process_id,
                "exited" if game.exit else "running",
                booted_at=by_id[process_id].booted_at,
                bound_at=now if game.bound else None,
                exit=game.exit,
                connections=game.connections,
            )
            for process_id, game in self.games.items()
            if process_id in by_id
        }
        snapshot = Snapshot(
            loaded.app_deleted,
            loaded.processes,
            loaded.deployments,
            Observation(now, seen),
            wanted=loaded.wanted,
        )
        self.pending += [Pending(action, self.bounds) for action in decide(snapshot, now)]

    @precondition(lambda self: self.pending)
    @rule(data=st.data(), binds=st.booleans())
    def one_is_recorded(self, data: st.DataObject, binds: bool) -> None:
        at = data.draw(st.integers(0, len(self.pending) - 1))
        self.perform(self.pending.pop(at), binds)

    @precondition(lambda self: self.pending)
    @rule()
    def all_are_recorded(self) -> None:
        pending, self.pending = self.pending, []
        for one in pending:
            self.perform(one, binds=True)

    # ------------------------------------------------------------ what a performer does

    def perform(self, pending: Pending, binds: bool) -> None:
        match pending.action:
            case act.MarkStopping() as stop:
                self.stops(stop, pending.bounds)
            case act.CreateProcess() as create:
                self.creates(create)
            case act.HoldProcesses() | act.PlaceRoom() | act.EndWaiting() | act.SetTarget():
                raise AssertionError(f"nothing asks for this: {pending.action}")
            case action:
                self.of_process(action, binds)

    def of_process(self, action: act.ProcessAction, binds: bool) -> None:
        process_id = action.process_id
        match action:
            case act.StartProcess():
                if self.tx(lambda tx, c: lifecycle.record_attempt(tx, process_id, c.now)):
                    self.games.setdefault(process_id, Game(binds))
                    self.tx(lambda tx, c: lifecycle.record_booted(tx, process_id, c.now))
            case act.MarkBooted(at=at):
                self.tx(lambda tx, c: lifecycle.record_booted(tx, process_id, at))
            case act.MarkStarted(at=at):
                deployment_id = self.tx(lambda tx, c: processes.find(tx, process_id)).deployment_id
                self.tx(lambda tx, c: lifecycle.record_started(tx, process_id, deployment_id, at))
            case act.MarkDraining(reason=reason):
                self.tx(lambda tx, c: lifecycle.record_draining(tx, process_id, reason, c))
            case act.MarkIdle(since=since):
                self.tx(lambda tx, c: lifecycle.record_idle(tx, process_id, since))
            case act.SignalProcess() | act.KillProcess():
                kill = isinstance(action, act.KillProcess)
                if process_id in self.games:
                    game = self.games[process_id]
                    game.exit = game.exit or Exit(0, None, False, self.studio.clock())
                self.tx(lambda tx, c: lifecycle.record_signal(tx, process_id, kill, c.now))
            case act.MarkTerminated(exit=exit_):
                self.tx(lambda tx, c: lifecycle.record_terminated(tx, process_id, exit_, c))
            case act.RemoveRemains():
                self.games.pop(process_id, None)
                self.tx(lambda tx, c: lifecycle.record_removed(tx, process_id, c))

    def creates(self, create: act.CreateProcess) -> None:
        deployment_id, made_for = create.deployment_id, create.made_for
        there = [p for p in self.live() if p.deployment_id == deployment_id and not p.draining]
        try:
            made = self.tx(
                lambda tx, c: made_ahead.create(tx, self.key, deployment_id, made_for, c)
            )
        except NoCapacity as full:
            why = full.message
            self.tx(lambda tx, c: allocations.hold(tx, self.key, deployment_id, why, c))
        else:
            assert not made or len(there) < self.bounds[1], f"one too many: {self.bounds}"

    def stops(self, stop: act.MarkStopping, bounds: Bounds) -> None:
        process = self.tx(lambda tx, c: processes.find(tx, stop.process_id))
        recorded = self.tx(lambda tx, c: lifecycle.record_stopping(tx, stop, c))
        if (
            not recorded
            or process.stopping_at
            or process.started_at is None
            or bounds != self.bounds
        ):
            return
        least, _, most = bounds
        if stop.reason in OURS and not process.draining:
            # Only where max is min one at a time is missing, and only for a newer deployment.
            floor = min(least, most - 1) if stop.reason == REPLACED else least
            assert self.ready() >= floor, f"too few are ready: {stop}, {bounds}"

    # ------------------------------------------------------------ what must hold

    def room(self, room_id: str) -> Any:
        return self.run(self.studio.ask(rooms.get_room, (self.studio.app_id, room_id)))

    @invariant()
    def no_more_than_max(self) -> None:
        if self.studio.app is None:
            return
        live = len(self.live())
        # Where max was lowered, or was too low from the beginning, none is added.
        assert live <= max(self.bounds[2], self.live_before), f"{live} live, of {self.bounds}"
        self.live_before = live

    @invariant()
    def nobody_is_cut(self) -> None:
        for room_id in self.open_rooms:
            reason = self.room(room_id).end_reason
            assert reason not in OURS, f"{room_id} was cut: {reason}"

    def teardown(self) -> None:
        try:
            if self.studio.app is not None:
                self.comes_to_rest()
        finally:
            self.run(self.store.close())
            self.loop.close()
            shutil.rmtree(self.directory)

    def comes_to_rest(self) -> None:
        for room_id in list(self.open_rooms):
            if self.room(room_id).status == "active":
                self.run(self.studio.ask(rooms.destroy_room, (self.studio.app_id, room_id)))
        self.open_rooms.clear()
        for _ in range(90):
            self.studio.clock.move(10)
            for game in self.games.values():
                game.bound, game.connections = True, 0
            self.a_pass()
            self.all_are_recorded() if self.pending else None
            self.no_more_than_max()
        _, target, _ = self.bounds
        app = self.run(self.studio.ask(apps.get_app, self.studio.app_id))
        left = [(p.deployment_id, p.status) for p in self.live()]
        assert left == [(app.latest_deployment_id, "running")] * target, f"{left} of {self.bounds}"


# An example takes a good part of a second: what fails is told as it was found.
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)


@pytest.mark.hypothesis
def test_bounds_hold_in_every_order_and_the_target_is_reached(tmp_path: Path) -> None:
    store = InlineStore(tmp_path / EMPTY, lambda place: None)
    asyncio.run(store.close())
    Region.folder = tmp_path
    lengths = settings(max_examples=20, stateful_step_count=40, deadline=None, phases=PHASES)
    run_state_machine_as_test(Region, settings=lengths)
