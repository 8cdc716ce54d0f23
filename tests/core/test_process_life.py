"""The life of processes under ``decide``: a state machine with a runtime that hangs, fails, exits,
loses things and goes away, and a control plane that is killed between an act and its record."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from innkeeper.core import actions as act
from innkeeper.core.decide import decide
from innkeeper.core.processes import Exit, Process, ended_as_failed, exit_reason
from innkeeper.core.snapshot import DeploymentFacts, Limits, Observation, ProcessSeen, Snapshot
from innkeeper.testing.records import NOON, new_process

LIMITS = Limits()
ASKED = "Stopped by API request"
MOMENTS = ("created_at", "booted_at", "started_at", "stopping_at", "terminated_at")
# Each may be decided once in a process's life, as long as every record was kept.
ONCE = (
    act.MarkBooted, act.MarkStarted, act.MarkStopping, act.SignalProcess, act.MarkTerminated,
    act.RemoveRemains,
)  # fmt: skip


@dataclass
class Fate:
    """How the runtime will treat one process."""

    hangs: int  # hand-overs that leave nothing at all
    stuck_made: int  # hand-overs after that which leave it made, but not started
    start_fails: bool
    binds_after_s: float | None
    exits_after_s: float | None
    exit_code: int | None
    out_of_memory: bool
    dies_of_term: bool


FATES = st.builds(
    Fate,
    hangs=st.sampled_from([0, 0, 0, 1, 3]),
    stuck_made=st.sampled_from([0, 0, 0, 1, 99]),
    start_fails=st.sampled_from([False, False, False, True]),
    binds_after_s=st.sampled_from([0.0, 0.3, 99.0, 101.0, None]),
    exits_after_s=st.sampled_from([None, None, 0.2, 50.0, 400.0]),
    exit_code=st.sampled_from([0, 1, 3, None]),
    out_of_memory=st.booleans(),
    dies_of_term=st.booleans(),
)


@dataclass
class Carried:
    """What the runtime carries of one process."""

    fate: Fate
    booted_at: datetime | None = None
    exit: Exit | None = None

    def end(self, code: int | None, signal: int | None, at: datetime, oom: bool = False) -> None:
        if self.booted_at is not None and self.exit is None:
            self.exit = Exit(code, signal, oom, at)

    def bound_at(self, now: datetime) -> datetime | None:
        after_s = self.fate.binds_after_s
        if self.booted_at is None or after_s is None or self.exit is not None:
            return None
        bound = self.booted_at + timedelta(seconds=after_s)
        return bound if bound <= now else None


@dataclass
class World:
    """The records, the runtime and the clock."""

    now: datetime = NOON
    records: dict[str, Process] = field(default_factory=dict)
    fates: dict[str, Fate] = field(default_factory=dict)
    carried: dict[str, Carried] = field(default_factory=dict)
    connections: dict[str, int | None] = field(default_factory=dict)
    decided: dict[str, list[act.ProcessAction]] = field(default_factory=dict)
    lost_records: set[str] = field(default_factory=set)
    engine_up: bool = True
    app_deleted: bool = False
    idle_timeout: bool = True
    failures: int = 0
    last_failure_at: datetime | None = None

    def record(self, process_id: str, **changes: object) -> None:
        """Write. A moment that is set must never change, and they must stand in their order."""
        old = self.records[process_id]
        new = replace(old, **changes)  # type: ignore[arg-type]
        for name in MOMENTS:
            was = getattr(old, name)
            assert was is None or getattr(new, name) == was, f"{name} of {process_id} was set twice"
        present = [getattr(new, name) for name in MOMENTS if getattr(new, name) is not None]
        assert present == sorted(present), (process_id, dict(zip(MOMENTS, present, strict=False)))
        self.records[process_id] = new

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)
        for carried in self.carried.values():
            after_s = carried.fate.exits_after_s
            if carried.booted_at is not None and after_s is not None:
                due = carried.booted_at + timedelta(seconds=after_s)
                if due <= self.now:
                    code = carried.fate.exit_code
                    signal = 11 if code is None else None
                    carried.end(code, signal, due, carried.fate.out_of_memory)

    def observe(self) -> Observation | None:
        if not self.engine_up:
            return None
        return Observation(self.now, {p: self._seen(p, c) for p, c in self.carried.items()})

    def _seen(self, process_id: str, carried: Carried) -> ProcessSeen:
        if carried.exit is not None:
            return ProcessSeen(process_id, "exited", carried.booted_at, None, carried.exit)
        if carried.booted_at is None:
            return ProcessSeen(process_id, "created")
        players = self.connections.get(process_id, 0)
        bound = carried.bound_at(self.now)
        return ProcessSeen(process_id, "running", carried.booted_at, bound, None, players)

    def snapshot(self, observation: Observation | None) -> Snapshot:
        facts = DeploymentFacts("dep", 7777, self.idle_timeout, self.failures, self.last_failure_at)
        unfinished = tuple(p for p in self.records.values() if not p.removed)
        if observation is not None:
            when = {p: c.booted_at for p, c in self.carried.items() if c.booted_at is not None}
            young = [p for p, booted_at in when.items() if booted_at >= observation.taken_at]
            observation = replace(observation, young=young)
        return Snapshot(self.app_deleted, unfinished, {"dep": facts}, observation, LIMITS)

    def one_pass(
        self, keeps: Callable[[], bool] = lambda: True, older: Observation | None = None
    ) -> list[act.ProcessAction]:
        """Observe, decide, perform, record. Where ``keeps`` says no, an act's record is lost."""
        observation = older if older is not None and self.engine_up else self.observe()
        snapshot = self.snapshot(observation)
        decided = [a for a in decide(snapshot, self.now) if not isinstance(a, act.RegionAction)]
        assert len({a.process_id for a in decided}) == len(decided), "two actions for one process"
        for action in decided:
            self._check(action, snapshot)
            self.decided.setdefault(action.process_id, []).append(action)
            kept = keeps()
            if not (kept and self.engine_up):
                self.lost_records.add(action.process_id)
            PERFORM[type(action)](self, action, kept)
        return decided

    def _check(self, action: act.ProcessAction, snapshot: Snapshot) -> None:
        record = self.records[action.process_id]
        if isinstance(action, act.StartProcess):
            assert record.status == "starting", "started after its end"
            assert record.booted_at is None, "started twice"
        if isinstance(action, act.KillProcess) and record.kill_sent_at is not None:
            assert self.now - record.kill_sent_at >= timedelta(seconds=1), "killed in a tight loop"
        carried, observation = self.carried.get(action.process_id), snapshot.observation
        if isinstance(action, act.MarkStarted):
            assert carried is None or action.at == carried.bound_at(self.now), "not when it bound"
        if isinstance(action, act.MarkStopping) and "bind" in action.reason:
            assert observation is not None, "unbound while unseen"
            assert carried is None or carried.bound_at(observation.taken_at) is None, "it was bound"
            age = observation.taken_at - (record.booted_at or NOON)
            assert age >= timedelta(seconds=100), "unbound too early"
        if isinstance(action, act.MarkTerminated) and action.exit is None and record.attempted_at:
            assert observation is not None, "lost while unseen"
            assert carried is None or carried.booted_at is None, "lost, and yet it runs"
        if isinstance(action, ONCE) and action.process_id not in self.lost_records:
            before = [type(a) for a in self.decided.get(action.process_id, [])]
            assert type(action) not in before, f"decided twice: {action}"


def _start(world: World, action: act.StartProcess, kept: bool) -> None:
    # The intent is recorded before the act, so a lost record loses what came of it, not the intent.
    world.record(action.process_id, attempted_at=world.now)
    if not world.engine_up:
        return
    fate = world.fates[action.process_id]
    if fate.hangs > 0:
        fate.hangs -= 1
        return
    if fate.start_fails:
        if kept:
            world.record(action.process_id, stop_reason="Image could not be started: no such file")
            _terminate(world, act.MarkTerminated(action.process_id, None), kept)
        return
    carried = world.carried.setdefault(action.process_id, Carried(fate))
    if fate.stuck_made > 0:
        fate.stuck_made -= 1
        return
    if carried.booted_at is None:
        carried.booted_at = world.now
    if kept and fate.dies_of_term:
        # Half of the starts are recorded at once, the others are seen by the next pass.
        world.record(action.process_id, booted_at=carried.booted_at)


def _booted(world: World, action: act.MarkBooted, kept: bool) -> None:
    if kept:
        world.record(action.process_id, booted_at=action.at)


def _started(world: World, action: act.MarkStarted, kept: bool) -> None:
    if kept:
        world.record(action.process_id, started_at=action.at)
        world.failures = 0


def _mark_stopping(world: World, action: act.MarkStopping, kept: bool) -> None:
    if kept:
        world.record(
            action.process_id, stopping_at=world.now, stop_reason=action.reason,
            stop_grace_s=action.grace_s, rooms_allocated=0,
        )  # fmt: skip


def _mark_idle(world: World, action: act.MarkIdle, kept: bool) -> None:
    if kept:
        world.record(action.process_id, idle_since=action.since)


def _signal(world: World, action: act.SignalProcess, kept: bool) -> None:
    carried = world.carried.get(action.process_id)
    if world.engine_up:
        if carried is not None and carried.fate.dies_of_term:
            carried.end(None, 15, world.now)
        if kept:
            world.record(action.process_id, term_sent_at=world.now)


def _kill(world: World, action: act.KillProcess, kept: bool) -> None:
    carried = world.carried.get(action.process_id)
    if world.engine_up:
        if carried is not None:
            carried.end(None, 9, world.now)  # nothing where it was made but never started
        if kept:
            world.record(action.process_id, kill_sent_at=world.now)


def _terminate(world: World, action: act.MarkTerminated, kept: bool) -> None:
    record, exit_ = world.records[action.process_id], action.exit
    if not kept:
        return
    at = world.now if exit_ is None else exit_.at
    at = max(at, record.stopping_at or record.started_at or record.booted_at or record.created_at)
    failed = ended_as_failed(record, exit_)
    if record.started_at is None and failed:
        world.failures, world.last_failure_at = world.failures + 1, world.now
    world.record(
        action.process_id, stopping_at=record.stopping_at or at, terminated_at=at, failed=failed,
        summary_exit_reason=exit_reason(record, exit_), rooms_allocated=0,
    )  # fmt: skip


def _remove(world: World, action: act.RemoveRemains, kept: bool) -> None:
    if world.engine_up:
        world.carried.pop(action.process_id, None)
        if kept:
            world.record(action.process_id, removed=True)


PERFORM: dict[type, Callable[..., None]] = {
    act.StartProcess: _start,
    act.MarkBooted: _booted,
    act.MarkStarted: _started,
    act.MarkStopping: _mark_stopping,
    act.MarkIdle: _mark_idle,
    act.SignalProcess: _signal,
    act.KillProcess: _kill,
    act.MarkTerminated: _terminate,
    act.RemoveRemains: _remove,
}


class ProcessLife(RuleBasedStateMachine):
    """Requests, faults and passes in any order; then a quiet time in which all comes to rest."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.listing: Observation | None = None

    @initialize(idle_timeout=st.booleans())
    def deploy(self, idle_timeout: bool) -> None:
        self.world.idle_timeout = idle_timeout

    @rule(fate=FATES, rooms=st.integers(0, 2))
    def create_process(self, fate: Fate, rooms: int) -> None:
        world = self.world
        process_id = f"p{len(world.records)}"
        world.fates[process_id] = fate
        world.records[process_id] = new_process(
            world.now, process_id=process_id, rooms_allocated=rooms
        )

    @rule(seconds=st.sampled_from([0.05, 1.0, 6.0, 31.0, 100.0, 301.0]))
    def time_goes_on(self, seconds: float) -> None:
        self.world.advance(seconds)

    @rule()
    def a_pass(self) -> None:
        self.world.one_pass()

    @rule(data=st.data())
    def a_pass_that_is_killed(self, data: st.DataObject) -> None:
        self.world.one_pass(lambda: data.draw(st.booleans(), label="record kept"))

    @rule()
    def a_listing_begins(self) -> None:
        self.listing = self.world.observe()

    @rule()
    def a_pass_on_that_listing(self) -> None:
        self.world.one_pass(older=self.listing)

    @rule(data=st.data())
    def stop_by_request(self, data: st.DataObject) -> None:
        world, choice = self.world, self._choose(data)
        if choice is not None and choice.stopping_at is None and choice.terminated_at is None:
            at = max(world.now, choice.started_at or choice.created_at)
            world.record(choice.process_id, stopping_at=at, stop_reason=ASKED, rooms_allocated=0)

    @rule(data=st.data())
    def the_runtime_loses_one(self, data: st.DataObject) -> None:
        choice = self._choose(data)
        if choice is not None:
            self.world.carried.pop(choice.process_id, None)

    @rule(data=st.data(), rooms=st.integers(0, 4))
    def rooms_come_and_go(self, data: st.DataObject, rooms: int) -> None:
        choice = self._choose(data)
        if choice is not None and choice.stopping_at is None and choice.terminated_at is None:
            self.world.record(choice.process_id, rooms_allocated=rooms)

    @rule(data=st.data(), players=st.sampled_from([0, 1, None]))
    def players_come_and_go(self, data: st.DataObject, players: int | None) -> None:
        choice = self._choose(data)
        if choice is not None:
            self.world.connections[choice.process_id] = players

    @rule(up=st.booleans())
    def engine(self, up: bool) -> None:
        self.world.engine_up = up

    @rule()
    def delete_app(self) -> None:
        self.world.app_deleted = True

    def _choose(self, data: st.DataObject) -> Process | None:
        records = list(self.world.records.values())
        return data.draw(st.sampled_from(records), label="process") if records else None

    @invariant()
    def ended_with_a_reason(self) -> None:
        for process in self.world.records.values():
            if process.terminated_at is not None:
                assert process.summary_exit_reason, f"{process.process_id} ended without a reason"
                assert process.rooms_allocated == 0

    def teardown(self) -> None:
        world = self.world
        world.engine_up = True
        for fate in world.fates.values():
            fate.hangs = min(fate.hangs, 3)
        self._settle(160.0)
        starting = [p for p in world.records.values() if p.status == "starting"]
        # Made but never started by an engine that always fails half-way is the one way to stay so.
        assert all(world.fates[p.process_id].stuck_made > 0 for p in starting), starting
        world.app_deleted = True
        self._settle(60.0)
        assert world.one_pass() == []
        assert not world.carried, "something still runs"
        assert all(p.removed and p.terminated_at for p in world.records.values())

    def _settle(self, seconds: float) -> None:
        """Undisturbed passes over ``seconds``; then, with no time gone, the work must run out."""
        for _ in range(int(seconds)):
            self.world.advance(1.0)
            self.world.one_pass()
        for _ in range(8):
            if not self.world.one_pass():
                return
        raise AssertionError("decide never comes to rest")


ProcessLife.TestCase.settings = settings(
    max_examples=250,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestProcessLife = ProcessLife.TestCase
