"""A client of the Docker-compatible Engine API over its unix socket (Docker or Podman).

Knows HTTP, timeouts and the two engines' dialects; knows nothing of processes.
"""

import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from innkeeper.core.errors import RuntimeAway, RuntimeFailure

# The oldest version that both engines speak; newer Docker engines refuse it and name their own oldest.
_API_VERSION = (1, 41)
_CALL_TIMEOUT_S = 60.0
_CONNECT_TIMEOUT_S = 5.0
_CONNECTIONS_MAX = 32
_ERROR_CHARS_MAX = 2000

Params = Mapping[str, str | int | bool]


@dataclass(frozen=True, slots=True)
class Answer:
    """An engine's answer: its status, and the decoded JSON body (``None`` if there is none)."""

    status: int
    data: Any

    @property
    def ok(self) -> bool:
        """Whether the engine did what was asked, or had nothing to do (304)."""
        return self.status < 400

    @property
    def message(self) -> str:
        """The engine's own words on what went wrong."""
        if isinstance(self.data, dict):
            return str(self.data.get("message") or self.data.get("cause") or "")[:_ERROR_CHARS_MAX]
        return str(self.data or f"status {self.status}")[:_ERROR_CHARS_MAX]

    @property
    def missing(self) -> bool:
        """Whether the thing is not there. Podman says so with 500 where it is a means and not the end."""
        return self.status == 404 or "no such container" in self.message.lower()

    @property
    def in_use(self) -> bool:
        """Whether the name is taken already (Docker: 409, Podman: 500)."""
        return self.status == 409 or "already in use" in self.message


class Engine:
    """Calls to one engine. Every call raises ``RuntimeAway`` where it does not answer in time."""

    def __init__(self, socket_path: Path) -> None:
        self.socket_path = socket_path
        self.is_podman = False
        self.version = ""
        self._prefix = ""
        self._http = httpx.AsyncClient(
            transport=httpx.AsyncHTTPTransport(
                uds=str(socket_path),
                limits=httpx.Limits(
                    max_connections=_CONNECTIONS_MAX, max_keepalive_connections=_CONNECTIONS_MAX
                ),
            ),
            base_url="http://engine",
            timeout=httpx.Timeout(_CALL_TIMEOUT_S, connect=_CONNECT_TIMEOUT_S, pool=None),
        )

    async def open(self) -> None:
        """Learn which engine answers, and agree on a version of its API."""
        answer = await self.call("GET", "/version")
        if not answer.ok or not isinstance(answer.data, dict):
            raise RuntimeAway(f"{self.socket_path} is not a container engine: {answer.message}")
        facts = answer.data
        parts = [str(part.get("Name", "")) for part in facts.get("Components") or []]
        self.is_podman = any("podman" in name.lower() for name in parts)
        self.version = str(facts.get("Version", ""))
        oldest = _version(str(facts.get("MinAPIVersion", "1.24")))
        newest = _version(str(facts.get("ApiVersion", "1.41")))
        major, minor = min(max(_API_VERSION, oldest), newest)
        self._prefix = f"/v{major}.{minor}"

    async def close(self) -> None:
        """Let go of the connections."""
        await self._http.aclose()

    async def call(
        self,
        method: str,
        path: str,
        *,
        params: Params | None = None,
        body: Any = None,
        timeout_s: float | None = None,
    ) -> Answer:
        """One call; ``body`` is sent as JSON. Paths below ``/libpod`` are Podman's own API."""
        try:
            response = await self._http.request(
                method,
                self._url(path),
                params=_query(params),
                json=body,
                timeout=_timeout(timeout_s),
            )
        except httpx.HTTPError as error:
            raise self._away(error) from error
        return Answer(response.status_code, _decode(response.content))

    async def lines(
        self,
        method: str,
        path: str,
        *,
        params: Params | None = None,
        headers: Mapping[str, str] | None = None,
        content: AsyncIterator[bytes] | None = None,
        read_timeout_s: float | None = None,
    ) -> AsyncGenerator[dict[str, Any], None]:
        """The JSON objects of a streamed answer, one a line; a refusal comes as ``{"error": text}``.

        ``read_timeout_s`` bounds the silence between two pieces; ``None`` waits for ever.
        """
        timeout = httpx.Timeout(_CONNECT_TIMEOUT_S, read=read_timeout_s, write=None, pool=None)
        try:
            async with self._http.stream(
                method,
                self._url(path),
                params=_query(params),
                headers=headers,
                content=content,
                timeout=timeout,
            ) as response:
                if response.status_code >= 400:
                    refusal = Answer(response.status_code, _decode(await response.aread()))
                    yield {"error": refusal.message, "status": refusal.status}
                    return
                async for line in response.aiter_lines():
                    if line.strip():
                        yield _object(line)
        except httpx.HTTPError as error:
            raise self._away(error) from error

    async def pieces(self, path: str) -> AsyncGenerator[bytes, None]:
        """The bytes of a large answer to a GET. Raises ``RuntimeFailure`` where it is refused."""
        timeout = httpx.Timeout(_CONNECT_TIMEOUT_S, read=None, pool=None)
        try:
            async with self._http.stream("GET", self._url(path), timeout=timeout) as response:
                if response.status_code >= 400:
                    refusal = Answer(response.status_code, _decode(await response.aread()))
                    raise RuntimeFailure(f"the container engine refused: {refusal.message}")
                async for piece in response.aiter_bytes(1024**2):
                    yield piece
        except httpx.HTTPError as error:
            raise self._away(error) from error

    def _url(self, path: str) -> str:
        if path.startswith("/libpod"):
            return f"/v4.0.0{path}"
        return f"{self._prefix}{path}"

    def _away(self, error: httpx.HTTPError) -> RuntimeAway:
        what = str(error) or type(error).__name__
        return RuntimeAway(f"the container engine at {self.socket_path} does not answer: {what}")


def _version(text: str) -> tuple[int, int]:
    major, _, minor = text.partition(".")
    return int(major), int(minor.partition(".")[0] or 0)


def _query(params: Params | None) -> dict[str, str] | None:
    if params is None:
        return None
    return {
        name: str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in params.items()
    }


def _timeout(timeout_s: float | None) -> httpx.Timeout:
    return httpx.Timeout(timeout_s or _CALL_TIMEOUT_S, connect=_CONNECT_TIMEOUT_S, pool=None)


def _decode(content: bytes) -> Any:
    if not content.strip():
        return None
    try:
        return json.loads(content)
    except ValueError:
        return content.decode("utf-8", "replace")


def _object(line: str) -> dict[str, Any]:
    try:
        data = json.loads(line)
    except ValueError:
        return {"stream": line}
    return data if isinstance(data, dict) else {"stream": str(data)}
