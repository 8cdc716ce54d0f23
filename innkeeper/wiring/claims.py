"""Locks on files that the kernel drops with whoever holds them, so that kill -9 leaves nothing to wait for.

Python opens files so that programs which are started do not inherit them: a game never holds a claim.
"""

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path

from innkeeper.core.errors import StateConflict
from innkeeper.disk.locks import try_lock


@contextlib.contextmanager
def starting(data_dir: Path) -> Iterator[None]:
    """One server at a time makes ready what all on this directory share; waits for another that does."""
    with open(data_dir / "start.lock", "a", encoding="ascii") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def sole_server(database: Path) -> Iterator[None]:
    """Be the one server of an embedded database. Raises :class:`StateConflict` where it has one."""
    database.parent.mkdir(parents=True, exist_ok=True)
    with open(database.with_name(f"{database.name}.lock"), "a", encoding="ascii") as file:
        if not try_lock(file.fileno()):
            raise StateConflict(
                f"another Innkeeper works on the database {database}: an embedded database serves one. "
                "Stop the other, or give all of them one PostgreSQL (--database postgresql://...)"
            )
        yield
