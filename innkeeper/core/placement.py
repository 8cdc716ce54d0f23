"""Which process a room goes to. The store's query ``processes.take_slot`` orders by the same rule; a property
test holds the two against each other."""

from collections.abc import Iterable

from innkeeper.core.processes import Process


def open_for_rooms(process: Process) -> bool:
    """Starting or running, not draining, and with a free slot (behaviour.md 5.1)."""
    live = process.terminated_at is None and process.stopping_at is None and not process.draining
    return live and process.rooms_allocated < process.rooms_per_process


def place_room(processes: Iterable[Process]) -> Process | None:
    """Running before starting; among them the fullest; then the oldest. ``None``: start a new one.

    ``processes`` are of one app, region and deployment. Packing lets emptied processes idle out.
    """
    candidates = [p for p in processes if open_for_rooms(p)]
    return min(candidates, key=_preference, default=None)


def _preference(process: Process) -> tuple[bool, int, float, str]:
    free = process.rooms_per_process - process.rooms_allocated
    return process.started_at is None, free, process.created_at.timestamp(), process.process_id
