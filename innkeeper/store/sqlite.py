"""The embedded store: SQLite in WAL mode, every commit synced, one writer thread, reads beside it.

Must not know what is stored: statements come by name from ``store/sql``, the schema from the
migrations.
"""

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Collection, Sequence, Set
from pathlib import Path
from typing import Any, TypeVar

from innkeeper.core.errors import ConstraintBroken, Unavailable
from innkeeper.interfaces import LockKey, Row, Tx
from innkeeper.store.kept_rows import KeptRows
from innkeeper.store.queries import QUERIES, Query
from innkeeper.store.writer import BATCH_MAX, QUEUE_MAX, Writer

T = TypeVar("T")

log = logging.getLogger(__name__)

BUSY_TIMEOUT_MS = 5000  # how long another program may hold the database before we give up
# Pages of 4 KiB in the log before a commit moves them into the database: 16 MiB, measured at 11 ms.
# Our reads are too short to hold that up. A backup can; the log shrinks again after it.
CHECKPOINT_PAGES = 4096
_LOG_BYTES_KEPT = 32 * 1024 * 1024
_CACHE_KIB = 32 * 1024
_NOBODY_ELSES: frozenset[LockKey] = frozenset()

# What says that the database is away, not that a statement is wrong. After some of these SQLite has
# silently rolled the transaction back, so that no later statement of the batch may run.
_AWAY = {
    sqlite3.SQLITE_FULL: "disk full: free some space where {path} is; what was answered is safe",
    sqlite3.SQLITE_IOERR: "disk error at {path}: check the disk, its free space, the system's log",
    sqlite3.SQLITE_READONLY: "{path} cannot be written: check its owner, its mode and the mount",
    sqlite3.SQLITE_CANTOPEN: "{path} cannot be opened: check that it and its directory exist",
    sqlite3.SQLITE_CORRUPT: "{path} is damaged: stop, and restore a backup",
    sqlite3.SQLITE_NOTADB: "{path} is not a database, or is damaged: stop, and restore a backup",
    sqlite3.SQLITE_NOMEM: "out of memory while writing {path}",
    sqlite3.SQLITE_BUSY: "{path} is locked by another program: end that program",
    sqlite3.SQLITE_LOCKED: "{path} is locked by another program: end that program",
    sqlite3.SQLITE_PROTOCOL: "{path} is locked by another program: end that program",
    sqlite3.SQLITE_INTERRUPT: "a write to {path} was interrupted; try again",
}


def connect(path: Path) -> sqlite3.Connection:
    """A connection to the database at ``path``, without implicit transactions."""
    connection = sqlite3.connect(path, isolation_level=None, cached_statements=512)
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA temp_store = MEMORY")  # what a savepoint sets aside needs no file
    cursor.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
    cursor.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
    cursor.execute(f"PRAGMA journal_size_limit = {_LOG_BYTES_KEPT}")
    return connection


class SqliteTx:
    """Runs named queries on one connection, in whatever transaction is open there.

    Raises ``KeyError`` for a query that does not exist, ``TypeError`` for parameters that are not
    exactly the query's, and ``ConstraintBroken``.
    """

    __slots__ = ("_columns", "_cursor", "_path", "_queries", "away")

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._cursor = connection.cursor()
        self._path = path
        self._queries = QUERIES
        self._columns: dict[str, tuple[str, ...]] = {}
        self.away: Unavailable | None = None  # set once the open transaction cannot be trusted

    def control(self, sql: str) -> None:
        """Begin or end a transaction or a part of one."""
        # On the cursor of the queries: rows that a query left unread are dropped first. They would
        # hold the write-ahead log.
        try:
            self._cursor.execute(sql)
        except sqlite3.Error as error:
            self.away = unavailable(error, self._path)
            raise self.away or error from error

    def one(self, query: str, **params: Any) -> Row | None:
        """See :class:`~innkeeper.interfaces.Tx`. Rows are dicts."""
        columns = self._execute(query, params)
        try:
            row = self._cursor.fetchone()
        except sqlite3.Error as error:
            raise self._told(error, query) from error
        return None if row is None else dict(zip(columns, row, strict=True))

    def all(self, query: str, **params: Any) -> Sequence[Row]:
        """See :class:`~innkeeper.interfaces.Tx`. Rows are dicts."""
        columns = self._execute(query, params)
        try:
            rows = self._cursor.fetchall()
        except sqlite3.Error as error:
            raise self._told(error, query) from error
        return [dict(zip(columns, row, strict=True)) for row in rows]

    def run(self, query: str, **params: Any) -> int:
        """See :class:`~innkeeper.interfaces.Tx`."""
        self._execute(query, params)
        cursor = self._cursor
        if cursor.rowcount >= 0:
            return cursor.rowcount
        # The sqlite3 module does not count where the statement begins with WITH or returns rows.
        try:
            cursor.fetchall()
            return int(cursor.execute("SELECT changes()").fetchone()[0])
        except sqlite3.Error as error:
            raise self._told(error, query) from error

    def put(self, query: str, **params: Any) -> None:
        """See :class:`~innkeeper.interfaces.Tx`; here at once."""
        self._execute(query, params)

    def _execute(self, name: str, params: dict[str, Any]) -> tuple[str, ...]:
        query = self._queries[name]
        if len(params) != len(query.params):
            raise _wrong_params(query, params)
        self._before(query)
        cursor = self._cursor
        try:
            cursor.execute(query.sql, params)
        except sqlite3.ProgrammingError as error:
            if params.keys() == query.params:
                raise
            raise _wrong_params(query, params) from error
        except sqlite3.Error as error:
            raise self._told(error, name) from error
        columns = self._columns.get(name)
        if columns is None:
            columns = tuple(column[0] for column in cursor.description or ())
            self._columns[name] = columns
        return columns

    def _before(self, query: Query) -> None:
        raise NotImplementedError

    def _told(self, error: sqlite3.Error, query: str) -> Exception:
        """The error to raise in its place; remembers when the database is away."""
        if isinstance(error, sqlite3.IntegrityError):
            return ConstraintBroken(f"{query}: {error}")
        away = unavailable(error, self._path)
        if away is None:
            return error
        self.away = away
        return away


class _ReadTx(SqliteTx):
    __slots__ = ()

    def _before(self, query: Query) -> None:
        if query.writes:
            raise TypeError(f"{query.name} writes: use Store.write")


class _WriteTx(SqliteTx):
    """Knows what a job changed; keeps rows of tables that seldom change.

    Nobody else can write while a batch runs, so a row that was read stays true until this connection
    writes to its tables, or (seen at the beginning of a batch) another one to the database.
    """

    __slots__ = ("_connection", "_job_from", "_kept", "careful", "marked")

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        super().__init__(connection, path)
        self._connection = connection
        self._job_from = 0
        self._kept = KeptRows()
        self.careful = False
        self.marked = False

    def begin(self) -> None:
        """Take SQLite's one write lock."""
        self.away = None
        self.marked = False
        self.control("BEGIN IMMEDIATE")
        self._kept.seen(self._cursor.execute("PRAGMA data_version").fetchone()[0])

    def start_job(self) -> None:
        """Close the mark of the job before."""
        if self.away is not None:
            raise self.away
        if self.marked:
            self.control("RELEASE job")
            self.marked = False
        self._job_from = self._connection.total_changes

    def undo_job(self) -> bool:
        """Go back to where the job began; false where there is no mark and it changed something."""
        if self.away is not None:
            raise self.away
        if self._connection.total_changes == self._job_from:
            return True
        self._kept.forget()
        if self.marked:
            self.control("ROLLBACK TO job")
        return self.marked

    def forget(self) -> None:
        """Keep no rows: the batch is undone."""
        self._kept.forget()

    def one(self, query: str, **params: Any) -> Row | None:
        """See :class:`~innkeeper.interfaces.Tx`. Rows are dicts, and may be shared: they are not changed."""
        if self.away is not None:
            raise Unavailable(self.away.message)
        return self._kept.one(query, params, super().one)

    def _before(self, query: Query) -> None:
        if self.away is not None:
            # Somebody caught the error and goes on; but the transaction may be gone.
            raise Unavailable(self.away.message)
        if not query.writes:
            return
        self._kept.written(query)
        if self.careful and not self.marked:
            self.control("SAVEPOINT job")
            self.marked = True


class SqliteWriteConnection:
    """The writer's connection; see :class:`~innkeeper.store.writer.WriteConnection`."""

    def __init__(self, path: Path) -> None:
        """Call in the writer thread."""
        self._connection = connect(path)
        self._tx = _WriteTx(self._connection, path)
        self.careful = False

    @property
    def tx(self) -> Tx:
        """What jobs write through."""
        return self._tx

    def begin(self, locks: Sequence[LockKey]) -> Set[LockKey]:
        """Take SQLite's one write lock, which holds all others."""
        self._tx.careful = self.careful
        self._tx.begin()
        return _NOBODY_ELSES

    def start_job(self) -> None:
        """Close the mark of the job before."""
        self._tx.start_job()

    def undo_job(self) -> bool:
        """Go back to the job's mark, if it needs one."""
        return self._tx.undo_job()

    def commit(self) -> None:
        """Write the log and sync it."""
        if self._tx.away is not None:
            raise self._tx.away
        self._tx.control("COMMIT")

    def rollback(self) -> None:
        """Undo the batch, unless SQLite has already done so."""
        self._tx.forget()
        if self._connection.in_transaction:
            try:
                self._tx.control("ROLLBACK")
            except (sqlite3.Error, Unavailable):
                # Then the next BEGIN fails too, and tells its callers.
                log.exception("a batch could not be rolled back")

    def close(self) -> None:
        """The last connection that closes moves the log into the database."""
        self._connection.close()


class SqliteStore:
    """See :class:`~innkeeper.interfaces.Store`. Belongs to the event loop it was opened in."""

    def __init__(
        self,
        path: Path,
        write_connection: Callable[[Path], SqliteWriteConnection] = SqliteWriteConnection,
        batch_max: int = BATCH_MAX,
        queue_max: int = QUEUE_MAX,
    ) -> None:
        """A database that is already migrated; ``open`` before use."""
        self.path = path
        self._writer = Writer(lambda: write_connection(path), batch_max, queue_max)
        self._reader: sqlite3.Connection | None = None
        self._read_tx: _ReadTx

    @property
    def commits(self) -> int:
        """How many transactions the writer has ended; many writes share one."""
        return self._writer.commits

    async def open(self) -> None:
        """Open both connections. Raises ``Unavailable`` where the database cannot be opened."""
        try:
            reader = connect(self.path)
            try:
                reader.execute("PRAGMA query_only = ON")
                await self._writer.open()
            except BaseException:
                reader.close()
                raise
        except sqlite3.Error as error:
            raise unavailable(error, self.path) or error from error
        self._reader = reader
        self._read_tx = _ReadTx(reader, self.path)

    def write(self, fn: Callable[[Tx], T], locks: Collection[LockKey] = ()) -> asyncio.Future[T]:
        """Run ``fn`` in the writer thread; done after the commit that holds it, which many share.

        Raises what ``fn`` raised; ``ConstraintBroken``; ``Unavailable`` when the disk is full or
        fails, when too much waits, and after ``close``.
        """
        return self._writer.submit(fn)

    def after_commits(self, call: Callable[[], None]) -> None:
        """See :class:`~innkeeper.interfaces.Store`."""
        self._writer.after_commits = call

    async def read(self, fn: Callable[[Tx], T]) -> T:
        """Run ``fn`` here and now on one snapshot of what is committed.

        It holds up the event loop: for indexed reads of microseconds. Raises what ``fn`` raised, and
        ``Unavailable`` where the database is away.
        """
        reader = self._reader
        if reader is None:
            raise Unavailable("shutting down: the store is closed")
        tx = self._read_tx
        tx.control("BEGIN")
        try:
            return fn(tx)
        finally:
            if reader.in_transaction:  # a failing disk may have ended it
                tx.control("COMMIT")

    async def close(self) -> None:
        """Finish the writes under way and close; safe to repeat."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None
        await self._writer.close()


def unavailable(error: sqlite3.Error, path: Path) -> Unavailable | None:
    """The error to answer where the database is away; ``None`` where the statement is wrong.

    It names the file but not its directory: the text reaches callers of the API.
    """
    code = getattr(error, "sqlite_errorcode", None)
    advice = None if code is None else _AWAY.get(code & 0xFF)
    return None if advice is None else Unavailable(f"{advice.format(path=path.name)} ({error})")


def _wrong_params(query: Query, params: dict[str, Any]) -> TypeError:
    return TypeError(f"{query.name} takes {sorted(query.params)}, not {sorted(params)}")
