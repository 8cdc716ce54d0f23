"""The public keys of an identity provider: a JSON Web Key Set from a URL or a file, kept for a while.

Knows nothing of tokens but the id of the key that signed them.
"""

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
import jwt

from innkeeper.core.errors import Unavailable

log = logging.getLogger(__name__)

BYTES_MAX = 256 * 1024
FETCH_TIMEOUT_S = 5.0
KEPT_S = 3600.0
# Anybody can name a key that is not there; the provider shall not feel it.
UNKNOWN_KEY_REST_S = 60.0
FAILED_REST_S = 5.0

Fetch = Callable[[], Awaitable[bytes]]


class KeySet:
    """Fetches when keys are needed and old, or when a token names one that is not known."""

    def __init__(self, fetch: Fetch, monotonic: Callable[[], float] = time.monotonic) -> None:
        """``fetch`` returns the set as JSON; raises ``OSError``, ``ValueError`` or ``httpx.HTTPError``."""
        self._fetch = fetch
        self._monotonic = monotonic
        self._lock = asyncio.Lock()
        self._keys: dict[str | None, jwt.PyJWK] = {}
        self._fetched_at = float("-inf")
        self._failed_at = float("-inf")

    async def key(self, key_id: str | None) -> jwt.PyJWK | None:
        """The key with this id; without an id, the only one there is. ``None`` where there is none such.

        Raises ``Unavailable`` while no key could be fetched at all; old keys are used meanwhile.
        """
        if self._stale(key_id):
            async with self._lock:  # one fetch, for which the others wait
                if self._stale(key_id):
                    await self._refresh()
        if not self._keys:
            raise Unavailable("Google's keys cannot be fetched now", int(FAILED_REST_S))
        if key_id is None and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        return self._keys.get(key_id)

    def _stale(self, key_id: str | None) -> bool:
        now = self._monotonic()
        if now - self._failed_at < FAILED_REST_S:
            return False
        age = now - self._fetched_at
        known = key_id in self._keys or (key_id is None and len(self._keys) == 1)
        return age > KEPT_S if known else age > UNKNOWN_KEY_REST_S

    async def _refresh(self) -> None:
        try:
            keys = _parsed(await self._fetch())
        except (OSError, ValueError, RecursionError, httpx.HTTPError, jwt.PyJWTError) as error:
            self._failed_at = self._monotonic()
            log.warning("the keys for Google's tokens cannot be had: %s", error or type(error))
            return
        self._keys = keys
        self._fetched_at = self._monotonic()


def _parsed(text: bytes) -> dict[str | None, jwt.PyJWK]:
    told = json.loads(text)
    keys = told.get("keys") if isinstance(told, dict) else None
    if not isinstance(keys, list) or not all(isinstance(key, dict) for key in keys):
        raise ValueError("not a JSON Web Key Set")
    found = jwt.PyJWKSet.from_dict({"keys": keys})
    return {key.key_id: key for key in found.keys if key.public_key_use in (None, "sig")}


def fetcher(source: str) -> Fetch:
    """How to get the set that ``source`` names: a URL, or the path of a file."""
    if "://" in source:
        return lambda: _from_url(source)
    return lambda: asyncio.to_thread(_from_file, Path(source))


async def _from_url(url: str) -> bytes:
    body = bytearray()
    # Redirects are not followed: whoever answers decides who is who.
    async with (
        asyncio.timeout(FETCH_TIMEOUT_S),
        httpx.AsyncClient(timeout=FETCH_TIMEOUT_S) as client,
        client.stream("GET", url) as reply,
    ):
        if reply.status_code != 200:
            raise ValueError(f"{url} answers {reply.status_code}")
        async for piece in reply.aiter_bytes():
            body += piece
            if len(body) > BYTES_MAX:
                raise ValueError(f"{url} sends more than {BYTES_MAX} bytes")
    return bytes(body)


def _from_file(path: Path) -> bytes:
    with path.open("rb") as file:
        text = file.read(BYTES_MAX + 1)
    if len(text) > BYTES_MAX:
        raise ValueError(f"{path} is larger than {BYTES_MAX} bytes")
    return text
