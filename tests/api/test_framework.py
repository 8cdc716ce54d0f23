"""What the transport does: CORS, limits of time and size, streams that notice who has left, system pages."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from innkeeper.api import contract
from innkeeper.api.framework import Application
from innkeeper.api.operation import Operation, Stream
from innkeeper.core.errors import TimedOut
from innkeeper.testing.contract_check import ContractBroken, check_reply, faults_of
from innkeeper.testing.studio import TOKEN


class Wire:
    """One request to the application as the ASGI server speaks it; its messages are the test's."""

    def __init__(self, application: Application, method: str, path: str) -> None:
        self.sent: list[dict[str, Any]] = []
        self.to_app: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.pieces: asyncio.Queue[bytes] = asyncio.Queue()
        raw_path, _, query = path.partition("?")
        scope = {
            "type": "http",
            "method": method,
            "raw_path": raw_path.encode(),
            "query_string": query.encode(),
            "headers": [(b"authorization", f"Bearer {TOKEN}".encode())],
            "client": ("192.0.2.7", 5),
        }
        self.task = asyncio.create_task(application(scope, self.to_app.get, self._send))

    async def _send(self, message: Any) -> None:
        self.sent.append(message)
        if message["type"] == "http.response.body":
            self.pieces.put_nowait(message.get("body", b""))

    def put(self, body: bytes, more: bool = False) -> None:
        self.to_app.put_nowait({"type": "http.request", "body": body, "more_body": more})

    def leave(self) -> None:
        self.to_app.put_nowait({"type": "http.disconnect"})

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])


class Lines:
    """A stream that the test feeds, and that knows how it ended."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[bytes | Exception | None] = asyncio.Queue()
        self.closed = asyncio.Event()

    async def chunks(self) -> AsyncIterator[bytes]:
        try:
            while (line := await self.queue.get()) is not None:
                if isinstance(line, Exception):
                    raise line
                yield line
        finally:
            self.closed.set()

    def row(self) -> Operation:
        async def run(services: Any, caller: Any, wanted: Any, context: Any) -> Any:
            return self.chunks()

        return Operation("GetLogsForProcess", lambda r: r, run, Stream, "async", "processes:read")


LOGS = "/logs/v1/app-1/process/p"


async def test_a_stream_is_sent_as_it_comes_and_ends(house: Any) -> None:
    lines = Lines()
    wire = Wire(house.application(lines.row()), "GET", LOGS)
    wire.put(b"")
    lines.queue.put_nowait(b"one\n")
    assert await wire.pieces.get() == b"one\n"
    assert not wire.task.done()
    lines.queue.put_nowait(b"two\n")
    assert await wire.pieces.get() == b"two\n"
    lines.queue.put_nowait(None)
    await wire.task
    assert wire.status == 200
    assert (b"content-type", b"application/octet-stream") in wire.sent[0]["headers"]
    assert [bool(m.get("more_body")) for m in wire.sent[1:]] == [True, True, False]


async def test_a_stream_is_closed_when_the_client_leaves(house: Any) -> None:
    lines = Lines()
    wire = Wire(house.application(lines.row()), "GET", LOGS)
    wire.put(b"")
    lines.queue.put_nowait(b"one\n")
    await wire.pieces.get()
    wire.leave()
    await wire.task
    assert lines.closed.is_set()
    assert all(m.get("more_body") for m in wire.sent[1:])


async def test_a_stream_that_fails_cuts_the_connection(house: Any) -> None:
    lines = Lines()
    wire = Wire(house.application(lines.row()), "GET", LOGS)
    wire.put(b"")
    lines.queue.put_nowait(b"one\n")
    lines.queue.put_nowait(OSError("the disk is away"))
    with pytest.raises(OSError, match="the disk is away"):
        await wire.task
    assert all(m.get("more_body") for m in wire.sent[1:])
    assert lines.closed.is_set()


async def test_streams_end_when_the_server_wants_to_stop(house: Any) -> None:
    lines = Lines()
    application = house.application(lines.row())
    wire = Wire(application, "GET", LOGS)
    wire.put(b"")
    lines.queue.put_nowait(b"one\n")
    await wire.pieces.get()
    application.end_streams()
    await wire.task
    assert lines.closed.is_set()


def create_path(house: Any) -> str:
    return f"/rooms/v2/{house.studio.app_id}/create"


async def test_a_body_that_is_too_large_is_413(house: Any, row: Any) -> None:
    application = house.application(row("CreateRoom"))
    wire = Wire(application, "POST", create_path(house))
    for _ in range(3):
        wire.put(b"x" * 1024**2, more=True)
    await wire.task
    assert wire.status == 413
    assert "message" in json.loads(wire.sent[1]["body"])


async def test_a_body_in_pieces_is_read_whole(house: Any, row: Any) -> None:
    seen: list[Any] = []
    wire = Wire(house.application(row("CreateRoom", {}, seen)), "POST", create_path(house))
    for piece in (b'{"reg', b'ion":"To', b""):
        wire.put(piece, more=True)
    wire.put(b'kyo"}')
    await wire.task
    assert wire.status == 201
    assert seen[0].body.region == "Tokyo"
    assert seen[0].client == "192.0.2.7"


async def test_a_body_that_does_not_come_in_time_is_408(house: Any, row: Any) -> None:
    application = house.application(row("CreateRoom"), timeout_s=0.01)
    wire = Wire(application, "POST", create_path(house))
    wire.put(b"{", more=True)
    await wire.task
    assert wire.status == 408
    assert json.loads(wire.sent[1]["body"]) == {"message": "Request timed out"}


async def test_a_server_that_stops_is_not_a_client_that_is_late(house: Any, row: Any) -> None:
    wire = Wire(house.application(row("CreateRoom")), "POST", create_path(house))
    wire.put(b"{", more=True)
    while not wire.to_app.empty():
        await asyncio.sleep(0)
    wire.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await wire.task
    assert wire.status == 503
    assert (b"retry-after", b"2") in wire.sent[0]["headers"]
    assert json.loads(wire.sent[1]["body"])["message"].startswith("Shutting down")


async def test_a_client_that_left_is_not_answered(house: Any, row: Any) -> None:
    wire = Wire(house.application(row("CreateRoom")), "POST", create_path(house))
    wire.put(b"{", more=True)
    wire.leave()
    await wire.task
    assert wire.sent == []


async def uploaded(house: Any, result: list[Any], **settings: Any) -> Wire:
    """An operation that reads its body as a stream."""

    async def run(services: Any, caller: Any, wanted: Any, context: Any) -> None:
        try:
            async for piece in wanted.stream():
                result.append(piece)
        except TimedOut as late:
            result.append(late)
            raise

    row = Operation("DestroyRoom", lambda r: r, run, lambda r: r, "async", "processes:read-write")
    application = house.application(row, **settings)
    return Wire(application, "POST", f"/rooms/v2/{house.studio.app_id}/destroy/r")


async def test_an_upload_is_read_piece_by_piece(house: Any) -> None:
    pieces: list[Any] = []
    wire = await uploaded(house, pieces)
    wire.put(b"one", more=True)
    wire.put(b"two")
    await wire.task
    assert (wire.status, pieces) == (204, [b"one", b"two"])


async def test_an_upload_that_stalls_is_408(house: Any) -> None:
    pieces: list[Any] = []
    wire = await uploaded(house, pieces, piece_timeout_s=0.01)
    wire.put(b"one", more=True)
    await wire.task
    assert wire.status == 408
    assert isinstance(pieces[-1], TimedOut)


async def test_an_upload_whose_client_leaves_is_not_answered(house: Any) -> None:
    pieces: list[Any] = []
    wire = await uploaded(house, pieces)
    wire.put(b"one", more=True)
    wire.leave()
    await wire.task
    assert (wire.sent, pieces) == ([], [b"one"])


async def test_browsers_may_call_from_anywhere(house: Any, row: Any) -> None:
    async with house.client(row("CreateRoom", {})) as client:
        asked = await client.options("/rooms/v2/app-1/create", headers={"origin": "http://x.test"})
        told = await client.post("/nowhere", headers={"origin": "http://x.test"})
    assert (asked.status_code, asked.content) == (204, b"")
    assert asked.headers["access-control-allow-origin"] == "*"
    assert "Authorization" in asked.headers["access-control-allow-headers"]
    assert "PATCH" in asked.headers["access-control-allow-methods"]
    assert told.headers["access-control-allow-origin"] == "*"


async def test_unknown_paths_and_wrong_methods(house: Any) -> None:
    async with house.client() as client:
        unknown = await client.get("/nowhere")
        wrong = await client.put("/apps/v2/apps")
        wrong_page = await client.post("/healthz")
    assert (unknown.status_code, unknown.json()) == (404, {"message": "No such path"})
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "GET, POST")
    assert (wrong_page.status_code, wrong_page.headers["allow"]) == (405, "GET")


async def test_the_system_pages_need_no_token(house: Any, row: Any) -> None:
    async with house.client(row("GetOrgs", {"orgs": []}, scope="orgs:read")) as client:
        client.headers.pop("authorization")
        await client.get("/orgs/v1")
        health = await client.get("/healthz")
        metrics = await client.get("/metrics")
        served = await client.get("/openapi.json")
    assert health.status_code == 200
    assert metrics.headers["content-type"].startswith("text/plain")
    line = 'innkeeper_http_requests_total{operation="GetOrgs",status="401"} 1.0'
    assert line in metrics.text
    assert (
        'innkeeper_http_request_seconds_bucket{le="+Inf",operation="GetOrgs"} 1.0' in metrics.text
    )
    assert served.content == contract.document("openapi.json")


async def test_ready_says_why_not_and_asks_at_most_once_a_second(house: Any) -> None:
    async with house.client() as client:
        assert (await client.get("/readyz")).status_code == 200
        house.unready = "the disk is full"
        assert (await client.get("/readyz")).status_code == 200
        house.studio.clock.move(1)
        reply = await client.get("/readyz")
    assert (reply.status_code, reply.json()["message"]) == (503, "Not ready: the disk is full")
    assert reply.headers["retry-after"] == "2"


async def test_a_websocket_is_refused_and_lifespan_is_answered(house: Any) -> None:
    application = house.application()
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message["type"])

    messages = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])

    async def receive() -> Any:
        return next(messages)

    await application({"type": "lifespan"}, receive, send)
    await application({"type": "websocket"}, receive, send)
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete", "websocket.close"]


def test_the_checker_refuses_what_clients_would_let_pass() -> None:
    json_type = {"Content-Type": "application/json"}
    good = {"additionalExposedPorts": [], "status": "starting", "roomId": "r", "processId": "p"}
    check_reply("CreateRoom", 201, json_type, json.dumps(good).encode())
    for change, problem in (
        ({"status": "odd"}, "reply.status must be one of active, starting"),
        ({"leaked": 1}, "reply.leaked is not declared"),
        ({"processId": None}, "reply.processId must be a string"),
    ):
        body = json.dumps(good | change).encode()
        assert faults_of("CreateRoom", 201, json_type, body) == [problem]
    assert faults_of("CreateRoom", 200, json_type, b"{}") == ["status 200 is not declared"]
    assert faults_of("CreateRoom", 403, json_type, b"{}") == ["status 403 is not declared"]
    assert faults_of("DestroyRoom", 204, {}, b"x") == ["the body must be empty"]
    assert faults_of("CreateRoom", 429, json_type, b'{"message":"m"}')
    with pytest.raises(ContractBroken, match="message is missing"):
        check_reply("CreateRoom", 404, json_type, b"{}")
