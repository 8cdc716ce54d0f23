"""Copies of a PostgreSQL database, by PostgreSQL's own programs.

A password goes only into their environment.
"""

import os
import re
import shutil
import subprocess
from contextlib import closing
from pathlib import Path

import psycopg
from psycopg import pq
from psycopg.conninfo import conninfo_to_dict

from innkeeper.core.errors import StateConflict, Unavailable
from innkeeper.disk.durable import sync
from innkeeper.store.copies import CopyFacts
from innkeeper.store.postgres_errors import away_at_connecting
from innkeeper.store.postgres_link import with_defaults
from innkeeper.store.queries import QUERIES

# Transactions are numbered by the server, and another one begins anew: what is copied comes before them all.
# Of what a receiver had not got yet, all is sent again: rather twice than never.
_COUNT_ANEW = (
    b"""UPDATE webhooks SET sent_seq = COALESCE((SELECT MIN(seq) - 1 FROM events
        WHERE (events.tx_id, events.seq) > (webhooks.sent_order, webhooks.sent_seq)), sent_seq)""",
    b"UPDATE webhooks SET sent_order = 0",
    b"UPDATE events SET tx_id = 0",
)
_TABLES = b"SELECT 1 FROM pg_tables WHERE schemaname = current_schema() LIMIT 1"
_PLACES = ("usr/lib/postgresql/*/bin", "usr/pgsql-*/bin", "usr/local/pgsql/bin")


def dump(database_url: str, target: Path) -> None:
    """Write all of the database, as it is at one moment, in ``pg_dump``'s custom format, into a file of
    mode 0600 that appears whole or not at all. Blocks. Writers go on meanwhile.

    Raises ``StateConflict`` where no ``pg_dump`` is here that knows the server's version, ``Unavailable``
    where it fails.
    """
    partial = target.with_name(f"{target.name}.partial")
    partial.unlink(missing_ok=True)
    try:
        descriptor = os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            command = ["pg_dump", "--format=custom", "--no-owner", "--no-privileges"]
            _run(command, database_url, stdout=file.fileno())
            os.fsync(file.fileno())
        os.replace(partial, target)
        sync(target.parent)
    finally:
        partial.unlink(missing_ok=True)


def load(database_url: str, source: Path) -> None:
    """Fill an empty database from a file of :func:`dump`, in one transaction: all of it or nothing. Blocks.

    Raises as :func:`dump` does, with ``pg_restore``; ``StateConflict`` for a database that is not empty.
    """
    with closing(psycopg.connect(with_defaults(database_url))) as connection:
        if connection.execute(_TABLES).fetchone() is not None:
            raise StateConflict("the database to restore into is not empty: name a new one")
    name = conninfo_to_dict(database_url).get("dbname")
    command = [
        "pg_restore",
        "--single-transaction",
        "--exit-on-error",
        "--no-owner",
        "--no-privileges",
    ]
    _run([*command, f"--dbname={name}", str(source)], database_url)
    with closing(psycopg.connect(with_defaults(database_url))) as connection:
        # A copy of an earlier schema may have no journal yet.
        if connection.execute("SELECT to_regclass('events')").fetchone() != (None,):
            for statement in _COUNT_ANEW:
                connection.execute(statement)
            connection.commit()


def postgres_facts(database_url: str) -> CopyFacts:
    """What the database holds. Raises ``StateConflict`` where it is not one of ours."""
    try:
        with closing(psycopg.connect(with_defaults(database_url))) as connection:
            if connection.execute("SELECT to_regclass('alembic_version')").fetchone() == (None,):
                raise StateConflict("the database is empty, or another program's")
            revision = connection.execute("SELECT version_num FROM alembic_version").fetchone()
            row = connection.execute(QUERIES["installation.first"].sql.encode()).fetchone()
            images = connection.execute(QUERIES["builds.kept_images"].sql.encode()).fetchall()
    except psycopg.Error as error:
        raise away_at_connecting(error) from error
    if revision is None or row is None:
        raise StateConflict("the database belongs to no installation yet: serve from it first")
    return CopyFacts(str(revision[0]), str(row[0]), tuple((str(k), str(ref)) for k, ref in images))


def find_program(name: str) -> str | None:
    """``pg_dump`` or ``pg_restore``: the newest that the distribution has put here, else that of PATH."""
    found = [path for place in _PLACES for path in Path("/").glob(f"{place}/{name}")]
    if found:
        return str(max(found, key=lambda path: _numbers(str(path))))
    return shutil.which(name)


def environment_of(database_url: str) -> dict[str, str]:
    """What tells libpq's programs where the database is, and who asks: ``PGHOST``, ``PGPASSWORD`` …"""
    variables = {
        option.keyword.decode(): option.envvar.decode()
        for option in pq.Conninfo.get_defaults()
        if option.envvar
    }
    given = conninfo_to_dict(database_url)
    return {variables[name]: str(value) for name, value in given.items() if name in variables}


def _run(command: list[str], database_url: str, stdout: int = subprocess.DEVNULL) -> None:
    program = find_program(command[0])
    if program is None:
        raise StateConflict(
            f"{command[0]} is not installed here: install PostgreSQL's client programs, "
            "of the server's version or a later one"
        )
    done = subprocess.run(
        [program, "--no-password", *command[1:]],
        env=os.environ | environment_of(database_url),
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        check=False,
    )
    if not done.returncode:
        return
    said = " ".join(done.stderr.split())[-500:]
    if "server version mismatch" in said:
        raise StateConflict(f"{command[0]} is older than the server: install a later one ({said})")
    raise Unavailable(f"{command[0]} failed: {said}")


def _numbers(path: str) -> list[int]:
    return [int(digits) for digits in re.findall(r"\d+", path)]
