"""The one file that knows the web framework: an ASGI application over ``Dispatch``.

Plain answers go straight to ``send``; streams watch for the client's leaving.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from types import MappingProxyType

from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocketClose

from innkeeper.api import contract, cors, errors
from innkeeper.api.dispatch import OPERATION_TIMEOUT_S, Dispatch, Reply
from innkeeper.api.operation import Operation
from innkeeper.api.request import ClientLeft, RawHeaders
from innkeeper.api.services import Services
from innkeeper.api.system import SystemPages
from innkeeper.core.errors import TimedOut, TooLarge

log = logging.getLogger(__name__)

PIECE_TIMEOUT_S = 60.0

WebSocketHandler = Callable[[Scope, Receive, Send], Awaitable[None]]

_SHUTTING_DOWN = Reply(
    503,
    "application/json",
    errors.body_of(
        "Shutting down before this was answered: see whether it took effect, or try again"
    ),
    {"retry-after": str(errors.RETRY_AFTER_S)},
)
_JSON_HEADERS = (*cors.EVERY_ANSWER, (b"content-type", b"application/json"))


class Application:
    """The ASGI application."""

    def __init__(
        self,
        services: Services,
        operations: Iterable[Operation],
        timeout_s: float = OPERATION_TIMEOUT_S,
        piece_timeout_s: float = PIECE_TIMEOUT_S,
        websockets: Mapping[str, WebSocketHandler] = MappingProxyType({}),
    ) -> None:
        """Raises ``ValueError`` where the operations and the contract do not fit.

        ``timeout_s`` bounds a whole operation; of an upload, ``piece_timeout_s`` bounds each silence.
        ``websockets`` are the handlers by path.
        """
        self._websockets = websockets
        self.dispatch = Dispatch(contract.load(), operations, services, timeout_s)
        self._system = SystemPages(services, self.dispatch.meters)
        self._piece_timeout_s = piece_timeout_s
        self._streams: set[asyncio.Task[None]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "websocket":
            handler = self._websockets.get(scope.get("path", ""))
            await (handler or WebSocketClose(1008, "no such path"))(scope, receive, send)
        else:
            await _lifespan(receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        incoming = _Incoming(scope, receive, self._piece_timeout_s)
        if incoming.method == "OPTIONS":
            await send({"type": "http.response.start", "status": 204, "headers": cors.PREFLIGHT})
            await send({"type": "http.response.body", "body": b""})
            return
        page = self._system.pages.get(incoming.raw_path)
        try:
            if page is None:
                reply = await self.dispatch.answer(incoming)
            elif incoming.method == "GET":
                reply = await page()
            else:
                body = errors.body_of(f"{incoming.method} is not allowed here; allowed: GET")
                reply = Reply(405, "application/json", body, {"allow": "GET"})
        except ClientLeft:
            return
        except asyncio.CancelledError:
            # The server waits no longer for this request, as one that came by half; it is still to be told.
            await _send_whole(send, _SHUTTING_DOWN)
            raise
        if reply.chunks is None:
            await _send_whole(send, reply)
            return
        headers = _headers(reply)
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        await self._stream(reply.chunks, receive, send)

    async def _stream(self, chunks: AsyncIterator[bytes], receive: Receive, send: Send) -> None:
        """Send each piece as it comes, until the end, the client's leaving, or :meth:`end_streams`."""
        pump = asyncio.create_task(_pump(chunks, send))
        gone = asyncio.create_task(_left(receive))
        self._streams.add(pump)
        try:
            await asyncio.wait((pump, gone), return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._streams.discard(pump)
            for task in (pump, gone):
                task.cancel()
            await asyncio.gather(pump, gone, return_exceptions=True)
        if not pump.cancelled() and (fault := pump.exception()) is not None:
            # Raised on, so that the connection is cut and the client sees that its answer is not whole.
            raise fault

    def end_streams(self) -> None:
        """End the answers that are still being streamed, as followed logs, and what calls wait for: the
        server wants to stop.
        """
        self.dispatch.services.waiters.end()
        for task in list(self._streams):
            task.cancel()


class _Incoming:
    """See :class:`~innkeeper.api.request.Incoming`."""

    __slots__ = (
        "_piece_timeout_s",
        "_receive",
        "_scope",
        "headers",
        "method",
        "raw_path",
        "raw_query",
    )

    method: str
    raw_path: bytes
    raw_query: bytes
    headers: RawHeaders

    def __init__(self, scope: Scope, receive: Receive, piece_timeout_s: float) -> None:
        self.method = scope["method"]
        self.raw_path = scope["raw_path"]
        self.raw_query = scope["query_string"]
        self.headers = scope["headers"]
        self._scope = scope
        self._receive = receive
        self._piece_timeout_s = piece_timeout_s

    @property
    def client(self) -> str:
        """The client's address; behind trusted proxies, the one they name."""
        client = self._scope.get("client")
        return client[0] if client else ""

    @property
    def scheme(self) -> str:
        """Behind trusted proxies, the one they name."""
        scheme: str = self._scope.get("scheme", "http")
        return scheme

    @property
    def local_port(self) -> int:
        """0 where the transport does not say."""
        server = self._scope.get("server")
        return (server[1] if server else None) or 0

    async def read(self, limit: int) -> bytes:
        """Whole, and never more than ``limit`` bytes of it in memory."""
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise ClientLeft
        body: bytes = message.get("body", b"")
        if len(body) > limit:
            raise TooLarge(f"The body is larger than {limit} bytes")
        if not message.get("more_body"):
            return body
        return await self._rest(bytearray(body), limit)

    async def _rest(self, body: bytearray, limit: int) -> bytes:
        for name, value in self.headers:
            if name == b"content-length" and int(value) > limit:
                raise TooLarge(f"The body is larger than {limit} bytes")
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientLeft
            body += message.get("body", b"")
            if len(body) > limit:
                raise TooLarge(f"The body is larger than {limit} bytes")
            if not message.get("more_body"):
                return bytes(body)

    async def left(self) -> None:
        """Done when the client has gone."""
        await _left(self._receive)

    async def chunks(self) -> AsyncIterator[bytes]:
        """Piece by piece; a client that sends nothing for a while is given up."""
        while True:
            limit = asyncio.timeout(self._piece_timeout_s)
            try:
                async with limit:
                    message = await self._receive()
            except TimeoutError:
                raise TimedOut("The body did not come in time") from None
            if message["type"] == "http.disconnect":
                raise ClientLeft
            if body := message.get("body", b""):
                yield body
            if not message.get("more_body"):
                return


async def _send_whole(send: Send, reply: Reply) -> None:
    headers = _headers(reply)
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})


async def _pump(chunks: AsyncIterator[bytes], send: Send) -> None:
    try:
        async for chunk in chunks:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
    finally:
        close = getattr(chunks, "aclose", None)
        if close is not None:
            await close()


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _headers(reply: Reply) -> list[tuple[bytes, bytes]]:
    if reply.media_type == "application/json":
        headers = [*_JSON_HEADERS, (b"content-length", b"%d" % len(reply.body))]
    else:
        headers = list(cors.EVERY_ANSWER)
        if reply.media_type is not None:
            headers.append((b"content-type", reply.media_type.encode("latin-1")))
        if reply.chunks is None and reply.status != 204:
            headers.append((b"content-length", b"%d" % len(reply.body)))
    if reply.headers:
        headers += [(k.lower().encode(), v.encode("latin-1")) for k, v in reply.headers.items()]
    return headers


async def _lifespan(receive: Receive, send: Send) -> None:
    """Nothing to do: ``wiring`` opens and closes the parts."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
