"""The writer's connection to PostgreSQL: batches, locks of apps and regions, and a lost connection made anew.

Several servers write at once. What they decide rests on locks in the database that one batch holds
until its commit, and on rows that are locked as they are chosen (``sql/postgresql``).
"""

import time
from collections.abc import Sequence, Set

from innkeeper.core.errors import Unavailable
from innkeeper.interfaces import LockKey, Tx
from innkeeper.store.postgres_errors import LOCK_HELD, OUTCOME_UNKNOWN, Refused
from innkeeper.store.postgres_link import LOCK_TIMEOUT_MS, Link, Statement
from innkeeper.store.postgres_tx import PostgresWriteTx
from innkeeper.store.writer import RunAgain

RETRY_FIRST_S = 0.1
RETRY_LAST_S = 2.0
PATIENCE_MS = 500  # of a batch that waits for its locks; then it runs what it can
# A lock is a number made of app and region; the other one keeps it apart from other programs' locks.
_LOCKS = b"FROM unnest(string_to_array($1, E'\\n')) WITH ORDINALITY AS locks (key, place)"
_NUMBER = b"hashtextextended(key, 7461393)"
_TRY_LOCKS = Statement(
    b"locks.try",
    b"SELECT place " + _LOCKS + b" WHERE NOT pg_try_advisory_xact_lock(" + _NUMBER + b")",
    ("keys",),
)
_WAIT_FOR_LOCKS = Statement(
    b"locks.wait", b"SELECT pg_advisory_xact_lock(" + _NUMBER + b") " + _LOCKS, ("keys",)
)
_VERSION = Statement(b"settled.version", b"SELECT version FROM settled", ())
_NOBODY_ELSES: frozenset[LockKey] = frozenset()


class Connecting:
    """Makes connections; after one that failed, the next is not tried before a while has passed."""

    def __init__(self, conninfo: str) -> None:
        self._conninfo = conninfo
        self.pause_s = RETRY_FIRST_S
        self._not_before = 0.0
        self._away: Unavailable | None = None

    def link(self) -> Link:
        """A new one. Raises ``Unavailable``, at once where the last try was a moment ago."""
        if self._away is not None and time.monotonic() < self._not_before:
            raise Unavailable(self._away.message)
        try:
            link = Link(self._conninfo)
        except Unavailable as away:
            self._away = away
            self._not_before = time.monotonic() + self.pause_s
            self.pause_s = min(2 * self.pause_s, RETRY_LAST_S)
            raise
        self._away, self.pause_s = None, RETRY_FIRST_S
        return link


class PostgresWriteConnection:
    """See :class:`~innkeeper.store.writer.WriteConnection`. ``patient``: it waits for locks that somebody
    else holds, and only after a while says which those are.
    """

    def __init__(self, conninfo: str, patient: bool) -> None:
        """Call in the writer thread. Raises ``Unavailable`` where PostgreSQL is away."""
        self._connecting = Connecting(conninfo)
        self._patient = patient
        self._in_step = False  # the next batch
        self._tx = PostgresWriteTx(patient)
        self.careful = False
        self._link: Link | None = self._connecting.link()

    @property
    def tx(self) -> Tx:
        """What jobs write through."""
        return self._tx

    def begin(self, locks: Sequence[LockKey]) -> Set[LockKey]:
        """Begin, on a new connection where the former was lost; those of the locks that others hold."""
        link = self._link
        for _ in range(2):
            if link is None or link.broken:
                link = self._link = self._connecting.link()
            try:
                held = self._begun(link, locks)
            except Refused as refused:
                if refused.run_again:
                    raise RunAgain(careful=False) from refused
                raise refused.told("a batch") from refused
            except Unavailable:
                if link.timed_out or not link.broken:
                    raise
                continue  # it was lost while nothing was under way
            self._tx.begin(link, self.careful, self._in_step)
            return held
        raise Unavailable("the connection to PostgreSQL was lost twice; try again")

    def start_job(self) -> None:
        """Close the mark of the job before."""
        tx = self._tx
        tx.check()
        if tx.marked:
            self._command(b"RELEASE job")
            tx.marked = False
        tx.wrote = False

    def undo_job(self) -> bool:
        """Go back to the job's mark, if it needs one."""
        tx = self._tx
        tx.check()
        if not tx.wrote:
            return True
        tx.kept.forget()
        if tx.marked:
            self._command(b"ROLLBACK TO job")
            tx.has_capacity = False  # where the job took it
        return tx.marked

    def commit(self) -> None:
        """Durable when this returns. Raises ``Unavailable`` where the connection is lost meanwhile: then
        nobody knows.
        """
        tx, link = self._tx, self._link
        tx.check()
        assert link is not None, "a batch has begun"
        try:
            link.command(b"COMMIT", wanted=True)
            done = link.sync()[-1].tag
        except Refused as refused:
            raise tx.told(refused, "a write") from refused
        except Unavailable as error:
            raise Unavailable(OUTCOME_UNKNOWN) from error
        if done != b"COMMIT":
            raise RunAgain(careful=True)
        self._in_step = tx.lost_before = False
        tx.link = None

    def rollback(self) -> None:
        """Undo the batch; PostgreSQL does it where the connection is gone."""
        tx, link = self._tx, self._link
        if tx.again is not None:
            self._in_step = self._in_step or tx.again.careful
        else:
            self._in_step = tx.lost_before = False
        tx.kept.forget()
        tx.link = None
        if link is not None and not link.broken:
            try:
                link.end_transaction()
            except (Refused, Unavailable):
                link.close()

    def close(self) -> None:
        """Let go of PostgreSQL."""
        if self._link is not None:
            self._link.close()

    def _begun(self, link: Link, locks: Sequence[LockKey]) -> Set[LockKey]:
        keys = "\n".join(f"{app_id} {region}" for app_id, region in locks)
        if self._patient and locks:
            try:
                self._wait_for(link, keys)
                return _NOBODY_ELSES
            except Refused as refused:
                link.end_transaction()
                if refused.state != LOCK_HELD:
                    raise
        link.command(b"BEGIN")
        if locks:
            link.queue(_TRY_LOCKS, (keys,), wanted=True)
        link.queue(_VERSION, (), wanted=True)
        *tried, version = link.sync()
        self._tx.kept.seen(version.rows()[0]["version"])
        return {locks[row["place"] - 1] for row in tried[0].rows()} if tried else _NOBODY_ELSES

    def _wait_for(self, link: Link, keys: str) -> None:
        link.command(b"BEGIN")
        link.command(b"SET LOCAL lock_timeout = %d" % PATIENCE_MS)
        link.queue(_WAIT_FOR_LOCKS, (keys,))
        link.command(b"SET LOCAL lock_timeout = %d" % LOCK_TIMEOUT_MS)
        link.queue(_VERSION, (), wanted=True)
        self._tx.kept.seen(link.sync()[-1].rows()[0]["version"])

    def _command(self, text: bytes) -> None:
        assert self._link is not None, "a batch has begun"
        self._link.command(text)
