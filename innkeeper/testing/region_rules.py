"""What holds of a region's wanted processes and its line of waiting rooms, event by event.

Never more than max; never too few ready because of a replacement; the line is kept, nobody waits for ever.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from innkeeper.core.events import Event
from innkeeper.core.moments import to_ms
from innkeeper.core.processes import IDLE_TIMEOUT, REPLACED, SCALED_DOWN
from innkeeper.core.snapshot import StaticAllocation, Wanted
from innkeeper.interfaces import Row, Tx
from innkeeper.testing.invariants import Facts
from innkeeper.usecases import allocations

# What was decided may be recorded so much later: what was wanted then still counts.
DECIDED_S = 90.0
# How long a room may wait beyond its deadline while it is calm, beside the time between two looks.
OVERDUE_MAX_S = 10.0
# Reasons to stop a process that heed how many are ready.
_CAREFUL = {REPLACED, SCALED_DOWN, IDLE_TIMEOUT}


@dataclass(frozen=True, slots=True)
class RegionFacts:
    """What an app wants in each region, and which rooms wait."""

    wanted: Mapping[str, Wanted]
    waiting: tuple[Row, ...]


def region_facts(tx: Tx, app_id: str, regions: Iterable[str], now: datetime) -> RegionFacts:
    """Read them."""
    wanted = {r: allocations.load_wanted(tx, (app_id, r), now)[1] for r in regions}
    return RegionFacts(wanted, tuple(tx.all("invariants.waiting")))


class RegionRules:
    """Follows one app's regions."""

    def __init__(self, patience_s: float) -> None:
        self._patience_s = OVERDUE_MAX_S + patience_s
        self._bounds: dict[str, list[tuple[float, StaticAllocation | None]]] = {}
        self._live: dict[str, set[str]] = {}
        self._ready: dict[str, set[str]] = {}
        self._line: dict[str, list[str]] = {}

    def check(self, events: list[Event], found: Facts, now: RegionFacts, at_s: float) -> None:
        """Take in what happened since the last look. Raises ``AssertionError``."""
        for region, wanted in now.wanted.items():
            recent = [b for b in self._bounds.get(region, []) if at_s - b[0] <= DECIDED_S]
            # The latest of the older ones was still in force for a part of that time.
            older = [b for b in self._bounds.get(region, []) if b not in recent][-1:]
            self._bounds[region] = [*older, *recent, (at_s, wanted.static)]
        places = {p.process_id: p.region for p in found.processes}
        rooms = {room["room_id"]: room["region"] for room in found.rooms}
        for event in events:
            if event.room_id is not None:
                self._room(event, rooms[event.room_id])
            elif event.process_id is not None:
                self._process(event, places[event.process_id])
        self._check_line(found, now)

    def check_overdue(self, now: RegionFacts, moment: datetime, calm_s: float) -> None:
        """Nobody waits beyond the deadline for long while it is calm."""
        if calm_s <= self._patience_s:
            return
        for row in now.waiting:
            late_s = (to_ms(moment) - row["deadline"]) / 1000
            assert late_s <= self._patience_s, f"{row['room_id']} is {late_s:g} s overdue"

    # ------------------------------------------------------------ processes

    def _process(self, event: Event, region: str) -> None:
        assert event.process_id is not None
        live, ready = self._live.setdefault(region, set()), self._ready.setdefault(region, set())
        if event.kind == "process.created":
            live.add(event.process_id)
            most = [b.max_processes for b in self._static(region) if b is not None]
            always = len(most) == len(self._static(region))
            assert not always or len(live) <= max(most), f"more than max in {region}: {event}"
        elif event.kind == "process.running":
            ready.add(event.process_id)
        elif event.kind in ("process.stopping", "process.terminated"):
            live.discard(event.process_id)
            was_ready = event.process_id in ready
            ready.discard(event.process_id)
            if was_ready and event.kind == "process.stopping" and event.cause in _CAREFUL:
                self._check_ready(event, region, len(ready))

    def _check_ready(self, event: Event, region: str, ready: int) -> None:
        # Where max is min, one at a time is missing while it is replaced.
        least = [
            0 if b is None else min(b.min_processes, b.max_processes - 1)
            for b in self._static(region)
        ]
        assert ready >= min(least), f"only {ready} are ready in {region} after {event}"

    def _static(self, region: str) -> list[StaticAllocation | None]:
        return [static for _, static in self._bounds[region]]

    # ------------------------------------------------------------ the line

    def _room(self, event: Event, region: str) -> None:
        assert event.room_id is not None
        line = self._line.setdefault(region, [])
        if event.kind == "room.waiting":
            line.append(event.room_id)
        elif event.kind == "room.placed":
            assert line[:1] == [event.room_id], f"it was not first in line: {event}, {line}"
            line.pop(0)
        elif event.kind == "room.destroyed" and event.room_id in line:
            line.remove(event.room_id)
        elif event.kind in ("room.created", "room.resumed") and event.process_id is not None:
            assert not line, f"it overtook {line}: {event}"

    def _check_line(self, found: Facts, now: RegionFacts) -> None:
        waiting = {room["room_id"] for room in found.rooms if room["status"] == "scheduling"}
        in_line = {row["room_id"] for row in now.waiting}
        assert waiting == in_line, f"rooms wait: {waiting}; in line are {in_line}"
        told = {room_id for line in self._line.values() for room_id in line}
        assert told == waiting, f"rooms wait: {waiting}; the journal says {told}"


def check_wanted_at_rest(found: Facts, now: RegionFacts) -> None:
    """Every region has what is wanted there, unless it is known why it cannot be had."""
    for region, wanted in now.wanted.items():
        here = [p for p in found.processes if p.region == region and p.stopping_at is None]
        fresh = [
            p for p in here if p.deployment_id == wanted.deployment_id and p.status == "running"
        ]
        if wanted.hold is not None or wanted.deployment_id is None:
            continue
        count = sum(p.rooms_allocated > 0 for p in fresh) + wanted.reserve
        blocked = False
        if wanted.static is not None:
            most = wanted.static.max_processes
            count = min(max(count, wanted.static.target_processes), most)
            blocked = len(here) >= most  # old ones with rooms, which nobody cuts
        assert blocked or len(fresh) >= count, f"only {len(fresh)} of {count} in {region}: {here}"
