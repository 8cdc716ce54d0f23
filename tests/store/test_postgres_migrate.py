"""PostgreSQL's schema: made once, moved on with a backup, refused where it is not ours; and copies of it."""

import asyncio
import shutil
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from innkeeper.core.errors import Invalid, StateConflict, Unavailable
from innkeeper.store import migrate as migrations
from innkeeper.store import postgres_copies
from innkeeper.store.migrate import revisions
from innkeeper.store.opening import open_store
from innkeeper.store.postgres_copies import dump, environment_of, load, postgres_facts
from innkeeper.store.postgres_migrate import migrate_postgres, postgres_revision
from innkeeper.testing.postgres_server import PostgresServer
from innkeeper.testing.studio import Studio

HEAD = revisions()[-1]
AddMigration = Callable[[str], None]


@pytest.fixture
def empty(postgres: PostgresServer) -> Iterator[str]:
    """A new, empty database; its name."""
    name = postgres.new_database()
    yield name
    postgres.drop(name)


@pytest.fixture
def add_migration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AddMigration:
    """Adds revision 9000 with the given SQL, as a later version of the package would bring it."""

    def add(sql: str) -> None:
        directory = tmp_path / "100% migrations"
        shutil.copytree(migrations.MIGRATIONS, directory)
        (directory / "versions" / "9000_test.sql").write_text(sql)
        (directory / "versions" / "9000_test.py").write_text(
            "from innkeeper.store.migrate import run_script\n"
            f'revision = "9000"\ndown_revision = "{HEAD}"\n'
            'def upgrade():\n    run_script("9000_test.sql")\n'
        )
        monkeypatch.setattr(migrations, "MIGRATIONS", directory)

    return add


def ask(server: PostgresServer, database: str, sql: str) -> list[tuple[object, ...]]:
    """The rows of a statement on a connection of its own."""
    with server.connect(database) as connection:
        cursor = connection.execute(sql.encode())
        return cursor.fetchall() if cursor.description else []


def test_servers_that_start_at_once_migrate_once(postgres: PostgresServer, empty: str) -> None:
    errors: list[BaseException] = []

    def start() -> None:
        try:
            migrate_postgres(postgres.url(empty))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert ask(postgres, empty, "SELECT version_num FROM alembic_version") == [(HEAD,)]
    assert ask(postgres, empty, "SELECT version FROM settled") == [(0,)]
    assert postgres_revision(postgres.url(empty)) == HEAD


def test_an_earlier_schema_is_backed_up_and_moved_on(
    postgres: PostgresServer, postgres_database: str, add_migration: AddMigration, tmp_path: Path
) -> None:
    ask(postgres, postgres_database, "INSERT INTO host_ports (port) VALUES (7)")
    add_migration(
        "-- one; two\nCREATE TABLE one (x TEXT);\nINSERT INTO one VALUES ('a;b');\n"
        "INSERT INTO orgs (org_id, name, max_requested_memory_mb, created_at) VALUES ('o', 'o', 1, 1);\n"
        "ALTER TABLE orgs ADD COLUMN two TEXT;\n"
    )
    migrate_postgres(postgres.url(postgres_database), tmp_path)
    assert ask(postgres, postgres_database, "SELECT x FROM one") == [("a;b",)]
    assert ask(postgres, postgres_database, "SELECT port FROM host_ports") == [(7,)]
    backup = tmp_path / "postgresql.before-9000.dump"
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    name = postgres.new_database()
    load(postgres.url(name), backup)
    assert ask(postgres, name, "SELECT port FROM host_ports") == [(7,)]
    assert ask(postgres, name, "SELECT version_num FROM alembic_version") == [(HEAD,)]
    postgres.drop(name)


def test_without_pg_dump_a_schema_is_left_as_it_is(
    postgres: PostgresServer,
    postgres_database: str,
    add_migration: AddMigration,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    add_migration("CREATE TABLE one (x TEXT);\n")
    monkeypatch.setattr(postgres_copies, "find_program", lambda name: None)
    with pytest.raises(
        StateConflict, match="pg_dump is not installed here: install PostgreSQL's client"
    ):
        migrate_postgres(postgres.url(postgres_database), tmp_path)
    assert postgres_revision(postgres.url(postgres_database)) == HEAD


def test_a_migration_that_fails_changes_nothing(
    postgres: PostgresServer, postgres_database: str, add_migration: AddMigration, tmp_path: Path
) -> None:
    add_migration("CREATE TABLE one (x BIGINT);\nCREATE TABLE rooms (x BIGINT);\n")
    with pytest.raises(Exception, match='"rooms" already exists'):
        migrate_postgres(postgres.url(postgres_database), tmp_path)
    assert postgres_revision(postgres.url(postgres_database)) == HEAD
    assert ask(postgres, postgres_database, "SELECT to_regclass('one')") == [(None,)]


def test_a_later_schema_is_refused_untouched(
    postgres: PostgresServer, postgres_database: str
) -> None:
    ask(postgres, postgres_database, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StateConflict, match=rf"schema revision 9999.*{HEAD}"):
        asyncio.run(open_store(postgres.url(postgres_database)))
    assert postgres_revision(postgres.url(postgres_database)) == "9999"


@pytest.mark.parametrize("table", ["recipes", "alembic_version"])
def test_another_programs_database_is_refused(
    postgres: PostgresServer, empty: str, table: str
) -> None:
    ask(postgres, empty, f"CREATE TABLE {table} (version_num TEXT)")
    with pytest.raises(StateConflict, match="another program"):
        migrate_postgres(postgres.url(empty))
    tables = ask(postgres, empty, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    assert tables == [(table,)]


def test_another_encoding_is_refused(postgres: PostgresServer) -> None:
    with postgres.connect("postgres") as connection:
        connection.execute("CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0")
    try:
        with pytest.raises(StateConflict, match="encoding LATIN1: make one with `createdb"):
            migrate_postgres(postgres.url("latin"))
    finally:
        postgres.drop("latin")


def test_a_url_that_is_none_is_refused_without_its_password() -> None:
    with pytest.raises(Invalid, match=r"must be postgresql://") as told:
        asyncio.run(open_store("postgresql://innkeeper:secret%zz@h/x"))
    assert "secret" not in str(told.value)


# ---------------------------------------------------------------- copies


async def test_a_copy_tells_what_it_holds_and_is_whole(
    postgres: PostgresServer, postgres_database: str, tmp_path: Path
) -> None:
    store = await open_store(postgres.url(postgres_database))
    studio = await Studio(store).open()
    await studio.deploy()
    await store.close()
    facts = postgres_facts(postgres.url(postgres_database))
    assert facts.revision == HEAD
    assert [ref[:9] for _, ref in facts.images] == ["image-of-"]
    copy = tmp_path / "copy.dump"
    dump(postgres.url(postgres_database), copy)
    other = postgres.new_database()
    load(postgres.url(other), copy)
    assert postgres_facts(postgres.url(other)) == facts
    with pytest.raises(StateConflict, match="is not empty"):
        load(postgres.url(other), copy)
    again = await open_store(postgres.url(other))
    assert (await Studio(again, app=studio.app, caller=studio.caller).deploy()).number == 2
    await again.close()
    postgres.drop(other)


def test_events_of_a_copy_come_before_new_ones_and_are_sent_again(
    postgres: PostgresServer, postgres_database: str, tmp_path: Path
) -> None:
    insert = "INSERT INTO events (at, org_id, app_id, kind, tx_id) VALUES (1, 'o', 'a', 'k', {})"
    for number in (900_000_003, 900_000_001, 900_000_002):  # of a server that has run for long
        ask(postgres, postgres_database, insert.format(number))
    ask(
        postgres,
        postgres_database,
        "INSERT INTO orgs (org_id, name, max_requested_memory_mb, created_at) VALUES ('o', 'o', 1, 1);"
        "INSERT INTO webhooks (webhook_id, org_id, url, secret, created_at, created_by, sent_order, sent_seq)"
        " VALUES ('w', 'o', 'u', 's', 1, 'c', 900000001, 2)",
    )
    copy = tmp_path / "copy.dump"
    dump(postgres.url(postgres_database), copy)
    other = postgres.new_database()
    load(postgres.url(other), copy)
    ask(postgres, other, "INSERT INTO events (at, org_id, app_id, kind) VALUES (1, 'o', 'a', 'k')")
    events = ask(postgres, other, "SELECT seq FROM events ORDER BY tx_id, seq")
    assert events == [(1,), (2,), (3,), (4,)]
    # It had the second only: the first and the third were yet to come.
    assert ask(postgres, other, "SELECT sent_order, sent_seq FROM webhooks") == [(0, 0)]
    postgres.drop(other)


def test_a_copy_that_fails_leaves_no_file(postgres: PostgresServer, tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"pg_dump failed: .*nothing"):
        dump(postgres.url("nothing"), tmp_path / "copy.dump")
    assert list(tmp_path.iterdir()) == []


def test_a_password_goes_into_the_environment() -> None:
    given = environment_of("postgresql://me:s%40t@db.example:5433/inn?sslmode=require")
    assert given == {
        "PGHOST": "db.example",
        "PGPORT": "5433",
        "PGUSER": "me",
        "PGPASSWORD": "s@t",
        "PGDATABASE": "inn",
        "PGSSLMODE": "require",
    }
