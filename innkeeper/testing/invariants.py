"""What must hold after every step of a simulated history, and what at rest (design.md, Invariants)."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from innkeeper.core.capacity import SANDBOX_MEMORY_MB
from innkeeper.core.processes import NODE_LOST, Process
from innkeeper.interfaces import Row, Tx
from innkeeper.usecases.processes import process_from

if TYPE_CHECKING:
    from innkeeper.testing.world import World

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


@dataclass(slots=True)
class Invariants:
    """Safety, checked after every step; remembers moments, which are set once."""

    _moments: dict[tuple[str, str], datetime] = field(default_factory=dict)

    async def check(self, world: "World") -> None:
        """Raises ``AssertionError`` naming what is broken."""
        now = await world.store.read(facts)
        self._rooms(now, world)
        self._processes(now, world)
        self._promises(now)
        self._ports(now)
        # One that vanished before its start was recorded may rightly be started again.
        starts = world.host.starts.items()
        twice = {p: n for p, n in starts if n > 1 and p not in world.vanished}
        assert not twice, f"started twice: {twice}"

    def _rooms(self, now: Facts, world: "World") -> None:
        known = {room["room_id"]: room for room in now.rooms}
        lost = world.answered - known.keys()
        assert not lost, f"rooms that were answered are lost: {lost}"
        allocated = Counter(r["process_id"] for r in now.rooms if r["process_id"])
        by_id = {p.process_id: p for p in now.processes}
        for process in now.processes:
            count = allocated[process.process_id]
            assert process.rooms_allocated == count, f"{process} counts {count} rooms"
            assert count <= process.rooms_per_process, f"{process} holds too many rooms"
        for room in now.rooms:
            if room["status"] == "destroyed":
                assert room["end_reason"], f"a room ended without a reason: {room}"
            if room["process_id"]:
                process = by_id[room["process_id"]]
                assert process.stopping_at is None, f"a room on an ending process: {room}"

    def _processes(self, now: Facts, world: "World") -> None:
        for process in now.processes:
            told = [getattr(process, name) for name in _MOMENTS]
            in_order = [moment for moment in told if moment is not None]
            assert in_order == sorted(in_order), f"moments out of order: {process}"
            for name, moment in zip(_MOMENTS, told, strict=True):
                if moment is not None:
                    first = self._moments.setdefault((process.process_id, name), moment)
                    assert first == moment, f"{name} was set twice: {process}"
            if process.terminated_at is not None:
                assert process.summary_exit_reason, f"it ended without a reason: {process}"
            if process.summary_exit_reason == NODE_LOST:
                assert process.process_id in world.vanished, f"taken for lost: {process}"

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


async def check_rest(world: "World") -> None:
    """Nothing leaks: the host carries exactly what the store wants, and every room has a home or an end."""
    now = await world.store.read(facts)
    live = {p.process_id for p in now.processes if p.terminated_at is None}
    assert set(world.host.processes) == live, "the host and the store disagree"
    assert all(p.removed for p in now.processes if p.terminated_at is not None)
    assert all(p.status in ("running", "draining") for p in now.processes if not p.removed)
    recorded = {s["sandbox_id"] for s in now.sandboxes}
    assert set(world.host.sandboxes) == recorded, "sandboxes leak"
    owners = live | recorded
    assert set(now.ports.values()) <= owners, "ports leak"
    for room in now.rooms:
        assert room["status"] in ("active", "suspended", "destroyed"), room
