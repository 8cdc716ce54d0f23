"""The one mapping of errors to HTTP (behaviour.md 9).

Every answer is ``{"message": …}`` with a status that the operation declares.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from innkeeper.core import errors

log = logging.getLogger(__name__)

STATUSES: Mapping[type[errors.InnkeeperError], int] = {
    errors.InnkeeperError: 500,
    errors.Invalid: 422,
    errors.Unauthenticated: 401,
    errors.MissingScope: 401,
    errors.NotFound: 404,
    errors.StateConflict: 400,
    errors.PaymentRequired: 402,
    errors.Exhausted: 429,
    errors.NoCapacity: 429,
    errors.Gone: 410,
    errors.TooLarge: 413,
    errors.TimedOut: 408,
    errors.Unavailable: 503,
    errors.LeaseLost: 503,
    errors.NotImplementedYet: 501,
    errors.RuntimeFailure: 500,
    errors.StartFailed: 500,
    errors.PortTaken: 500,
    errors.BuildFailed: 400,
    errors.ConstraintBroken: 500,
    errors.RuntimeAway: 503,
}

# Where an operation does not declare a status, a client knows only those it declares (clarifications).
INSTEAD: Mapping[int, tuple[int, ...]] = {
    422: (400, 404, 401),
    404: (401,),
    400: (422, 404),
    410: (404,),
    402: (429,),
}
RETRY_AFTER_S = 2


@dataclass(frozen=True, slots=True)
class ErrorAnswer:
    """A finished error answer."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


def declared(status: int, statuses: frozenset[int]) -> int:
    """``status``, or the one this operation declares in its place."""
    if status in statuses:
        return status
    return next((other for other in INSTEAD.get(status, ()) if other in statuses), status)


def answer(
    error: BaseException,
    statuses: frozenset[int] = frozenset(),
    error_id: str = "",
    value: Any = None,
) -> ErrorAnswer:
    """The answer to an error.

    ``statuses`` is what the operation declares, ``value`` what stood at a bad field. An error that nobody
    meant to raise is logged with its story under ``error_id``, and tells the client no more than that.
    """
    status = STATUSES.get(type(error), 500) if isinstance(error, errors.InnkeeperError) else 500
    if status == 500:
        log.error("Internal error (id %s)", error_id, exc_info=error)
        return ErrorAnswer(500, body_of(f"Internal error (id {error_id})"))
    assert isinstance(error, errors.InnkeeperError)
    headers = {}
    if isinstance(error, errors.Exhausted | errors.Unavailable):
        headers["retry-after"] = str(max(1, error.retry_after_s))
    elif status in (429, 503):
        headers["retry-after"] = str(RETRY_AFTER_S)
    body = body_of(error.message)
    if isinstance(error, errors.Invalid):
        detail: dict[str, Any] = {"message": error.problem}
        if value is not None:
            detail["value"] = value
        shown = {"message": error.message, "details": {error.field: detail}}
        body = msgspec.json.encode(shown)
    return ErrorAnswer(declared(status, statuses) if statuses else status, body, headers)


def body_of(message: str) -> bytes:
    """An ApiError."""
    return msgspec.json.encode({"message": message})
