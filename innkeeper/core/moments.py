"""Moments: UTC datetimes with a zone in the core, whole milliseconds since the epoch in the store."""

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)


def to_ms(moment: datetime) -> int:
    """Whole milliseconds since the epoch; refuses a moment without a zone."""
    return (moment - _EPOCH) // _MS


def from_ms(ms: int) -> datetime:
    """The UTC moment ``ms`` milliseconds after the epoch."""
    return _EPOCH + timedelta(milliseconds=ms)


def maybe_from_ms(ms: int | None) -> datetime | None:
    """As :func:`from_ms`; a moment that has not come stays ``None``."""
    return None if ms is None else _EPOCH + timedelta(milliseconds=ms)


def maybe_to_ms(moment: datetime | None) -> int | None:
    """As :func:`to_ms`; a moment that has not come stays ``None``."""
    return None if moment is None else (moment - _EPOCH) // _MS


def shown(moment: datetime) -> str:
    """``2026-01-31T12:00:00.000Z``, as everything of ours shows moments."""
    utc = moment.astimezone(UTC).replace(tzinfo=None)
    return f"{utc.isoformat(timespec='milliseconds')}Z"


def truncate(moment: datetime) -> datetime:
    """The moment as the store will keep it: whole milliseconds."""
    return from_ms(to_ms(moment))
