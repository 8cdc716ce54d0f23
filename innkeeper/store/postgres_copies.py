"""Copies of a PostgreSQL database, by PostgreSQL's own programs.

A password goes only into their environment.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

from psycopg import pq
from psycopg.conninfo import conninfo_to_dict

from innkeeper.core.errors import StateConflict, Unavailable

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
        _sync(target.parent)
    finally:
        partial.unlink(missing_ok=True)


def load(database_url: str, source: Path) -> None:
    """Fill an empty database from a file of :func:`dump`, in one transaction: all of it or nothing. Blocks.

    Raises as :func:`dump` does, with ``pg_restore``.
    """
    name = conninfo_to_dict(database_url).get("dbname")
    command = [
        "pg_restore",
        "--single-transaction",
        "--exit-on-error",
        "--no-owner",
        "--no-privileges",
    ]
    _run([*command, f"--dbname={name}", str(source)], database_url)


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


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
