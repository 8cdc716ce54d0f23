"""How often one address, or one org token, may call; above that 429 with Retry-After (behaviour.md 0.2, 9).

Each kind of call has a bucket for each caller, that fills again steadily. In memory only, and bounded: a
restart, or very many callers at once, forgets some, and lets their next calls pass.
"""

import math
import time
from collections.abc import Callable
from ipaddress import IPv6Address
from typing import TYPE_CHECKING

from innkeeper.core.errors import Exhausted

if TYPE_CHECKING:
    from innkeeper.api.contract import Declaration

CALLERS_MAX = 65_536
OWN_RATES_MAX = 8192  # tokens with a rate of their own; a limit each, of half a kilobyte
_TOKEN_CALLS = "calls with this token"  # noqa: S105 (words of a message, not a secret)


class RateLimit:
    """``count`` calls at once, and then as many in each ``period_s``, for each caller."""

    __slots__ = ("_burst_s", "_callers_max", "_full_at", "_message", "_monotonic", "_step_s")

    def __init__(
        self,
        what: str,
        count: int,
        period_s: float,
        monotonic: Callable[[], float] = time.monotonic,
        callers_max: int = CALLERS_MAX,
    ) -> None:
        """``count`` is at least 1; ``what`` names the calls for the message."""
        unit = {1.0: "second", 60.0: "minute"}.get(period_s, f"{period_s:g} seconds")
        self._message = f"Too many {what}: at most {count} in a {unit}"
        self._step_s = period_s / count
        self._burst_s = period_s - self._step_s
        self._monotonic = monotonic
        self._callers_max = callers_max
        # When each caller's bucket will be full again, those who called last at the end.
        self._full_at: dict[object, float] = {}

    def take(self, caller: object) -> None:
        """Count a call. Raises :class:`Exhausted` where it is one too many; such calls do not count."""
        now, full_at = self._monotonic(), self._full_at
        full = max(full_at.pop(caller, now), now)
        wait = full - now - self._burst_s
        # A hair's breadth is left to rounding: after a whole period the whole count is there again.
        refused = wait > self._step_s * 1e-6
        full_at[caller] = full if refused else full + self._step_s
        if len(full_at) > self._callers_max:
            del full_at[next(iter(full_at))]
        if refused:
            raise Exhausted(self._message, math.ceil(wait))


class TokenLimit:
    """What each org token may call: as often as its own rate says, else as often as every token may.

    A token's own rate is learned when its holder is looked up, so that calls above it are refused without
    looking; a forgotten or changed one is learned again with the next call that passes.
    """

    __slots__ = ("_monotonic", "_own", "_rates_max", "_usual")

    def __init__(
        self,
        usual: RateLimit | None,
        monotonic: Callable[[], float] = time.monotonic,
        rates_max: int = OWN_RATES_MAX,
    ) -> None:
        self._usual = usual
        self._monotonic = monotonic
        self._rates_max = rates_max
        # By token: its own rate and limit, those who called last at the end.
        self._own: dict[object, tuple[int, RateLimit | None]] = {}

    def take(self, caller: object) -> None:
        """Count a call. Raises :class:`Exhausted` where it is one too many."""
        own = self._own.pop(caller, None) if self._own else None
        limit = self._usual
        if own is not None:
            self._own[caller] = own
            limit = own[1]
        if limit is not None:
            limit.take(caller)

    def learn(self, caller: object, rate: int | None) -> None:
        """What the caller's own rate is: 0 for no limit, ``None`` where it has none of its own.

        The call that told it is the first that counts.
        """
        if rate is None:
            if self._own:
                self._own.pop(caller, None)
            return
        known = self._own.get(caller)
        if known is not None and known[0] == rate:
            return
        limit = None
        if rate:
            limit = RateLimit(_TOKEN_CALLS, rate, 1.0, self._monotonic, callers_max=1)
            limit.take(caller)
        self._own[caller] = rate, limit
        if len(self._own) > self._rates_max:
            del self._own[next(iter(self._own))]


class RateLimits:
    """Which limit each operation has. 0 is no limit, for an org token unless it has one of its own."""

    def __init__(
        self,
        *,
        logins_per_minute: int = 0,
        lobby_calls_per_minute: int = 0,
        public_reads_per_second: int = 0,
        polls_per_second: int = 0,
        developer_calls_per_second: int = 0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        def limit(what: str, count: int, period_s: float) -> RateLimit | None:
            return RateLimit(what, count, period_s, monotonic) if count else None

        self._logins = limit("logins from this address", logins_per_minute, 60.0)
        self._lobbies = limit("lobby calls from this address", lobby_calls_per_minute, 60.0)
        self._reads = limit("reads from this address", public_reads_per_second, 1.0)
        self._polls = limit("polls from this address", polls_per_second, 1.0)
        usual = limit(_TOKEN_CALLS, developer_calls_per_second, 1.0)
        self._developers = TokenLimit(usual, monotonic)

    def of(self, declaration: "Declaration") -> RateLimit | TokenLimit | None:
        """The limit that an operation shares with others of its kind.

        By its security and method, so that a new operation has one too. Ours have none: links to upload
        parts carry their own permission. Neither have those that may not answer 429.
        """
        if declaration.extension or 429 not in declaration.errors:
            return None
        if declaration.security == "org":
            return self._developers
        if declaration.security == "player":
            return self._lobbies
        if declaration.method != "GET":
            return self._logins
        return self._polls if "/connectioninfo/" in declaration.path else self._reads


def address_key(address: str) -> object:
    """What stands for a client: its IPv4 address; of IPv6 the first half, for one home has all the rest."""
    if ":" not in address:
        return address
    try:
        parsed = IPv6Address(address)
    except ValueError:
        return address
    return str(parsed.ipv4_mapped) if parsed.ipv4_mapped else parsed.packed[:8]
