"""What an operation's ``read`` sees of a request: everything decoded and checked against the contract."""

from collections.abc import AsyncIterator, Mapping
from typing import Any, Protocol

RawHeaders = list[tuple[bytes, bytes]]


class ClientLeft(Exception):
    """The client closed the connection before its request was complete: nobody is left to answer."""


class Incoming(Protocol):
    """A request as the transport has it."""

    method: str
    raw_path: bytes
    raw_query: bytes
    headers: RawHeaders

    @property
    def client(self) -> str:
        """The client's address."""
        ...

    @property
    def scheme(self) -> str:
        """``http`` or ``https``."""
        ...

    @property
    def local_port(self) -> int:
        """The port of ours that the request came to."""
        ...

    async def read(self, limit: int) -> bytes:
        """The whole body. Raises ``TooLarge`` above ``limit`` bytes."""
        ...

    async def left(self) -> None:
        """Done when the client has gone. Ask once its body was read."""
        ...

    def chunks(self) -> AsyncIterator[bytes]:
        """The body piece by piece. Raises ``TimedOut`` where the client stalls."""
        ...


class Request:
    """One request.

    ``path`` has every path parameter; ``query`` has those that were given or have a default, by their wire
    names, arrays as lists; ``body`` is the decoded struct, or ``None`` where the operation has no JSON body.
    """

    __slots__ = ("_incoming", "body", "operation_id", "path", "query")

    def __init__(
        self,
        operation_id: str,
        path: Mapping[str, Any],
        query: Mapping[str, Any],
        body: Any,
        incoming: Incoming,
    ) -> None:
        self.operation_id = operation_id
        self.path = path
        self.query = query
        self.body = body
        self._incoming = incoming

    @property
    def client(self) -> str:
        """The client's address; behind trusted proxies, the one they name."""
        return self._incoming.client

    @property
    def scheme(self) -> str:
        """``http`` or ``https``; behind trusted proxies, what they say."""
        return self._incoming.scheme

    @property
    def local_port(self) -> int:
        """The port of the listener that the request came to."""
        return self._incoming.local_port

    async def left(self) -> None:
        """Done when the client has gone."""
        await self._incoming.left()

    def stream(self) -> AsyncIterator[bytes]:
        """The body piece by piece, where the operation's is not JSON. Raises ``TimedOut``."""
        return self._incoming.chunks()

    def header(self, name: str) -> str | None:
        """The first header of this name (any case), or ``None``."""
        wanted = name.lower().encode("latin-1")
        for key, value in self._incoming.headers:
            if key == wanted:
                return value.decode("latin-1")
        return None
