"""Asks one server for rooms with a number of callers, each after its last answer: wrk, or our own instead.

Also as a program, the replacement for wrk: ``python -m bench.http_load URL CALLERS SECONDS``.
"""

import asyncio
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

SCRIPT = Path(__file__).with_name("create_room.lua")
TOKEN_VARIABLE = "INNKEEPER_BENCH_TOKEN"
BODY = b'{"region":"Chicago"}'


@dataclass(frozen=True, slots=True)
class Load:
    """What one run saw. ``generator_cpu_s`` is the load generator's own share of the machine."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    generator_cpu_s: float

    @property
    def rate(self) -> float:
        """Answers a second."""
        return self.requests / self.seconds


def have_wrk() -> bool:
    """Whether wrk is installed; without it, our own generator takes a far greater share of the machine."""
    return shutil.which("wrk") is not None


def ask_for_rooms(url: str, token: str, callers: int, seconds: int) -> Load:
    """One bounded run. Raises ``RuntimeError`` where any answer was not a success."""
    if have_wrk():
        command = ["wrk", "-t1", f"-c{callers}", f"-d{seconds}s", "-s", str(SCRIPT), url]
    else:
        command = [sys.executable, "-m", "bench.http_load", url, str(callers), str(seconds)]
    before = _children_cpu_s()
    done = subprocess.run(
        command,
        env={**os.environ, TOKEN_VARIABLE: token},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=seconds + 30,
        check=False,
    )
    used = _children_cpu_s() - before
    return _parsed(done, used)


def _parsed(done: "subprocess.CompletedProcess[str]", generator_cpu_s: float) -> Load:
    lines = [x for x in done.stdout.splitlines() if x.startswith("RESULT ")]
    if done.returncode != 0 or not lines:
        raise RuntimeError(f"the load generator failed: {done.stdout}{done.stderr}")
    seen = json.loads(lines[0].removeprefix("RESULT "))
    if seen["refused"] or seen["broken"] or not seen["requests"]:
        raise RuntimeError(f"not every call was answered with success: {seen}")
    return Load(
        seen["requests"],
        seen["duration_us"] / 1e6,
        seen["p50_us"] / 1000,
        seen["p99_us"] / 1000,
        generator_cpu_s,
    )


def _children_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


# ---------------------------------------------------------------- without wrk


class _Caller(asyncio.Protocol):
    """One connection; counts answers until the end."""

    def __init__(self, request: bytes, end: float, taken: list[float]) -> None:
        self._request, self._end, self._taken = request, end, taken
        self._began = 0.0
        self._got = b""
        self.refused = 0
        self.broken = 0
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._ask()

    def data_received(self, data: bytes) -> None:
        self._got += data
        head, found, body = self._got.partition(b"\r\n\r\n")
        if not found:
            return
        lowered = head.lower()
        at = lowered.find(b"content-length:")
        if len(body) < int(lowered[at + 15 :].split(b"\r\n", 1)[0]):
            return
        now = time.perf_counter()
        self._taken.append(now - self._began)
        self.refused += not head.startswith(b"HTTP/1.1 2")
        self._got = b""
        if now < self._end:
            self._ask()
        else:
            self._transport.close()

    def connection_lost(self, _: Exception | None) -> None:
        self.broken += time.perf_counter() < self._end
        self.done.set_result(None)

    def _ask(self) -> None:
        self._began = time.perf_counter()
        self._transport.write(self._request)


async def _without_wrk(url: str, callers: int, seconds: int) -> None:
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or 80
    request = (
        f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {os.environ[TOKEN_VARIABLE]}\r\nContent-Length: {len(BODY)}\r\n\r\n"
    ).encode() + BODY
    taken: list[float] = []
    began = time.perf_counter()
    loop, end = asyncio.get_running_loop(), began + seconds
    made = [
        await loop.create_connection(lambda: _Caller(request, end, taken), host, port)
        for _ in range(callers)
    ]
    await asyncio.gather(*(caller.done for _, caller in made))
    cuts = statistics.quantiles(taken, n=100)
    seen = {
        "requests": len(taken),
        "duration_us": (time.perf_counter() - began) * 1e6,
        "p50_us": cuts[49] * 1e6,
        "p99_us": cuts[98] * 1e6,
        "refused": sum(caller.refused for _, caller in made),
        "broken": sum(caller.broken for _, caller in made),
    }
    print(f"RESULT {json.dumps(seen)}")


if __name__ == "__main__":
    import uvloop

    uvloop.run(_without_wrk(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
