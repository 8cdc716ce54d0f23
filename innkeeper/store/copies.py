"""Copies a database of a running installation as it is at one moment, and tells what a copy holds.

Nothing is migrated: a copy is at the revision its source is at.
"""

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from innkeeper.core.errors import StateConflict
from innkeeper.store.migrate import stored_revision, untouched
from innkeeper.store.queries import QUERIES
from innkeeper.store.sqlite import connect, unavailable

_PAGES_AT_ONCE = 4096  # 16 MiB between two words about how far it is
_LEAP = 1_000_000_000  # more events than there can have been since
Share = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class CopyFacts:
    """What a database holds: its schema, whose it is, and its builds as key and image reference."""

    revision: str
    installation_id: str
    images: tuple[tuple[str, str], ...]


def copy_sqlite(source: Path, target: Path, share: Share) -> None:
    """Copy the database into a new file of mode 0600, which is gone again if this raises. Blocks.

    Writers go on meanwhile; what they commit is not in it. ``share`` is told the bytes done and
    in all. Raises ``Unavailable`` where the disk is full or fails, ``StateConflict`` where there
    is no database, or a damaged one.
    """
    if not source.is_file():
        raise StateConflict(f"there is no database at {source}: nothing has been served from here")
    os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    try:
        with closing(connect(source)) as ours, closing(sqlite3.connect(target)) as copy:
            page_bytes = ours.execute("PRAGMA page_size").fetchone()[0]
            # A reader's snapshot: without it each commit beside us would make the copy begin anew.
            ours.execute("BEGIN")
            ours.execute("SELECT count(*) FROM sqlite_master").fetchone()

            def progress(_status: int, left: int, total: int) -> None:
                share((total - left) * page_bytes, total * page_bytes)

            ours.backup(copy, pages=_PAGES_AT_ONCE, progress=progress)
            problem = copy.execute("PRAGMA quick_check(1)").fetchone()[0]
        if problem != "ok":
            raise StateConflict(f"{source} is damaged, and so is every copy of it: {problem}")
    except sqlite3.Error as error:
        target.unlink(missing_ok=True)
        raise unavailable(error, target) or error from error
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    finally:
        for suffix in ("-journal", "-wal", "-shm"):
            target.with_name(target.name + suffix).unlink(missing_ok=True)


def count_anew(path: Path, at_ms: int) -> None:
    """Let the journal of a copy that shall be served from go on far behind its last event.

    What came after the copy was made has been told under the ids that follow, and receivers know events by
    their ids. ``at_ms``: now. A copy without a journal is left as it is.
    """
    with closing(sqlite3.connect(path)) as ours, ours:
        tables = ours.execute("SELECT 1 FROM sqlite_master WHERE name = 'events'").fetchall()
        if tables:
            ours.execute(
                "INSERT INTO events (seq, at, org_id, app_id, kind, cause) "
                "SELECT COALESCE(MAX(seq), 0) + ?, ?, '', '', 'installation.restored', NULL FROM events",
                (_LEAP, at_ms),
            )


def sqlite_facts(path: Path) -> CopyFacts:
    """What the database at ``path`` holds. Raises ``StateConflict`` where it is not one of ours."""
    try:
        revision = stored_revision(path)
        if revision is None:
            raise StateConflict(f"{path.name} is empty")
        with closing(untouched(path)) as ours:
            row = ours.execute(QUERIES["installation.first"].sql).fetchone()
            images = ours.execute(QUERIES["builds.kept_images"].sql).fetchall()
    except sqlite3.Error as error:
        raise unavailable(error, path) or error from error
    if row is None:
        raise StateConflict(f"{path.name} belongs to no installation yet: serve from it first")
    return CopyFacts(revision, row[0], tuple((key, ref) for key, ref in images))
