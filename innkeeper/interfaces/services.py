"""Logs of processes, and identities of players."""

from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from typing import Protocol

from innkeeper.core.players import GoogleIdentity
from innkeeper.interfaces.runtime import LogSource


class Logs(Protocol):
    """Reads process logs, whether the runtime still holds them or they have been kept."""

    def stream(self, process_id: str, tail_lines: int | None, follow: bool) -> AsyncIterator[bytes]:
        """Whole lines in order, without added timestamps; with ``follow``, on until the process has ended."""
        ...

    async def keep(self, process_id: str, source: LogSource | None) -> None:
        """Move what the runtime holds into our own files; safe to repeat."""
        ...

    async def prune(self, keep_after: Mapping[str, datetime] | None = None) -> None:
        """Remove kept logs past their retention."""
        ...


class GoogleIdentities(Protocol):
    """Checks id tokens that Google signed."""

    async def identity(self, id_token: str, client_id: str, now: datetime) -> GoogleIdentity:
        """Who the token is of, if it was made for ``client_id`` and is in its time.

        Raises ``Unauthenticated``, and ``Unavailable`` where Google's keys cannot be had.
        """
        ...
