"""A PostgreSQL database of an earlier schema is brought up to date, a backup first: nothing is lost.

Of the first schema, of one in the middle and of the last: all others are gone through on the way.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from innkeeper.core.accounts import ADMIN_SCOPES, Caller
from innkeeper.store import postgres_migrate
from innkeeper.store.migrate import revisions
from innkeeper.store.opening import open_store
from innkeeper.store.postgres_copies import load
from innkeeper.store.postgres_migrate import migrate_postgres, postgres_revision
from innkeeper.testing.postgres_server import PostgresServer
from innkeeper.testing.studio import Studio
from innkeeper.usecases import installation, rooms
from tests.store.test_upgrade import EARLIER, ROWS, Table, kept

TAKEN = (EARLIER[0], EARLIER[len(EARLIER) // 2], EARLIER[-1])


def tables(server: PostgresServer, database: str) -> dict[str, Table]:
    """Every table: its columns and its rows."""
    with server.connect(database) as connection:
        named = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        names = [str(name) for (name,) in named.fetchall() if name != "alembic_version"]
        found: dict[str, Table] = {}
        for name in names:
            cursor = connection.execute(f'SELECT * FROM "{name}"'.encode())
            columns = tuple(column.name for column in cursor.description or ())
            found[name] = (columns, cursor.fetchall())
        return found


@pytest.fixture(scope="module")
def history(postgres: PostgresServer) -> Iterator[dict[str, str]]:
    """A database as each version left it, by revision: its name."""
    grown, made = postgres.new_database(), {}
    for revision in EARLIER:
        postgres_migrate._upgrade(postgres.url(grown), revision)
        with postgres.connect(grown) as connection:
            connection.execute((ROWS / f"{revision}.sql").read_bytes())
        if revision in TAKEN:
            made[revision] = postgres.new_database(grown)
    yield made
    for name in (grown, *made.values()):
        postgres.drop(name)


@pytest.mark.parametrize("revision", TAKEN)
async def test_an_earlier_schema_is_brought_up_to_date(
    revision: str, history: dict[str, str], postgres: PostgresServer, tmp_path: Path
) -> None:
    database = history[revision]
    url, before = postgres.url(database), tables(postgres, database)
    migrate_postgres(url, tmp_path)
    assert postgres_revision(url) == revisions()[-1]
    kept(before, tables(postgres, database))
    again = postgres.new_database()
    load(postgres.url(again), tmp_path / f"postgresql.before-{revisions()[-1]}.dump")
    assert postgres_revision(postgres.url(again)) == revision
    assert {name: len(rows) for name, (_, rows) in tables(postgres, again).items()} == {
        name: len(rows) for name, (_, rows) in before.items()
    }
    postgres.drop(again)
    store = await open_store(url)
    try:
        studio = Studio(store, caller=Caller("org-1", "org-token-1", ADMIN_SCOPES))
        context = studio.context()
        await store.write(
            lambda tx: installation.seed_installation(tx, context, studio.machine, 20_000, 20_099)
        )
        placed = await studio.ask(rooms.create_room, rooms.NewRoom("app-1", "Tokyo"))
        assert placed.process_id == "cccccccc-0000-4000-8000-000000000001"
    finally:
        await store.close()
