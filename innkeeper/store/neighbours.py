"""The other servers on the store that a database URL names."""

from innkeeper.interfaces import Neighbours
from innkeeper.store.alone import Alone


def is_embedded(database_url: str) -> bool:
    """Whether the store is a file of this machine, which serves one server."""
    return database_url.startswith("sqlite:")


async def open_neighbours(database_url: str) -> Neighbours:
    """Ready to be listened to; a store that is away now is tried again later."""
    return Alone()
