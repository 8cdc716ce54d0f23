"""Identifiers (behaviour.md 1.2). Chance is handed in, so that a simulation can replay it."""

import string
from collections.abc import Callable
from uuid import UUID

_BASE36 = string.digits + string.ascii_lowercase
_URL_SAFE = string.ascii_letters + string.digits


def base36(number: int) -> str:
    """``number`` (not negative) in lower-case base 36."""
    digits = []
    while True:
        number, rest = divmod(number, 36)
        digits.append(_BASE36[rest])
        if not number:
            return "".join(reversed(digits))


class Ids:
    """Makes identifiers from ``getrandbits(n)``: ``random.SystemRandom`` in service, a seed in simulation."""

    def __init__(self, getrandbits: Callable[[int], int]) -> None:
        self._bits = getrandbits

    def uuid(self) -> str:
        """A bare lower-case UUID4: process ids, room allocation ids, sandbox ids."""
        return str(UUID(int=self._bits(128), version=4))

    def prefixed(self, prefix: str) -> str:
        """``app-<uuid4>``, ``secret-…``, ``org-…``, ``org-token-…``, ``bld-…``, ``dep-…``,
        ``fleet-…``, ``node-…``.
        """
        return f"{prefix}-{self.uuid()}"

    def room_id(self) -> str:
        """A random 64-bit number in base 36: 13 characters at the most."""
        return base36(self._bits(64))

    def secret(self, length: int = 43) -> str:
        """Random URL-safe characters: 43 of 62 carry 256 bits."""
        number = self._bits(6 * length + 64)
        characters = []
        for _ in range(length):
            number, rest = divmod(number, len(_URL_SAFE))
            characters.append(_URL_SAFE[rest])
        return "".join(characters)

    def org_token(self) -> str:
        """The plain text of an org token; shown once, never stored."""
        return f"hathora_org_st_{self.secret()}_{self._bits(32):08x}"
