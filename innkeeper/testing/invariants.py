"""What must hold after every step of a simulated history, and what at rest (design.md, Invariants)."""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime

from innkeeper.core.capacity import SANDBOX_MEMORY_MB
from innkeeper.core.processes import NODE_LOST, Process
from innkeeper.interfaces import Row, Tx
from innkeeper.runtime.fake import FakeHost
from innkeeper.usecases.processes import process_from

_MOMENTS = (
    "created_at",
    "scheduled_at",
    "booted_at",
    "started_at",
    "stopping_at",
    "terminated_at",
)


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything in the store that the invariants speak of."""

    processes: tuple[Process, ...]
    rooms: tuple[Row, ...]
    sandboxes: tuple[Row, ...]
    ports: dict[int, str]
    machine: Row


def facts(tx: Tx) -> Facts:
    """Read them."""
    machine = tx.one("capacity.machine")
    assert machine is not None
    return Facts(
        tuple(process_from(row) for row in tx.all("invariants.processes")),
        tuple(tx.all("invariants.rooms")),
        tuple(tx.all("sandboxes.all")),
        {row["port"]: row["owner"] for row in tx.all("invariants.owned_ports")},
        machine,
    )


@dataclass(frozen=True, slots=True)
class Told:
    """What clients were told, and what the world did: the store must fit it.

    ``answered`` are rooms whose making was answered, ``refused`` those whose making was; ``vanished`` are
    processes that the host lost; ``at_s`` is the simulated time, and ``jumps`` how often the clock was set.
    """

    answered: Collection[str]
    refused: Collection[str]
    vanished: Collection[str]
    at_s: float
    jumps: int


@dataclass(slots=True)
class Invariants:
    """Safety, checked after every step; remembers moments, which are set once, and who had which port."""

    port_rest_s: float
    _moments: dict[tuple[str, str], datetime] = field(default_factory=dict)
    _owned: dict[int, tuple[str, float, int]] = field(default_factory=dict)

    def check(self, now: Facts, told: Told) -> None:
        """Raises ``AssertionError`` naming what is broken."""
        self._rooms(now, told)
        self._processes(now, told)
        self._promises(now)
        self._ports(now)
        self._rests(now, told)

    def _rooms(self, now: Facts, told: Told) -> None:
        known = {room["room_id"]: room for room in now.rooms}
        lost = set(told.answered) - known.keys()
        assert not lost, f"rooms that were answered are lost: {lost}"
        made = set(told.refused) & known.keys()
        assert not made, f"rooms were made although they were refused: {made}"
        allocated = Counter(r["process_id"] for r in now.rooms if r["process_id"])
        by_id = {p.process_id: p for p in now.processes}
        for process in now.processes:
            count = allocated[process.process_id]
            assert process.rooms_allocated == count, f"{process} counts {count} rooms"
            assert count <= process.rooms_per_process, f"{process} holds too many rooms"
        for room in now.rooms:
            if room["status"] == "destroyed":
                assert room["end_reason"], f"a room ended without a reason: {room}"
            assert (room["process_id"] is not None) == (room["status"] == "active"), room
            if room["process_id"]:
                process = by_id[room["process_id"]]
                assert process.stopping_at is None, f"a room on an ending process: {room}"

    def _processes(self, now: Facts, told: Told) -> None:
        for process in now.processes:
            moments = [getattr(process, name) for name in _MOMENTS]
            called_off = process.started_at is None and process.stopping_at is not None
            in_order = [
                moment
                for name, moment in zip(_MOMENTS, moments, strict=True)
                # Told to stop while it was being started: it may boot after that.
                if moment is not None and not (called_off and name == "booted_at")
            ]
            assert in_order == sorted(in_order), f"moments out of order: {process}"
            for name, moment in zip(_MOMENTS, moments, strict=True):
                known = (process.process_id, name) in self._moments
                assert moment is not None or not known, f"{name} was taken back: {process}"
                if moment is not None:
                    first = self._moments.setdefault((process.process_id, name), moment)
                    assert first == moment, f"{name} was set twice: {process}"
            if process.terminated_at is not None:
                assert process.summary_exit_reason, f"it ended without a reason: {process}"
            if process.summary_exit_reason == NODE_LOST:
                assert process.process_id in told.vanished, f"taken for lost: {process}"

    def _promises(self, now: Facts) -> None:
        live = [p for p in now.processes if p.terminated_at is None]
        memory = sum(p.memory_mb for p in live) + SANDBOX_MEMORY_MB * len(now.sandboxes)
        assert now.machine["memory_mb_promised"] == memory <= now.machine["memory_mb"]
        cpu = sum(p.cpu_millis for p in live)
        assert now.machine["cpu_millis_promised"] == cpu <= now.machine["cpu_millis"]

    def _ports(self, now: Facts) -> None:
        given = Counter(
            port.port for p in now.processes if not p.removed for port in p.exposed_ports
        )
        shared = [port for port, count in given.items() if count > 1]
        assert not shared, f"ports given out twice: {shared}"
        for process in now.processes:
            for port in process.exposed_ports:
                if not process.removed:
                    owner = now.ports.get(port.port)
                    assert owner == process.process_id, f"{port.port} is owned by {owner}"

    def _rests(self, now: Facts, told: Told) -> None:
        """A port that was given back rests before somebody else gets it (where no clock was set)."""
        joined = {p.sandbox_id: p.process_id for p in now.processes if p.sandbox_id}
        for port, owner in now.ports.items():
            before, seen_s, jumps = self._owned.get(port, (owner, told.at_s, told.jumps))
            passed_on = joined.get(before) == owner
            if before != owner and not passed_on and jumps == told.jumps:
                rested_s = told.at_s - seen_s
                assert rested_s >= self.port_rest_s, f"{port} rested only {rested_s:g} s"
            self._owned[port] = owner, told.at_s, told.jumps


def check_rest(now: Facts, host: FakeHost, held: Collection[str]) -> None:
    """Nothing leaks: the host carries exactly what the store wants, and every room has a home or an end.

    ``held`` are the regions where what is wanted cannot be made: there old processes stay while they must.
    """
    live = {p.process_id for p in now.processes if p.terminated_at is None}
    assert set(host.processes) == live, "the host and the store disagree"
    assert all(p.removed for p in now.processes if p.terminated_at is not None)
    for process in now.processes:
        if not process.removed:
            assert process.status in ("running", "draining"), process
            ended = process.status == "running" or process.rooms_allocated or process.region in held
            assert ended, f"it drains, and is empty: {process}"
    recorded = {s["sandbox_id"] for s in now.sandboxes}
    assert set(host.sandboxes) == recorded, "sandboxes leak"
    owners = live | recorded
    assert set(now.ports.values()) <= owners, "ports leak"
    assert set(host.ports.values()) <= owners, "ports leak on the host"
    for room in now.rooms:
        assert room["status"] in ("active", "suspended", "destroyed"), room
