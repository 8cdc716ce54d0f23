"""Identifiers (behaviour.md 1.2). Chance is handed in, so that a simulation can replay it."""

import string
from collections.abc import Callable

# Tells a user's token from an organization's before anything is looked up.
USER_TOKEN_PREFIX = "innkeeper_user_"  # noqa: S105
_BASE36 = string.digits + string.ascii_lowercase
_URL_SAFE = string.ascii_letters + string.digits
# Without 0 and 1, and without the letters that are taken for them or for each other: I, L, O.
_SHORT_CODE = "ABCDEFGHJKMNPQRSTUVWXYZ23456789"


_PAIRS = [high + low for high in _BASE36 for low in _BASE36]
_UUID_GIVEN = (0xF << 76) | (0x3 << 62)  # the bits that say "version 4, of the usual kind"
_UUID_VERSION_4 = (0x4 << 76) | (0x2 << 62)


def base36(number: int) -> str:
    """``number`` (not negative) in lower-case base 36."""
    text = ""
    while number >= len(_PAIRS):  # two digits at a time: every room asks for one
        number, rest = divmod(number, len(_PAIRS))
        text = _PAIRS[rest] + text
    return (_PAIRS[number] if number >= 36 else _BASE36[number]) + text


class Ids:
    """Makes identifiers from ``getrandbits(n)``: ``random.SystemRandom`` in service, a seed in simulation."""

    def __init__(self, getrandbits: Callable[[int], int]) -> None:
        self._bits = getrandbits

    def uuid(self) -> str:
        """A bare lower-case UUID4: process ids, room allocation ids, sandbox ids."""
        text = f"{self._bits(128) & ~_UUID_GIVEN | _UUID_VERSION_4:032x}"
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"

    def prefixed(self, prefix: str) -> str:
        """``app-<uuid4>``, ``secret-…``, ``org-…``, ``org-token-…``, ``bld-…``, ``dep-…``,
        ``fleet-…``, ``node-…``.
        """
        return f"{prefix}-{self.uuid()}"

    def room_id(self) -> str:
        """A random 64-bit number in base 36: 13 characters at the most."""
        return base36(self._bits(64))

    def player_id(self) -> str:
        """As a room id, but never shorter than 11 characters."""
        while True:
            made = base36(self._bits(64))
            if len(made) >= 11:
                return made

    def short_code(self, length: int = 4) -> str:
        """Characters that people can read to each other."""
        return "".join(_SHORT_CODE[self.below(len(_SHORT_CODE))] for _ in range(length))

    def below(self, bound: int) -> int:
        """A random whole number from 0 to ``bound`` (a small number), which it does not reach."""
        return self._bits(64) % bound

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

    def user_token(self) -> str:
        """The plain text of a user's token; shown once, never stored."""
        return f"{USER_TOKEN_PREFIX}{self.secret()}_{self._bits(32):08x}"
