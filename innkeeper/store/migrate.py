"""Brings a database to the schema this version knows, with Alembic; refuses a later version's.

A migration is ``versions/NNNN_name.py`` beside ``NNNN_name.sql``; revisions are those numbers, in
order. Alembic costs half a second to import: a database that is up to date never imports it.
"""

import logging
import os
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from innkeeper.core.errors import StateConflict
from innkeeper.disk.durable import sync
from innkeeper.store.sqlite import connect, unavailable

if TYPE_CHECKING:
    from sqlalchemy import Engine

log = logging.getLogger(__name__)

MIGRATIONS = Path(__file__).parent / "migrations"


def revisions() -> list[str]:
    """The revisions this version knows, oldest first; the last one is what it works with."""
    return sorted(path.name.split("_")[0] for path in (MIGRATIONS / "versions").glob("[0-9]*.py"))


def migrate(path: Path) -> None:
    """Make the database at ``path``, or bring it up to date and keep a backup beside it.

    Raises ``StateConflict`` for a database of a later version, or of another program, and leaves it
    as it is; ``Unavailable`` where the disk is full or fails: it is then at its old revision.
    """
    known = revisions()
    try:
        stored = stored_revision(path)
        if stored == known[-1]:
            return
        if stored is not None:
            refuse_later(path.name, stored, known)
            back_up(path, path.with_name(f"{path.name}.before-{known[-1]}"))
        _upgrade(path, known[-1])
    except sqlite3.Error as error:
        raise unavailable(error, path) or error from error
    log.info("%s: schema revision %s", path.name, known[-1])


def refuse_later(database: str, stored: str, known: list[str]) -> None:
    """Raise ``StateConflict`` for a revision that this version does not know."""
    if stored not in known:
        raise StateConflict(
            f"{database} has schema revision {stored}, made by a later version of Innkeeper; "
            f"this one knows revisions up to {known[-1]}. Start that version, or restore the "
            "backup that it made before"
        )


def back_up(path: Path, target: Path) -> None:
    """Copy the database as it is now, into a file of mode 0600 that appears whole or not at all."""
    partial = target.with_name(target.name + ".partial")
    partial.unlink(missing_ok=True)
    os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    try:
        with closing(connect(path)) as source, closing(sqlite3.connect(partial)) as copy:
            source.backup(copy)
        sync(partial)
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)
    sync(target.parent)
    log.info("kept a backup: %s", target)


def run_script(name: str) -> None:
    """For migrations: run the statements of ``versions/<name>`` in the migration's transaction, and on
    PostgreSQL then those of ``NNNN_name.postgresql.sql``, where that exists.
    """
    from alembic import op

    connection = op.get_bind()
    path = MIGRATIONS / "versions" / name
    script = path.read_text("utf-8")
    if connection.dialect.name == "sqlite":
        for statement in statements(script):
            connection.exec_driver_sql(statement)
        return
    cursor = connection.connection.cursor()  # the driver's own: it takes a whole script
    cursor.execute(_compared_bytewise(script))
    own = path.with_name(f"{path.stem}.postgresql.sql")
    if own.exists():
        cursor.execute(own.read_text("utf-8"))


def _compared_bytewise(script: str) -> str:
    """For PostgreSQL: texts are compared and sorted as SQLite does it, whatever the database's locale is."""
    return re.sub(r"\bTEXT\b(?! *\))", 'TEXT COLLATE "C"', script)


def statements(script: str) -> Iterator[str]:
    """The statements of ``script``; each ends with a semicolon at the end of a line."""
    # The driver's own executescript would commit first: the migration would lose its transaction.
    lines: list[str] = []
    for line in script.splitlines():
        lines.append(line)
        text = "\n".join(lines)
        if ";" in line and sqlite3.complete_statement(text):
            yield text
            lines = []
    rest = [line for line in lines if line.strip() and not line.lstrip().startswith("--")]
    if rest:
        raise ValueError(f"a statement without an end: {rest[0]}")


def stored_revision(path: Path) -> str | None:
    """The revision of the database; ``None`` where there is none yet. The file stays as it is."""
    if not path.exists() or not path.stat().st_size:
        return None
    connection = untouched(path)
    try:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
        if not tables:
            return None
        if "alembic_version" not in tables:
            raise StateConflict(f"{path.name} is a database of another program: name another file")
        rows = connection.execute("SELECT version_num FROM alembic_version").fetchall()
    finally:
        connection.close()
    if len(rows) != 1:
        raise StateConflict(f"{path.name} has {len(rows)} schema revisions: restore a backup")
    return str(rows[0][0])


def untouched(path: Path) -> sqlite3.Connection:
    """A connection that reads the database and leaves its file as it is."""
    # Without a log beside it the file is all there is, and need not even be locked.
    wal = path.with_name(path.name + "-wal")
    mode = "mode=ro" if wal.exists() else "immutable=1"
    return sqlite3.connect(f"{path.absolute().as_uri()}?{mode}", uri=True)


def run_alembic(engine: "Engine", revision: str, check: Callable[[], None]) -> None:
    """Upgrade what ``engine`` connects to, in one transaction; ``check`` may refuse it at its end."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        config.attributes["check"] = check
        command.upgrade(config, revision)


def _upgrade(path: Path, revision: str) -> None:
    from sqlalchemy import create_engine, event, exc
    from sqlalchemy.pool import StaticPool

    os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
    ours = connect(path)
    try:
        ours.execute("PRAGMA journal_mode = WAL")
        ours.execute("PRAGMA foreign_keys = OFF")  # a migration may have to make a table anew
        engine = create_engine("sqlite://", creator=lambda: ours, poolclass=StaticPool)
        event.listen(engine, "begin", lambda began: began.exec_driver_sql("BEGIN IMMEDIATE"))
        try:
            run_alembic(engine, revision, lambda: _check_references(ours))
        except exc.DBAPIError as error:
            raise error.orig if isinstance(error.orig, sqlite3.Error) else error from error
    finally:
        ours.close()


def _check_references(connection: sqlite3.Connection) -> None:
    broken = connection.execute("PRAGMA foreign_key_check").fetchall()
    if broken:
        raise StateConflict(
            f"the migration would leave {len(broken)} references to nothing, the first in the table "
            f"{broken[0][0]}; nothing was changed"
        )
