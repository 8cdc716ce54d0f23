"""What PostgreSQL says went wrong, in our words: away, a broken constraint, or to be run again.

The texts reach callers of the API: they name no host, no user and no database.
"""

import psycopg
from psycopg import pq

from innkeeper.core.errors import ConstraintBroken, Unavailable

# By SQLSTATE, the whole or its class. What says that the database is away, not that a statement is wrong.
_AWAY = {
    "08": "the connection to PostgreSQL was lost; it is made anew with the next call",
    "57P01": "PostgreSQL is shutting down, or ended our connection; try again when it is back",
    "57P02": "PostgreSQL crashed and recovers; try again in a moment",
    "57P03": "PostgreSQL is starting up or recovering; try again in a moment",
    "57P05": "PostgreSQL ended a connection that was idle for too long; try again",
    "57014": "PostgreSQL took too long for a statement: look at its load, its disk and its locks",
    "55P03": "other servers hold what this needs; try again",
    "25P03": "PostgreSQL ended a transaction of ours that stood still: this server was stopped or overloaded",
    "25006": "PostgreSQL is read-only here: name the primary in the database URL, not a standby",
    "28": "PostgreSQL refuses our user or password: check the database URL",
    "3D000": "the database does not exist: make it with createdb, or check the database URL",
    "42501": "our PostgreSQL user lacks a privilege: it must own the database's tables",
    "53100": "disk full: free some space where PostgreSQL keeps its data; what was answered is safe",
    "53200": "PostgreSQL is out of memory",
    "53300": "PostgreSQL has no connection left: raise its max_connections, or run fewer servers",
    "53": "PostgreSQL lacks resources: look at its log",
    "58": "disk error where PostgreSQL keeps its data: check the disk, its free space, its log",
    "XX001": "PostgreSQL's data is damaged: stop, and restore a backup",
    "XX002": "PostgreSQL's index is damaged: stop, and restore a backup",
}
# Deadlocks, serialization failures, and statements prepared for a schema that another server has changed.
_RUN_AGAIN = ("40001", "40P01", "0A000", "26000")
# After these a new connection is worth a try: it may reach the primary, or see the schema as it is now.
_RENEW = ("0A000", "26000", "25006")
LOCK_HELD = "55P03"
READ_ONLY = "25006"
OUTCOME_UNKNOWN = (
    "PostgreSQL went away while this was being committed: whether it was kept is not known; "
    "look before you ask again"
)
_LOST = "PostgreSQL does not answer: check that it runs; what was answered is safe"


class Refused(Exception):
    """PostgreSQL refused a statement; what follows in the transaction is refused too."""

    def __init__(self, state: str, message: str, fatal: bool) -> None:
        super().__init__(message)
        self.state = state
        self.message = message
        self.fatal = fatal

    @classmethod
    def of(cls, result: pq.abc.PGresult) -> "Refused":
        """From the result that says so."""

        def field(code: int) -> str:
            return (result.error_field(code) or b"").decode("utf-8", "replace")

        severity = field(pq.DiagnosticField.SEVERITY_NONLOCALIZED)
        state = field(pq.DiagnosticField.SQLSTATE)
        message = field(pq.DiagnosticField.MESSAGE_PRIMARY) or result.get_error_message()
        constraint = field(pq.DiagnosticField.CONSTRAINT_NAME)
        if constraint and constraint not in message:
            message = f"{message} ({constraint})"
        return cls(state, message, severity in ("FATAL", "PANIC"))

    @property
    def run_again(self) -> bool:
        """Whether another server was in the way, so that the same may succeed now."""
        return self.state in _RUN_AGAIN

    @property
    def renew(self) -> bool:
        """Whether a new connection may do better."""
        return self.state in _RENEW

    def told(self, query: str) -> Exception:
        """The error to raise in its place, for a statement that is called ``query``."""
        advice = _advice(self.state)
        if advice is not None:
            return Unavailable(advice)
        if self.state.startswith("23"):
            return ConstraintBroken(f"{query}: {self.message}")
        return StatementWrong(f"{query}: {self.message} (SQLSTATE {self.state})")


class StatementWrong(Exception):
    """A statement of ours is wrong for this database: a mistake in the package."""


def lost(error: Exception) -> Unavailable:
    """The error to raise where the connection ended."""
    state = error.state if isinstance(error, Refused) else getattr(error, "sqlstate", None)
    return Unavailable(_advice(state or "") or _LOST)


def away_at_connecting(error: Exception) -> Unavailable:
    """The error to raise where no connection can be made."""
    state = getattr(error, "sqlstate", None)
    if state is None and isinstance(error, psycopg.OperationalError):
        text = str(error)
        for words, of in _CONNECTING:
            if words in text:
                state = of
                break
    return Unavailable(_advice(state or "") or _LOST)


# libpq gives no SQLSTATE where a connection was refused by the server: only its words.
_CONNECTING = (
    ("password", "28000"),
    ("pg_hba.conf", "28000"),
    ("role ", "28000"),
    ("does not exist", "3D000"),
    ("starting up", "57P03"),
    ("shutting down", "57P01"),
    ("recovery mode", "57P02"),
    ("too many", "53300"),
    ("remaining connection slots", "53300"),
    ("read-only", "25006"),
)


def _advice(state: str) -> str | None:
    return _AWAY.get(state) or _AWAY.get(state[:2])
