"""A stub of the API that answers from a script, over real HTTP on loopback."""

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from click.testing import CliRunner, Result

from innkeeper.cli.commands import innkeeper


@dataclass
class Asked:
    """One request as the stub got it."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class StubApi:
    """Answers ``"METHOD /path"`` with (status, body, headers), and remembers what it was asked.

    Several answers are given one after the other; the last one stays.
    """

    url: str = ""
    answers: dict[str, list[tuple[int, Any, dict[str, str]]]] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)

    def on(self, what: str, body: Any, status: int = 200, **headers: str) -> None:
        self.answers.setdefault(what, []).append((status, body, headers))

    def bodies(self, what: str) -> list[Any]:
        return [json.loads(a.body) for a in self.asked if f"{a.method} {a.path}" == what]

    def run(self, *arguments: str, token: str | None = "the-token") -> Result:
        env = {"INNKEEPER_URL": self.url, "INNKEEPER_TOKEN": token or ""}
        return CliRunner().invoke(innkeeper, arguments, env=env)


@pytest.fixture
def stub() -> Iterator[StubApi]:
    api = StubApi()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            path = self.path
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            api.asked.append(Asked(self.command, path, dict(self.headers.items()), body))
            script = api.answers.get(f"{self.command} {path.partition('?')[0]}")
            missing: tuple[int, Any, dict[str, str]] = (404, {"message": f"no {path}"}, {})
            status, answer, headers = missing if not script else script[0]
            if script and len(script) > 1:
                script.pop(0)
            content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_DELETE = _answer

        def log_message(self, *_: object) -> None:
            """Keep the tests' output clean."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        api.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield api
        server.shutdown()
        thread.join()
