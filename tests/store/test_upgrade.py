"""A data directory of every earlier schema is opened by the present code: nothing in it is lost.

``rows/NNNN.sql`` adds what only that revision and later ones can hold; a directory of revision N is made by
going through all of its history. A new migration needs rows for the one before it.
"""

import asyncio
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from innkeeper.core.accounts import ADMIN_SCOPES, Caller
from innkeeper.core.errors import StateConflict
from innkeeper.store import migrate as migrations
from innkeeper.store.migrate import revisions
from innkeeper.store.opening import open_store
from innkeeper.testing.studio import Studio
from innkeeper.usecases import installation, rooms
from innkeeper.usecases.processes import process_from

ROWS = Path(__file__).parent / "rows"
EARLIER = revisions()[:-1]
# What a later revision counts anew, for what was there before it.
COUNTED = {"apps.builds_numbered", "orgs.operator", "settled.version"}
Table = tuple[tuple[str, ...], list[tuple[Any, ...]]]


def made_at(revision: str, path: Path) -> None:
    """A database as it was left by the version whose last revision this is."""
    for each in revisions():
        migrations._upgrade(path, each)
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("PRAGMA foreign_keys = ON")
            connection.executescript((ROWS / f"{each}.sql").read_text("utf-8"))
        if each == revision:
            return


def tables(path: Path) -> dict[str, Table]:
    """Every table: its columns, and its rows in the order of their keys."""
    with closing(sqlite3.connect(path)) as connection:
        names = [
            name
            for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            if not name.startswith(("sqlite_", "alembic_"))
        ]
        found = {}
        for name in names:
            cursor = connection.execute(f"SELECT * FROM {name} ORDER BY rowid")
            found[name] = (tuple(c[0] for c in cursor.description), cursor.fetchall())
        return found


def kept(before: dict[str, Table], after: dict[str, Table]) -> None:
    """Every earlier value is still there, in the row that held it."""
    for table, (columns, rows) in before.items():
        now_columns, now_rows = after[table]
        same = [c for c in columns if f"{table}.{c}" not in COUNTED]
        old = [{c: row[columns.index(c)] for c in same} for row in rows]
        new = [{c: row[now_columns.index(c)] for c in same} for row in now_rows]
        assert [row for row in old if row not in new] == [], table


@pytest.mark.parametrize("revision", EARLIER)
def test_the_rows_of_a_revision_fill_every_table(revision: str, tmp_path: Path) -> None:
    made_at(revision, tmp_path / "innkeeper.db")
    empty = [name for name, (_, rows) in tables(tmp_path / "innkeeper.db").items() if not rows]
    assert not empty, f"add rows of {empty} to tests/store/rows"


@pytest.mark.parametrize("revision", EARLIER)
def test_every_earlier_schema_is_brought_up_to_date(revision: str, tmp_path: Path) -> None:
    path = tmp_path / "innkeeper.db"
    made_at(revision, path)
    before = tables(path)
    migrations.migrate(path)
    assert migrations.stored_revision(path) == revisions()[-1]
    kept(before, tables(path))
    # The backup is the database of before, and can be gone back to.
    backup = path.with_name(f"innkeeper.db.before-{revisions()[-1]}")
    assert migrations.stored_revision(backup) == revision
    assert tables(backup) == before
    again = tmp_path / "again.db"
    shutil.copy(backup, again)
    migrations.migrate(again)
    assert tables(again) == tables(path)


@pytest.mark.parametrize("revision", EARLIER)
async def test_the_present_code_works_with_it(revision: str, tmp_path: Path) -> None:
    path = tmp_path / "innkeeper.db"
    made_at(revision, path)
    store = await open_store(path)
    try:
        studio = Studio(store, caller=Caller("org-1", "org-token-1", ADMIN_SCOPES))
        context = studio.context()
        seeded = await store.write(
            lambda tx: installation.seed_installation(tx, context, studio.machine, 20_000, 20_099)
        )
        assert seeded.installation_id == "aaaaaaaa-0000-4000-8000-000000000001"
        room = await store.read(
            lambda tx: rooms.get_room(tx, studio.caller, ("app-1", "room-1"), context)
        )
        assert room.status == "active"
        # The open slot of the process that ran before the upgrade is used, its ports stay its own.
        first, second = [
            await studio.ask(rooms.create_room, rooms.NewRoom("app-1", "Tokyo")) for _ in range(2)
        ]
        assert first.process_id == "cccccccc-0000-4000-8000-000000000001"
        assert second.process_id != first.process_id
        rows = await store.read(lambda tx: tx.all("invariants.processes"))
        living = [process for process in map(process_from, rows) if process.terminated_at is None]
        assert len({process.exposed_ports[0].port for process in living}) == len(living) == 2
    finally:
        await store.close()


def test_a_later_data_directory_is_left_untouched(tmp_path: Path) -> None:
    """Not one byte of it, and no file beside it."""
    path = tmp_path / "innkeeper.db"
    made_at(EARLIER[-1], path)
    migrations.migrate(path)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "x.log.zst").write_bytes(b"kept")
    before = {
        p: (p.stat().st_mtime_ns, p.is_file() and p.read_bytes()) for p in tmp_path.rglob("*")
    }
    with pytest.raises(StateConflict, match="9999, made by a later version"):
        asyncio.run(open_store(path))
    after = {p: (p.stat().st_mtime_ns, p.is_file() and p.read_bytes()) for p in tmp_path.rglob("*")}
    assert after == before


def test_serve_refuses_a_later_data_directory_and_touches_nothing(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    made_at(EARLIER[-1], data_dir / "innkeeper.db")
    migrations.migrate(data_dir / "innkeeper.db")
    with closing(sqlite3.connect(data_dir / "innkeeper.db")) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    (data_dir / "admin-token").write_text("the-token-of-the-later-version")
    before = {path.name: path.read_bytes() for path in data_dir.iterdir()}
    done = subprocess.run(
        [sys.executable, "-m", "innkeeper.cli", "serve", "--runtime", "process"],
        env={
            **os.environ,
            "INNKEEPER_DATA_DIR": str(data_dir),
            "INNKEEPER_LISTEN": "127.0.0.1:0",
            "INNKEEPER_ADMIN_TOKEN": "another-token-of-this-version",
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "has schema revision 9999, made by a later version of Innkeeper" in done.stderr
    after = {path.name: path.read_bytes() for path in data_dir.iterdir()}
    # Who runs is written down before anything is looked at; that is no state.
    locks = {"control-plane.pid", "down.lock", "start.lock", "innkeeper.db.lock"}
    assert {name: content for name, content in after.items() if name not in locks} == before
