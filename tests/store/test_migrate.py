"""Migrations: from nothing, from an earlier revision, never from a later one, and all or nothing."""

import asyncio
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from innkeeper.core.errors import Invalid, StateConflict, Unavailable
from innkeeper.store import migrate as migrations
from innkeeper.store.migrate import migrate, revisions, statements
from innkeeper.store.opening import database_path, open_store

# What this version migrates to, before a test adds a revision of its own.
HEAD = revisions()[-1]
AddMigration = Callable[[str], None]


def ask(path: Path, sql: str) -> list[tuple[object, ...]]:
    """The rows of a statement on a connection of its own."""
    with closing(sqlite3.connect(path)) as connection, connection:
        return connection.execute(sql).fetchall()


def contents(directory: Path) -> dict[str, bytes]:
    """Every file of the directory; less the index that SQLite keeps for the log while it is open."""
    files = (path for path in directory.iterdir() if not path.name.endswith("-shm"))
    return {path.name: path.read_bytes() for path in files}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "innkeeper.db"


@pytest.fixture
def add_migration(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> AddMigration:
    """Adds revision 9000 with the given SQL, as a later version of the package would bring it."""

    def add(sql: str) -> None:
        directory = tmp_path_factory.mktemp("package") / "100% migrations"
        shutil.copytree(migrations.MIGRATIONS, directory)
        (directory / "versions" / "9000_test.sql").write_text(sql)
        (directory / "versions" / "9000_test.py").write_text(
            "from innkeeper.store.migrate import run_script\n"
            f'revision = "9000"\ndown_revision = "{revisions()[-1]}"\n'
            'def upgrade():\n    run_script("9000_test.sql")\n'
        )
        monkeypatch.setattr(migrations, "MIGRATIONS", directory)

    return add


# ---------------------------------------------------------------- from nothing


def test_a_new_database_gets_the_whole_schema(path: Path) -> None:
    migrate(path)
    assert ask(path, "SELECT version_num FROM alembic_version") == [(revisions()[-1],)]
    tables = {name for (name,) in ask(path, "SELECT name FROM sqlite_master")}
    assert {"installation", "machine", "apps", "rooms", "processes", "host_ports"} <= tables
    assert ask(path, "PRAGMA journal_mode") == [("wal",)]


def test_the_database_is_for_its_owner_only(path: Path) -> None:
    before = os.umask(0o000)
    try:
        migrate(path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_revisions_are_one_line_that_alembic_agrees_with() -> None:
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(migrations.MIGRATIONS).replace("%", "%%"))
    script = ScriptDirectory.from_config(config)
    assert script.get_heads() == [revisions()[-1]]
    assert [each.revision for each in script.walk_revisions()][::-1] == revisions()


def test_an_up_to_date_database_opens_without_alembic(path: Path) -> None:
    migrate(path)
    before = contents(path.parent)
    code = (
        "import sys; from pathlib import Path; from innkeeper.store.migrate import migrate; "
        "migrate(Path(sys.argv[1])); print({'alembic', 'sqlalchemy'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"
    assert contents(path.parent) == before


# ---------------------------------------------------------------- from an earlier revision


def test_an_earlier_database_is_backed_up_and_migrated(
    path: Path, add_migration: AddMigration
) -> None:
    migrate(path)
    ask(path, "INSERT INTO host_ports (port) VALUES (7)")
    add_migration("CREATE TABLE one (x BIGINT);\nINSERT INTO one VALUES (1);  -- and\n")
    migrate(path)
    assert ask(path, "SELECT version_num FROM alembic_version") == [("9000",)]
    assert ask(path, "SELECT x FROM one") == [(1,)]
    assert ask(path, "SELECT port FROM host_ports") == [(7,)]
    backup = path.with_name("innkeeper.db.before-9000")
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    assert ask(backup, "SELECT port FROM host_ports") == [(7,)]
    assert ask(backup, "SELECT version_num FROM alembic_version") == [(HEAD,)]
    assert not list(path.parent.glob("*.partial"))


def test_the_backup_holds_what_only_the_log_has(path: Path, add_migration: AddMigration) -> None:
    migrate(path)
    with closing(sqlite3.connect(path)) as open_elsewhere:
        with open_elsewhere:
            open_elsewhere.execute("INSERT INTO host_ports (port) VALUES (7)")
        add_migration("CREATE TABLE one (x BIGINT);\n")
        migrate(path)
    backup = path.with_name("innkeeper.db.before-9000")
    assert ask(backup, "SELECT port FROM host_ports") == [(7,)]


def test_a_migration_that_fails_changes_nothing(path: Path, add_migration: AddMigration) -> None:
    migrate(path)
    schema = ask(path, "SELECT name, sql FROM sqlite_master")
    add_migration("CREATE TABLE one (x BIGINT);\nCREATE TABLE rooms (x BIGINT);\n")
    with pytest.raises(sqlite3.OperationalError, match="rooms already exists"):
        migrate(path)
    assert ask(path, "SELECT name, sql FROM sqlite_master") == schema
    assert ask(path, "SELECT version_num FROM alembic_version") == [(HEAD,)]


def test_a_migration_must_keep_every_reference(path: Path, add_migration: AddMigration) -> None:
    migrate(path)
    add_migration(
        "INSERT INTO deployment_starts (deployment_id, last_used_at) VALUES ('dep-x', 0);\n"
    )
    with pytest.raises(StateConflict, match="table deployment_starts"):
        migrate(path)
    assert ask(path, "SELECT version_num FROM alembic_version") == [(HEAD,)]
    assert ask(path, "SELECT * FROM deployment_starts") == []


# ---------------------------------------------------------------- from what is not ours


def test_a_database_of_a_later_version_is_left_untouched(path: Path) -> None:
    migrate(path)
    ask(path, "UPDATE alembic_version SET version_num = '9999'")
    before = contents(path.parent)
    with pytest.raises(StateConflict, match=rf"innkeeper\.db has schema revision 9999.*{HEAD}"):
        asyncio.run(open_store(path))
    assert contents(path.parent) == before


def test_so_is_one_that_its_later_version_left_in_a_crash(path: Path, tmp_path: Path) -> None:
    migrate(path)
    crashed = tmp_path / "crashed"
    with closing(sqlite3.connect(path)) as later:
        with later:
            later.execute("UPDATE alembic_version SET version_num = '9999'")
        crashed.mkdir()
        for name in ("innkeeper.db", "innkeeper.db-wal"):
            shutil.copy(tmp_path / name, crashed / name)
    before = contents(crashed)
    with pytest.raises(StateConflict, match="9999"):
        migrate(crashed / "innkeeper.db")
    assert contents(crashed) == before


def test_a_database_of_another_program_is_left_untouched(path: Path) -> None:
    ask(path, "CREATE TABLE recipes (name TEXT)")
    before = contents(path.parent)
    with pytest.raises(StateConflict, match="another program"):
        migrate(path)
    assert contents(path.parent) == before


def test_a_file_that_is_no_database_is_left_untouched(path: Path) -> None:
    path.write_text("Dear diary, " * 1000)
    before = contents(path.parent)
    with pytest.raises(Unavailable, match=r"innkeeper\.db is not a database"):
        migrate(path)
    assert contents(path.parent) == before


# ---------------------------------------------------------------- scripts and URLs


def test_a_script_is_split_where_statements_end() -> None:
    first = "-- one; two\nCREATE TABLE a (\n  x TEXT, -- a; b\n  y TEXT DEFAULT ';'\n);"
    second = "\nSELECT 1; -- c;"
    assert list(statements(f"{first}\n{second}\n-- the end;\n")) == [first, second]
    with pytest.raises(ValueError, match="without an end: SELECT 2"):
        list(statements("SELECT 1;\nSELECT 2\n"))


@pytest.mark.parametrize(
    ("url", "file"),
    [
        ("sqlite:///innkeeper.db", "innkeeper.db"),
        ("sqlite:///data/x.db", "data/x.db"),
        ("sqlite:////var/lib/innkeeper/x.db", "/var/lib/innkeeper/x.db"),
        ("sqlite:////var/my%20data/x.db", "/var/my data/x.db"),
    ],
)
def test_a_url_names_a_file(url: str, file: str) -> None:
    assert database_path(url) == Path(file)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://localhost/x",
        "innkeeper.db",
        "sqlite:",
        "sqlite://",
        "sqlite:///",
        "sqlite://x/y",
    ],
)
def test_another_url_is_refused(url: str) -> None:
    with pytest.raises(Invalid, match="sqlite:///PATH"):
        database_path(url)
