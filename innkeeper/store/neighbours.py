"""The other servers on the store that a database URL names."""

from innkeeper.interfaces import Neighbours
from innkeeper.store.alone import Alone
from innkeeper.store.opening import is_postgres


def is_embedded(database_url: str) -> bool:
    """Whether the store is a file of this machine, which serves one server."""
    return not is_postgres(database_url)


def open_neighbours(database_url: str) -> Neighbours:
    """Ready to be listened to; a store that is away now is tried again later. Call in the event loop."""
    if is_embedded(database_url):
        return Alone()
    # Not needed where a file is served from, and not quick to import.
    from innkeeper.store.postgres_neighbours import PostgresNeighbours

    made = PostgresNeighbours(database_url)
    made.open()
    return made
