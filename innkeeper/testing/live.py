"""A real ``innkeeper serve`` for tests: a data directory, a port of its own, and the ways to end it.

For suites that need the whole program: conformance, kill -9, shutdown. Each has its own block of game ports,
claimed through the kernel, so that several can run on one machine.
"""

import contextlib
import errno
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TypeVar

import httpx

import innkeeper
from innkeeper.disk.locks import try_lock
from innkeeper.testing import host_facts

T = TypeVar("T")
ADMIN_TOKEN = "admin-token-of-the-tests"  # noqa: S105
SERVE_TIMEOUT_S = 60.0
BLOCK_PORTS = 300
# Below the kernel's usual ephemeral range, which `serve` refuses to overlap.
FIRST_PORT, LAST_PORT = 10_000, 32_000
_API = re.compile(r"^API (http://\S+)$", re.MULTILINE)


def eventually(probe: Callable[[], T | None], timeout_s: float, what: str) -> T:
    """The first truthy answer of ``probe``, asked every 20 ms. Raises ``TimeoutError`` naming ``what``."""
    deadline = time.monotonic() + timeout_s
    while True:
        answer = probe()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {timeout_s:g} s: {what} (last: {answer!r})")
        time.sleep(0.02)


@contextlib.contextmanager
def claimed_ports(count: int = BLOCK_PORTS) -> Iterator[tuple[int, int]]:
    """A block of ports that nobody uses and no other test claims meanwhile: first and last."""
    folder = Path(tempfile.gettempdir()) / "innkeeper-test-ports"
    folder.mkdir(mode=0o777, exist_ok=True)
    for first in range(FIRST_PORT, LAST_PORT - count, count):
        with open(folder / str(first), "w") as claim:
            if not try_lock(claim.fileno()):
                continue
            if all(_free(port) for port in range(first, first + count)):
                yield first, first + count - 1
                return
    raise AssertionError("no block of free ports on this machine")


def _free(port: int) -> bool:
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_INET, kind) as trial:
            try:
                trial.bind(("0.0.0.0", port))  # noqa: S104
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    return False
                raise
    return True


@dataclass
class LiveServer:
    """One installation, and its control plane when it runs. ``settings`` are ``INNKEEPER_…`` variables."""

    runtime: str
    data_dir: Path
    ports: tuple[int, int]
    settings: Mapping[str, str] = field(default_factory=dict)
    url: str = ""
    _process: "subprocess.Popen[bytes] | None" = None
    _output: IO[bytes] | None = None

    @property
    def pid(self) -> int:
        """The control plane's own process id."""
        assert self._process is not None
        return self._process.pid

    @property
    def log_path(self) -> Path:
        """All that the control plane has written to its standard output and error."""
        return self.data_dir.parent / f"{self.data_dir.name}.log"

    def start(self) -> "LiveServer":
        """Run ``serve`` and wait until it is ready. A second start uses the same port."""
        assert self._process is None, "it runs already"
        self.data_dir.parent.mkdir(parents=True, exist_ok=True)
        self._output = open(self.log_path, "ab")  # noqa: SIM115
        said_before = self.log_path.stat().st_size
        listen = self.url.removeprefix("http://") or "127.0.0.1:0"
        flags = {
            "--data-dir": str(self.data_dir),
            "--listen": listen,
            "--runtime": self.runtime,
            "--port-range": f"{self.ports[0]}-{self.ports[1]}",
        }
        self._process = subprocess.Popen(
            [*INNKEEPER, "serve", *(part for flag in flags.items() for part in flag)],
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=self._output,
        )
        self.url = eventually(
            lambda: self._announced(said_before), SERVE_TIMEOUT_S, "the API's address"
        )
        eventually(self._ready, SERVE_TIMEOUT_S, "readiness")
        return self

    def start_until_up(self, timeout_s: float) -> "LiveServer":
        """Start it again and again until it stays, as a service's supervisor does."""
        until = time.monotonic() + timeout_s
        while True:
            try:
                return self.start()
            except AssertionError:
                if time.monotonic() > until:
                    raise
                self._forget()

    def environment(self) -> dict[str, str]:
        """What ``serve`` and ``down`` are run with: nothing of the caller's own settings."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("INNKEEPER_", "HATHORA_"))}
        root = str(Path(innkeeper.__file__).parent.parent)
        kept["PYTHONPATH"] = root
        return {**kept, "INNKEEPER_ADMIN_TOKEN": ADMIN_TOKEN, **self.settings}

    def kill(self) -> None:
        """kill -9, at once; games run on."""
        self._signal(signal.SIGKILL, 10.0)

    def terminate(self) -> float:
        """SIGTERM; how many seconds the control plane took to end."""
        begun = time.monotonic()
        self._signal(signal.SIGTERM, 30.0)
        return time.monotonic() - begun

    def down(self) -> "subprocess.CompletedProcess[str]":
        """``innkeeper down``: the control plane and everything it started."""
        done = subprocess.run(
            [*INNKEEPER, "down", "--data-dir", str(self.data_dir)],
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if self._process is not None:
            self._process.wait(10)
            self._forget()
        return done

    def http(self, token: str | None = ADMIN_TOKEN, timeout_s: float = 30.0) -> httpx.Client:
        """A client of the API; the caller closes it."""
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=timeout_s, trust_env=False)

    def said(self) -> str:
        """Everything the control plane has said so far."""
        return self.log_path.read_text(errors="replace")

    def _announced(self, from_byte: int) -> str | None:
        self._check_alive()
        found = _API.search(self.log_path.read_bytes()[from_byte:].decode(errors="replace"))
        return found.group(1) if found else None

    def _ready(self) -> bool:
        self._check_alive()
        try:
            return httpx.get(f"{self.url}/readyz", timeout=5, trust_env=False).status_code == 200
        except httpx.TransportError:
            return False

    def _check_alive(self) -> None:
        assert self._process is not None
        code = self._process.poll()
        assert code is None, f"serve ended with {code}:\n{self.said()[-4000:]}"

    def _signal(self, number: int, timeout_s: float) -> None:
        assert self._process is not None
        self._process.send_signal(number)
        self._process.wait(timeout_s)
        self._forget()

    def _forget(self) -> None:
        self._process = None
        if self._output is not None:
            self._output.close()
            self._output = None


INNKEEPER = (sys.executable, "-m", "innkeeper.cli")


@contextlib.contextmanager
def live_server(
    runtime: str, folder: Path, settings: Mapping[str, str] | None = None
) -> Iterator[LiveServer]:
    """A running server below ``folder``; at the end, ``down`` must leave nothing."""
    with claimed_ports() as ports:
        server = LiveServer(runtime, folder / f"data-{runtime}", ports, settings or {})
        try:
            yield server.start()
        finally:
            done = server.down()
            if done.returncode != 0:
                # A fault of the program shall not leave games on the machine that runs its tests.
                host_facts.end_by_force(server.data_dir)
        assert done.returncode == 0, f"down: {done.stdout}{done.stderr}"
