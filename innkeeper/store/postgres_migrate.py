"""Brings a PostgreSQL database to the schema this version knows; refuses a later version's.

Several servers may start at once: one migrates, the others wait for it. Where a schema is moved on, a backup
is kept first.
"""

import logging
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict

from innkeeper.core.errors import Invalid, StateConflict, Unavailable
from innkeeper.store.migrate import refuse_later, revisions, run_alembic
from innkeeper.store.postgres_copies import dump
from innkeeper.store.postgres_errors import Refused, away_at_connecting
from innkeeper.store.postgres_link import OLDEST_SERVER, with_defaults

log = logging.getLogger(__name__)

_LOCK = 7461392
_WAIT_FOR_ANOTHER_S = 600
_Connection = psycopg.Connection[tuple[object, ...]]


def check_url(database_url: str) -> None:
    """Raise ``Invalid`` for a URL that libpq does not take; its password is not repeated."""
    try:
        conninfo_to_dict(database_url)
    except psycopg.Error as error:
        raise Invalid(
            "database", "must be postgresql://USER:PASSWORD@HOST:PORT/DATABASE; a character of it is not "
            "allowed there: write it in percent form",
        ) from error  # fmt: skip


def migrate_postgres(database_url: str, backups: Path | None = None) -> None:
    """Make the schema, or bring it up to date; ``backups`` is the directory that a backup is kept in.

    Raises ``StateConflict`` for a database of a later version, of another program, or that cannot be
    backed up, and leaves it as it is; ``Unavailable`` where PostgreSQL is away.
    """
    known = revisions()
    try:
        with closing(_connect(database_url)) as connection:
            _refuse_unfit(connection)
            if _checked_revision(connection, known) == known[-1]:
                return
            connection.execute(f"SET lock_timeout = '{_WAIT_FOR_ANOTHER_S}s'")
            connection.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))
            stored = _checked_revision(connection, known)
            if stored == known[-1]:
                return  # another server did it while we waited
            if stored is not None:
                _back_up(database_url, backups, known[-1])
            _upgrade(database_url, known[-1])
    except psycopg.Error as error:
        state = error.sqlstate
        if state is None:
            raise away_at_connecting(error) from error
        told = Refused(state, str(error), fatal=False).told("a migration")
        raise (told if isinstance(told, Unavailable) else error) from error
    log.info("the database has schema revision %s", known[-1])


def postgres_revision(database_url: str) -> str | None:
    """The revision of the database; ``None`` where it is empty. Raises as :func:`migrate_postgres`."""
    try:
        with closing(_connect(database_url)) as connection:
            return _stored_revision(connection)
    except psycopg.Error as error:
        raise away_at_connecting(error) from error


def _connect(database_url: str) -> _Connection:
    return psycopg.connect(with_defaults(database_url), autocommit=True)


def _refuse_unfit(connection: _Connection) -> None:
    info = connection.info
    if info.server_version < OLDEST_SERVER:
        raise StateConflict(
            f"PostgreSQL {info.server_version // 10000} is too old: 13 is the oldest that is supported"
        )
    encoding = info.parameter_status("server_encoding")
    if encoding != "UTF8":
        raise StateConflict(
            f"the database has the encoding {encoding}: make one with "
            "`createdb --encoding=UTF8 --template=template0`"
        )


def _checked_revision(connection: _Connection, known: list[str]) -> str | None:
    stored = _stored_revision(connection)
    if stored is not None:
        refuse_later("the database", stored, known)
    return stored


def _stored_revision(connection: _Connection) -> str | None:
    rows = connection.execute(
        "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()"
    ).fetchall()
    tables = {row[0] for row in rows}
    if not tables:
        return None
    if not {"alembic_version", "installation"} <= tables:
        raise StateConflict("this is a database of another program: name an empty one")
    found = connection.execute("SELECT version_num FROM alembic_version").fetchall()
    if len(found) != 1:
        raise StateConflict(f"the database has {len(found)} schema revisions: restore a backup")
    return str(found[0][0])


def _back_up(database_url: str, backups: Path | None, revision: str) -> None:
    if backups is None:
        return
    target = backups / f"postgresql.before-{revision}.dump"
    dump(database_url, target)
    log.info("kept a backup: %s", target)


def _upgrade(database_url: str, revision: str) -> None:
    from sqlalchemy import create_engine, event
    from sqlalchemy.pool import NullPool

    def connect() -> _Connection:
        return psycopg.connect(with_defaults(database_url))

    engine = create_engine("postgresql+psycopg://", creator=connect, poolclass=NullPool)
    # What is deferred would stand in the way of changing a table again in the same transaction.
    event.listen(
        engine, "begin", lambda began: began.exec_driver_sql("SET CONSTRAINTS ALL IMMEDIATE")
    )
    nothing: Callable[[], None] = lambda: None  # noqa: E731 (references are checked as they are made)
    try:
        run_alembic(engine, revision, nothing)
    finally:
        engine.dispose()
