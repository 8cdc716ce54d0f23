"""All rows of all families: what the API serves. A new family is one import and one line here."""

from innkeeper.api import processes, rooms
from innkeeper.api.operation import Operation

OPERATIONS: tuple[Operation, ...] = (
    *processes.OPERATIONS,
    *rooms.OPERATIONS,
)
