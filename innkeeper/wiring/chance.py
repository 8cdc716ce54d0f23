"""The system's randomness in shares: asking the kernel for each id gives the interpreter's lock away, and
the writer then waits for it.
"""

import os
from collections import deque

from innkeeper.core.ids import Ids

_SHARE_BYTES = 16
_SHARES = 256


class Chance:
    """``getrandbits`` of the system's randomness; each share is given out once. Safe in every thread."""

    def __init__(self) -> None:
        self._shares: deque[bytes] = deque()

    def getrandbits(self, count: int) -> int:
        """A random number of ``count`` bits."""
        size = (count + 7) // 8
        share = self._share() if size <= _SHARE_BYTES else os.urandom(size)
        return int.from_bytes(share, "big") >> (len(share) * 8 - count)

    def _share(self) -> bytes:
        while True:
            try:
                return self._shares.pop()  # one step: no two threads get the same
            except IndexError:
                more = os.urandom(_SHARES * _SHARE_BYTES)
                self._shares.extend(
                    more[at : at + _SHARE_BYTES] for at in range(0, len(more), _SHARE_BYTES)
                )


def system_ids() -> Ids:
    """Identifiers from the system's randomness."""
    return Ids(Chance().getrandbits)
