"""Named queries on a connection to PostgreSQL: those of a read's snapshot, and those of a batch of writes."""

from collections.abc import Mapping, Sequence
from typing import Any

from innkeeper.core.errors import Unavailable
from innkeeper.interfaces import Row
from innkeeper.store.kept_rows import KeptRows
from innkeeper.store.postgres_errors import READ_ONLY, Refused
from innkeeper.store.postgres_link import Answer, Link, Statement
from innkeeper.store.queries import POSTGRES_QUERIES, Query, to_positional
from innkeeper.store.writer import Later, RunAgain


def _statement(query: Query) -> Statement:
    text, params = to_positional(query.sql)
    return Statement(query.name.encode(), text.encode(), params)


STATEMENTS: Mapping[str, Statement] = {
    query.name: _statement(query) for query in POSTGRES_QUERIES.values()
}


# The machine's row, if nobody holds it.
_TRY_CAPACITY = Statement(
    b"capacity.try_lock", b"SELECT node_id FROM machine FOR UPDATE SKIP LOCKED", ()
)
_NEED_CAPACITY = frozenset(("capacity.lock", "capacity.take"))


class PostgresTx:
    """Runs named queries in the transaction that is open on a link.

    Raises ``KeyError`` for a query that does not exist, ``TypeError`` for parameters that are not
    exactly the query's, ``ConstraintBroken``, and ``Unavailable``.
    """

    __slots__ = ("link",)

    def __init__(self, link: Link | None) -> None:
        self.link = link

    def one(self, query: str, **params: Any) -> Row | None:
        """See :class:`~innkeeper.interfaces.Tx`. Rows are dicts."""
        rows = self._fetched(query, params).rows(1)
        return rows[0] if rows else None

    def all(self, query: str, **params: Any) -> Sequence[Row]:
        """See :class:`~innkeeper.interfaces.Tx`. Rows are dicts."""
        return self._fetched(query, params).rows()

    def run(self, query: str, **params: Any) -> int:
        """See :class:`~innkeeper.interfaces.Tx`."""
        return self._fetched(query, params).changed

    def put(self, query: str, **params: Any) -> None:
        """See :class:`~innkeeper.interfaces.Tx`."""
        self._fetched(query, params)

    def _fetched(self, name: str, params: dict[str, Any]) -> Answer:
        raise NotImplementedError

    def _open_link(self) -> Link:
        if self.link is None:
            raise RuntimeError(
                "this transaction has ended: use it only in the function it was given to"
            )
        return self.link


def _values(statement: Statement, params: dict[str, Any]) -> list[Any]:
    try:
        values = [params[name] for name in statement.params]
    except KeyError:
        values = []
    if len(values) != len(params) or len(values) != len(statement.params):
        name = statement.name.decode()
        raise TypeError(f"{name} takes {sorted(statement.params)}, not {sorted(params)}")
    return values


class PostgresReadTx(PostgresTx):
    """Queries of one snapshot."""

    __slots__ = ()

    def _fetched(self, name: str, params: dict[str, Any]) -> Answer:
        statement = STATEMENTS[name]
        if POSTGRES_QUERIES[name].writes:
            raise TypeError(f"{name} writes: use Store.write")
        link = self._open_link()
        link.queue(statement, _values(statement, params), wanted=True)
        try:
            return link.sync()[-1]
        except Refused as refused:
            if refused.state == READ_ONLY:  # such as SELECT … FOR UPDATE
                raise TypeError(f"{name} locks rows: use Store.write") from refused
            raise refused.told(name) from refused


class PostgresWriteTx(PostgresTx):
    """Queries of one batch. What is ``put`` travels with the next query whose answer is wanted.

    In haste, a refused statement makes the batch run again ``in_step``: there each statement waits for
    its answer, and can be undone alone. ``marked``: the job at work can be undone alone. ``patient``: it
    waits for the machine's row; else a job that needs it while others hold it is run later.
    """

    __slots__ = (
        "again", "away", "careful", "has_capacity", "in_step", "kept", "lost_before", "marked",
        "patient", "wrote",
    )  # fmt: skip

    def __init__(self, patient: bool) -> None:
        super().__init__(None)
        self.patient = patient
        self.has_capacity = False  # whether this transaction holds the machine's row
        self.kept = KeptRows()
        self.away: Unavailable | None = None  # set once the open transaction cannot be trusted
        self.again: RunAgain | None = None  # set once the batch must be run again
        self.careful = self.in_step = self.marked = self.lost_before = False
        self.wrote = False  # since the job began

    def begin(self, link: Link, careful: bool, in_step: bool) -> None:
        """A transaction is open on ``link``."""
        self.link = link
        self.careful, self.in_step = careful, in_step
        self.away = self.again = None
        self.marked = self.wrote = self.has_capacity = False

    def one(self, query: str, **params: Any) -> Row | None:
        """See :class:`~innkeeper.interfaces.Tx`. Rows are dicts, and may be shared: they are not changed."""
        self.check()
        return self.kept.one(query, params, super().one)

    def put(self, query: str, **params: Any) -> None:
        """See :class:`~innkeeper.interfaces.Tx`; in haste it waits for what comes next."""
        if self.in_step:
            self._fetched(query, params)
            return
        statement = STATEMENTS[query]
        values = _values(statement, params)
        self.check()
        self._before(POSTGRES_QUERIES[query])
        try:
            self._open_link().queue(statement, values)
        except (Refused, Unavailable) as error:
            raise self.told(error, query) from error

    def check(self) -> None:
        """Raise what somebody caught and went on: the transaction is not to be used any more."""
        if self.away is not None:
            raise Unavailable(self.away.message)
        if self.again is not None:
            raise self.again

    def told(self, error: Refused | Unavailable, name: str) -> BaseException:
        """What to raise in its place; remembers that the transaction is not to be used any more."""
        link = self._open_link()
        if isinstance(error, Unavailable):
            if self.lost_before or link.timed_out:
                self.away = error
                return error
            # Nothing was committed: whatever was done is undone, and may be done on a new connection.
            self.lost_before = True
            self.again = RunAgain(careful=False)
            return self.again
        if error.renew:
            link.close()
        if error.run_again:
            self.again = RunAgain(careful=False)
            return self.again
        told = error.told(name)
        if isinstance(told, Unavailable):
            self.away = told
        elif not self.in_step:
            self.again = RunAgain(careful=True)
            return self.again
        return told

    def _fetched(self, name: str, params: dict[str, Any]) -> Answer:
        statement = STATEMENTS[name]
        values = _values(statement, params)
        self.check()
        if name in _NEED_CAPACITY and not (self.has_capacity or self.patient or self.wrote):
            # All that shares the batch would wait with it, and need not: most rooms find a free slot.
            if not self._answer(_TRY_CAPACITY, []).rows():
                raise Later
            self.has_capacity = True
        wrote = self.wrote
        self._before(POSTGRES_QUERIES[name])
        answer = self._answer(statement, values)
        # What changed nothing need not be undone.
        self.wrote = wrote or (self.wrote and answer.changed > 0)
        return answer

    def _answer(self, statement: Statement, values: list[Any]) -> Answer:
        link = self._open_link()
        try:
            if self.in_step:
                link.command(b"SAVEPOINT statement")
            link.queue(statement, values, wanted=True)
            if self.in_step:
                link.command(b"RELEASE statement")
            return link.sync()[-1]
        except (Refused, Unavailable) as error:
            told = self.told(error, statement.name.decode())
            if self.away is None and self.again is None:  # in step, and only the statement is wrong
                link.command(b"ROLLBACK TO statement")
                link.command(b"RELEASE statement")
                link.sync()
                self.kept.forget()
            raise told from error

    def _before(self, query: Query) -> None:
        if not query.writes:
            return
        self.kept.written(query)
        if self.careful and not self.marked:
            self._open_link().command(b"SAVEPOINT job")
            self.marked = True
        self.wrote = True
