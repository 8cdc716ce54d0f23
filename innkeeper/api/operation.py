"""One row per operation: how a request is read, what runs, how its answer is written.

A family file (``rooms.py`` …) ends with its rows: ``OPERATIONS = (Operation("CreateRoom", read=…, run=…,
write=…, scope="processes:read-write"), …)``. Path, method, status and security stand in the contract.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from innkeeper.api.contract import Contract, Declaration
from innkeeper.api.request import Request
from innkeeper.core.accounts import SCOPES
from innkeeper.interfaces import LockKey, Policy, Tx

Kind = Literal["write", "read", "async"]
# In place of a scope: any valid org or user token will do. Such an operation is about the caller itself, in
# whichever organization its path names, and checks by itself what more it needs.
ANY_CALLER = "any"


@dataclass(frozen=True, slots=True)
class Operation:
    """A row. ``kind`` says how ``run`` is called; ``caller`` is ``None`` where no token is asked for.

    - ``write``: ``run(tx, caller, input, context)`` in a transaction that is durable before the answer;
      every key in ``context.wake`` is handed on after the commit.
    - ``read``: the same on what is committed.
    - ``async``: ``await run(services, caller, input, context)``; it opens its own transactions, and what
      they leave in ``context.wake`` is handed on when it returns.

    ``read(request)`` makes the use case's input and is pure. ``write(result)`` makes a wire struct (or a
    list, text, number, boolean), ``None`` where the success has no body, a :class:`Stream` or a
    :class:`Raw`. ``scope`` is needed on every operation with an org token, and is checked before ``run``.

    A ``write`` that changes rooms or processes says which locks it needs: ``locks`` tells them from what was
    asked, ``finds_locks`` by a read on what is committed.

    ``waiting`` runs in place of ``run`` where the query holds ``wait``, as an ``async`` one does. It may take
    its time, but no longer than its client stays.
    """

    operation_id: str
    read: Callable[[Request], Any]
    run: Callable[..., Any]
    write: Callable[[Any], Any]
    kind: Kind = "write"
    scope: str | None = None
    locks: Callable[[Request, Any, Policy], Collection[LockKey]] | None = None
    finds_locks: Callable[[Tx, Any], Collection[LockKey]] | None = None
    waiting: Callable[..., Awaitable[Any]] | None = None


@dataclass(frozen=True, slots=True)
class Stream:
    """An answer sent piece by piece, unframed. Where the client leaves, ``chunks`` is closed."""

    chunks: AsyncIterator[bytes]
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Raw:
    """An answer that is not JSON, or whose status or headers are its own (upload-part URLs, old routes)."""

    body: bytes
    media_type: str
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


def under_names(rows: Iterable[Operation], names: Mapping[str, str]) -> tuple[Operation, ...]:
    """The rows that an older version has as they are, under its own names: ``names`` is newest to old."""
    newest = {row.operation_id: row for row in rows}
    return tuple(replace(newest[new], operation_id=old) for new, old in names.items())


def bind(
    contract: Contract, rows: Iterable[Operation]
) -> dict[str, tuple[Declaration, Operation | None]]:
    """Every declared operation with its row, or with ``None`` where it has none yet.

    Raises ``ValueError`` for a row that is not declared, is there twice, or lacks the scope its token needs.
    """
    bound: dict[str, tuple[Declaration, Operation | None]] = {
        name: (declaration, None) for name, declaration in contract.operations.items()
    }
    for row in rows:
        if row.operation_id not in bound:
            raise ValueError(f"{row.operation_id} is neither in the contract nor in the extensions")
        declaration, earlier = bound[row.operation_id]
        if earlier is not None:
            raise ValueError(f"{row.operation_id} has two rows")
        if (declaration.security == "org") != (row.scope is not None):
            raise ValueError(f"{row.operation_id} needs a scope exactly if it needs an org token")
        if row.scope is not None and row.scope not in (*SCOPES, ANY_CALLER):
            raise ValueError(f"{row.operation_id} asks for an unknown scope: {row.scope}")
        bound[row.operation_id] = (declaration, row)
    return bound
