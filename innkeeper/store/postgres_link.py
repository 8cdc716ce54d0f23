"""One connection to PostgreSQL in libpq's pipeline mode: statements are queued, and travel with the next
one whose answer is wanted.

Knows no transactions and no queries; what goes wrong is told in the words of ``postgres_errors``. A value's
type comes from the statement and never from the value: each statement is prepared once, and means one thing.
"""

import logging
import select
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import pq
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from innkeeper.core.errors import Invalid
from innkeeper.store.postgres_errors import Refused, away_at_connecting, lost

CONNECT_TIMEOUT_S = 3
STATEMENT_TIMEOUT_MS = 10_000
LOCK_TIMEOUT_MS = 5_000
# A server that stands still in the middle of a batch must not hold its locks for ever.
IDLE_IN_TRANSACTION_TIMEOUT_MS = 10_000
ANSWER_TIMEOUT_S = STATEMENT_TIMEOUT_MS / 1000 + 5
OLDEST_SERVER = 130_000

_SESSION = {
    "synchronous_commit": "on",
    "statement_timeout": str(STATEMENT_TIMEOUT_MS),
    "lock_timeout": str(LOCK_TIMEOUT_MS),
    "idle_in_transaction_session_timeout": str(IDLE_IN_TRANSACTION_TIMEOUT_MS),
    # What PostgreSQL asks of a client that has vanished with its machine, before it frees its locks.
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "3",
    "client_min_messages": "error",
    "jit": "off",
}
_DEFAULTS: dict[str, str | int] = {
    "application_name": "innkeeper",
    "connect_timeout": CONNECT_TIMEOUT_S,
    "target_session_attrs": "read-write",
    # What we ask of a PostgreSQL that has vanished with its machine.
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
_OK = (pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK, pq.ExecStatus.EMPTY_QUERY)
_BAD = pq.ConnStatus.BAD
_INTEGERS = (20, 21, 23, 26, 1700)  # int8, int2, int4, oid, numeric: sums of our integers
_FLOATS = (700, 701)
_BOOLEAN = 16

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Statement:
    """What is prepared under ``name``; ``params`` in the order of ``$1``, ``$2`` …"""

    name: bytes
    text: bytes
    params: tuple[str, ...]


class Answer:
    """What one statement gave: its rows as dicts, or how many it changed."""

    __slots__ = ("_result", "changed")

    def __init__(self, result: pq.abc.PGresult) -> None:
        self._result = result
        self.changed: int = result.command_tuples or 0

    @property
    def tag(self) -> bytes:
        """What was done, in PostgreSQL's words: COMMIT, ROLLBACK …"""
        return self._result.command_status or b""

    def rows(self, most: int | None = None) -> list[dict[str, Any]]:
        """The rows, or the first ``most`` of them."""
        result = self._result
        count = result.ntuples if most is None else min(most, result.ntuples)
        if not count:
            return []
        columns = []
        for column in range(result.nfields):
            label = (result.fname(column) or b"").decode()
            columns.append((column, label, _reader_of(result.ftype(column))))
        value = result.get_value
        rows = []
        for row in range(count):
            made = {}
            for column, name, read in columns:
                raw = value(row, column)
                made[name] = None if raw is None else read(raw)
            rows.append(made)
        return rows


class Link:
    """For one thread at a time. ``broken`` once the connection is closed or of no use any more, and
    ``timed_out`` where that is because no answer came.
    """

    def __init__(self, conninfo: str) -> None:
        """Connect. Raises ``Unavailable`` with what to do about it."""
        self.broken = self.timed_out = False
        self._prepared: set[bytes] = set()
        self._waiting: deque[bool] = deque()  # per command sent: whether its answer is wanted
        self._kept: list[Answer] = []  # that came before they were asked for
        self._syncs = 0  # points that were sent, and whose answer has not come
        try:
            self._connection = psycopg.Connection.connect(
                with_defaults(conninfo), autocommit=True, prepare_threshold=None
            )
        except (psycopg.Error, UnicodeError) as error:
            raise away_at_connecting(error) from error
        try:
            self._set_up()
        except psycopg.Error as error:
            self._connection.close()
            raise away_at_connecting(error) from error

    def _set_up(self) -> None:
        connection = self._connection
        with connection.cursor() as cursor:
            for name, value in _SESSION.items():
                cursor.execute("SELECT set_config(%s, %s, false)", (name, value))
        self._pg = connection.pgconn
        self._pg.nonblocking = 1
        self._pg.enter_pipeline_mode()
        self._readable = select.poll()
        self._readable.register(self._pg.socket, select.POLLIN)
        self._both = select.poll()
        self._both.register(self._pg.socket, select.POLLIN | select.POLLOUT)

    @property
    def server_version(self) -> int:
        """As 150018 for 15.18."""
        return self._pg.server_version

    def queue(self, statement: Statement, values: Sequence[Any], wanted: bool = False) -> None:
        """Send it with what comes later; ``wanted``: ``sync`` gives its answer."""
        encoded = [_encoded(value) for value in values]
        try:
            if statement.name not in self._prepared:
                self._prepare(statement)
            self._pg.send_query_prepared(statement.name, encoded)
        except psycopg.Error as error:
            raise self._lost(error) from error
        self._waiting.append(wanted)

    def command(self, text: bytes, values: Sequence[Any] = (), wanted: bool = False) -> None:
        """Queue a statement that is not prepared, such as COMMIT."""
        try:
            self._pg.send_query_params(text, [_encoded(value) for value in values])
        except psycopg.Error as error:
            raise self._lost(error) from error
        self._waiting.append(wanted)

    def sync(self) -> list[Answer]:
        """Send all that is queued and wait for it: the answers that are wanted, in order.

        Raises ``Refused`` for the first statement that failed (those after it were not run), and
        ``Unavailable`` where PostgreSQL is away; the link is then broken.
        """
        try:
            self._pg.pipeline_sync()
            self._syncs += 1
            return self._receive()
        except psycopg.Error as error:
            raise self._lost(error) from error

    def send(self) -> None:
        """Send all that is queued; the next ``sync`` waits for it, and tells what went wrong with it."""
        try:
            self._pg.pipeline_sync()
            self._syncs += 1
            self._pg.flush()  # what the socket does not take now goes with the next
        except psycopg.Error as error:
            raise self._lost(error) from error

    def close(self) -> None:
        """Let go of the connection; never raises."""
        self.broken = True
        try:
            self._connection.close()
        except psycopg.Error:
            log.debug("a connection did not close", exc_info=True)

    def end_transaction(self) -> None:
        """Roll back what is open, failed or not, after whatever is queued. Raises ``Unavailable``."""
        with suppress(Refused):
            self.sync()
        if self._pg.transaction_status != pq.TransactionStatus.IDLE:
            self.command(b"ROLLBACK")
            self.sync()

    def _prepare(self, statement: Statement) -> None:
        """Its own round trip, once for each statement and connection: so it is known to be prepared."""
        self._pg.send_prepare(statement.name, statement.text)
        self._waiting.append(False)
        self._kept = self.sync()  # with what was kept already
        self._prepared.add(statement.name)

    def _receive(self) -> list[Answer]:
        answers, self._kept = self._kept, []
        waiting = self._waiting
        refused: Refused | None = None
        deadline = time.monotonic() + ANSWER_TIMEOUT_S
        while self._syncs:
            result = self._next(deadline)
            if result is None:
                continue  # between the answers of two commands
            status = result.status
            if status in _OK:
                if waiting.popleft():
                    answers.append(Answer(result))
            elif status == pq.ExecStatus.PIPELINE_SYNC:
                self._syncs -= 1
            elif status == pq.ExecStatus.PIPELINE_ABORTED:
                waiting.popleft()
            else:
                if refused is None:
                    refused = Refused.of(result)
                if waiting:
                    waiting.popleft()
                if refused.fatal or self._pg.status == _BAD:
                    raise self._lost(refused)
        if refused is not None:
            raise refused
        return answers

    def _next(self, deadline: float) -> pq.abc.PGresult | None:
        pg = self._pg
        while pg.flush():
            self._wait(self._both, deadline)
            pg.consume_input()
        while pg.is_busy():
            self._wait(self._readable, deadline)
            pg.consume_input()
        result = pg.get_result()
        if result is None and pg.status == _BAD:
            raise psycopg.OperationalError(pg.get_error_message())
        return result

    def _wait(self, poller: "select.poll", deadline: float) -> None:
        left_ms = (deadline - time.monotonic()) * 1000
        if left_ms <= 0 or not poller.poll(left_ms):
            self.timed_out = True
            raise psycopg.OperationalError(f"no answer for {ANSWER_TIMEOUT_S:g} s")

    def _lost(self, error: Exception) -> Exception:
        self.close()
        return lost(error)


def with_defaults(conninfo: str) -> str:
    """``conninfo`` with our own words for what it leaves open.

    Reads ask the primary too: a standby may not have yet what a caller was answered.
    """
    return make_conninfo(
        "", **(_DEFAULTS | conninfo_to_dict(conninfo) | {"client_encoding": "UTF8"})
    )


def _encoded(value: Any) -> bytes | None:
    if value is None:
        return None
    kind = type(value)
    if kind is str:
        if "\0" in value:
            raise Invalid("body", "must not contain the character U+0000")
        return value.encode()  # type: ignore[no-any-return]
    if kind is int:
        return b"%d" % value
    if kind is bool:
        return b"1" if value else b"0"  # as SQLite keeps them
    if kind is float:
        return repr(value).encode()
    if isinstance(value, str):
        return _encoded(str(value))
    raise TypeError(f"a value of type {kind.__name__} cannot be stored")


def _reader_of(oid: int) -> Callable[[bytes], Any]:
    if oid in _INTEGERS:
        return int
    if oid in _FLOATS:
        return float
    return _truth if oid == _BOOLEAN else bytes.decode


def _truth(raw: bytes) -> int:
    return int(raw == b"t")
