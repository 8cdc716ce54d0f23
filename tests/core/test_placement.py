"""Packing: the fullest open process takes the next room, and none is ever overfilled."""

from datetime import timedelta
from itertools import permutations

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from innkeeper.core.placement import open_for_rooms, place_room
from innkeeper.core.processes import Process
from innkeeper.testing.records import NOON, new_process


def placed(
    name: str = "p",
    rooms: int = 0,
    cap: int = 3,
    age_s: float = 0,
    started: bool = True,
    stopping: bool = False,
    ended: bool = False,
    draining: bool = False,
) -> Process:
    at = NOON + timedelta(seconds=age_s)
    return new_process(
        at,
        process_id=name,
        rooms_allocated=rooms,
        rooms_per_process=cap,
        started_at=at if started else None,
        stopping_at=at if stopping else None,
        terminated_at=at if ended else None,
        draining=draining,
    )


PROCESSES = st.lists(
    st.builds(
        placed,
        name=st.uuids().map(str),
        rooms=st.integers(0, 3),
        cap=st.just(3),
        age_s=st.integers(0, 2),
        started=st.booleans(),
        stopping=st.booleans(),
        ended=st.booleans(),
        draining=st.booleans(),
    ),
    max_size=5,
)


def test_running_before_starting_however_full() -> None:
    starting = placed("starting", rooms=2, started=False)
    empty = placed("empty", rooms=0, age_s=9)
    assert place_room([starting, empty]) is empty


def test_the_fullest_then_the_oldest() -> None:
    fuller, older = placed("fuller", rooms=2, age_s=9), placed("older", rooms=1)
    assert place_room([older, fuller]) is fuller
    young, old = placed("young", rooms=1, age_s=1), placed("old", rooms=1)
    assert place_room([young, old]) is old


def test_fewest_free_slots_is_what_full_means() -> None:
    wide, narrow = placed("wide", rooms=5, cap=10), placed("narrow", rooms=1, cap=2)
    assert place_room([wide, narrow]) is narrow


@given(PROCESSES)
def test_an_open_slot_is_always_used_and_a_closed_one_never(processes: list[Process]) -> None:
    choice = place_room(processes)
    live = [p for p in processes if p.status in ("running", "starting") and not p.draining]
    candidates = [p for p in live if p.rooms_allocated < 3]
    assert (choice is None) == (not candidates)
    if choice is not None:
        assert choice in candidates
        assert open_for_rooms(choice)
        if any(p.status == "running" for p in candidates):
            assert choice.status == "running"
        rivals = [p for p in candidates if p.status == choice.status]
        assert choice.rooms_allocated == max(p.rooms_allocated for p in rivals)


@given(PROCESSES.filter(lambda ps: len(ps) <= 4))
def test_the_order_of_the_records_does_not_matter(processes: list[Process]) -> None:
    choices = [place_room(order) for order in permutations(processes)]
    assert all(choice == choices[0] for choice in choices)


class Packing(RuleBasedStateMachine):
    """Rooms come and go over processes that start and stop."""

    @initialize(cap=st.integers(1, 4))
    def deploy(self, cap: int) -> None:
        self.cap, self.made = cap, 0
        self.rooms: dict[str, list[int]] = {}
        self.started: set[str] = set()
        self.closed: set[str] = set()

    def _records(self) -> list[Process]:
        return [
            placed(
                name,
                len(rooms),
                self.cap,
                int(name),
                name in self.started,
                stopping=name in self.closed,
            )
            for name, rooms in self.rooms.items()
        ]

    @rule(rooms=st.integers(1, 6))
    def create_rooms(self, rooms: int) -> None:
        for _ in range(rooms):
            free = sum(self.cap - len(r) for n, r in self.rooms.items() if n not in self.closed)
            choice = place_room(self._records())
            assert (choice is None) == (free == 0), (
                "a process is started only where no slot is free"
            )
            name = str(len(self.rooms)) if choice is None else choice.process_id
            self.rooms.setdefault(name, []).append(self.made)
            self.made += 1

    @rule(data=st.data())
    def destroy_room(self, data: st.DataObject) -> None:
        held = [name for name, rooms in self.rooms.items() if rooms]
        if held:
            self.rooms[data.draw(st.sampled_from(held))].pop()

    @rule(data=st.data(), how=st.sampled_from(["started", "closed"]))
    def one_moves_on(self, data: st.DataObject, how: str) -> None:
        if self.rooms:
            name = data.draw(st.sampled_from(sorted(self.rooms)))
            (self.started if how == "started" else self.closed).add(name)
            if how == "closed":
                self.rooms[name].clear()

    @invariant()
    def none_is_overfilled(self) -> None:
        assert all(len(rooms) <= self.cap for rooms in getattr(self, "rooms", {}).values())


Packing.TestCase.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
TestPacking = Packing.TestCase
