"""A webhook's receiver on loopback, that checks signatures on its own and answers as a test says."""

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

WAIT_S = 20.0


@dataclass
class Got:
    """One request as it came."""

    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def message_id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def data(self) -> dict[str, str]:
        told: dict[str, Any] = json.loads(self.body)
        assert told["type"] == told["data"]["kind"]
        assert told["timestamp"] == told["data"]["at"]
        return dict(told["data"])

    def genuine(self, secret: str) -> bool:
        """As the specification words it, without a line of ours."""
        assert secret.startswith("whsec_")
        key = base64.b64decode(secret[6:], validate=True)
        assert 24 <= len(key) <= 64
        content = b".".join(
            (self.message_id.encode(), self.headers["webhook-timestamp"].encode(), self.body)
        )
        expected = base64.b64encode(hmac.digest(key, content, hashlib.sha256)).decode()
        versions = [part.split(",", 1) for part in self.headers["webhook-signature"].split(" ")]
        return any(name == "v1" and hmac.compare_digest(it, expected) for name, it in versions)


# What a receiver does: a status with headers, or nothing at all: "close", or "hang".
Answer = tuple[int, dict[str, str]] | str


@dataclass
class Receiver:
    """``answers`` are given one after the other; then 204."""

    url: str = ""
    answers: list[Answer] = field(default_factory=list)
    got: list[Got] = field(default_factory=list)
    taken: list[str] = field(default_factory=list)
    came: asyncio.Event = field(default_factory=asyncio.Event)
    on_request: Callable[[Got], None] = lambda got: None

    async def until(self, done: Callable[[], bool]) -> None:
        async with asyncio.timeout(WAIT_S):
            while not done():
                self.came.clear()
                await self.came.wait()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (head := await reader.readuntil(b"\r\n\r\n")) != b"":
                lines = head.decode().split("\r\n")
                pairs = [line.partition(": ") for line in lines[1:] if line]
                headers = {name.lower(): value for name, _, value in pairs}
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                got = Got(lines[0].split(" ")[1], headers, body)
                self.got.append(got)
                self.on_request(got)
                answer: Answer = self.answers.pop(0) if self.answers else (204, {})
                if isinstance(answer, str):
                    self.came.set()
                    if answer == "hang":
                        await reader.read()
                    return
                status, more = answer
                if 200 <= status < 300:
                    self.taken.append(got.message_id)
                self.came.set()
                text = more.pop("body", "")
                shown = "".join(f"{name}: {value}\r\n" for name, value in more.items())
                length = "" if status == 204 else f"content-length: {len(text)}\r\n"
                writer.write(f"HTTP/1.1 {status} X\r\n{shown}{length}\r\n{text}".encode())
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()


@asynccontextmanager
async def receiver(host: str = "127.0.0.1") -> AsyncIterator[Receiver]:
    made = Receiver()
    server = await asyncio.start_server(made.serve, host, 0)
    port = server.sockets[0].getsockname()[1]
    made.url = f"http://{f'[{host}]' if ':' in host else host}:{port}/hook?for=us"
    try:
        yield made
    finally:
        server.close()
