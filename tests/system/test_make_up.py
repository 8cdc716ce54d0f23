"""``make up`` as a newcomer runs it: twice on one data directory, with both runtimes."""

import asyncio
import contextlib
import fcntl
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import tempfile
import termios
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from innkeeper.cli import control_plane
from innkeeper.testing.live import claimed_ports

ROOT = Path(__file__).parents[2]
LAST_LINE = "Ctrl-C stops everything."
FIRST_UP_S = 240
STOP_S = 45

pytestmark = [pytest.mark.system, pytest.mark.timeout(FIRST_UP_S * 2)]


@pytest.fixture
def data_dir() -> Iterator[Path]:
    # Short, for sockets lie below it and their paths have a limit.
    path = Path(tempfile.mkdtemp(prefix="ik-up-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@dataclass
class Up:
    """A ``make up`` that has come to rest, and what it printed."""

    child: asyncio.subprocess.Process
    output: str
    took_s: float

    def found(self, pattern: str) -> str:
        match = re.search(pattern, self.output, re.MULTILINE)
        assert match, f"{pattern!r} is not in:\n{self.output}"
        return match[1]

    @property
    def api(self) -> str:
        return self.found(r"^API (http://127\.0\.0\.1:\d+)$")

    @property
    def room(self) -> str:
        return self.found(r"^ROOM (\S+) IN PLAY AT 127\.0\.0\.1:\d+/udp$")

    @property
    def app_id(self) -> str:
        return self.found(r"/rooms/v2/(app-[0-9a-f-]+)/create")

    @property
    def process_id(self) -> str:
        return self.found(r"/process/([0-9a-f-]{36})")

    async def stop(self) -> int:
        """Ctrl-C, as a terminal sends it: to the whole group."""
        os.killpg(self.child.pid, signal.SIGINT)
        assert self.child.stdout is not None
        async with asyncio.timeout(STOP_S):
            self.output += (await self.child.stdout.read()).decode()
            return await self.child.wait()


@pytest.fixture
def ports() -> Iterator[str]:
    with claimed_ports() as (first, last):
        yield f"{first}-{last}"


@asynccontextmanager
async def make_up(data_dir: Path, runtime: str, ports: str) -> AsyncIterator[Up]:
    begun = time.monotonic()
    child = await asyncio.create_subprocess_exec(
        "make",
        "up",
        cwd=ROOT,
        env={
            "PATH": os.environ["PATH"],
            "HOME": os.environ.get("HOME", "/"),
            "INNKEEPER_DATA_DIR": str(data_dir),
            "INNKEEPER_LISTEN": "127.0.0.1:0",
            "INNKEEPER_PORT_RANGE": ports,
            "INNKEEPER_RUNTIME": runtime,
        },
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        output = await _until_at_rest(child)
        yield Up(child, output, time.monotonic() - begun)
    finally:
        if child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGTERM)
            await child.wait()


async def _until_at_rest(child: asyncio.subprocess.Process) -> str:
    assert child.stdout is not None
    output = ""
    async with asyncio.timeout(FIRST_UP_S):
        while LAST_LINE not in output:
            line = (await child.stdout.readline()).decode()
            assert line, f"make up ended early:\n{output}"
            output += line
    return output


def ask(up: Up, data_dir: Path, path: str) -> Any:
    token = (data_dir / "admin-token").read_text().strip()
    answer = httpx.get(f"{up.api}{path}", headers={"authorization": f"Bearer {token}"})
    assert answer.status_code == 200, answer.text
    return answer.json()


def _latest(app_id: str) -> str:
    return f"/deployments/v3/apps/{app_id}/deployments/latest"


def left_running(data_dir: Path, process_ids: list[str]) -> list[str]:
    """Processes that name the data directory or one of our process ids, and mounts below it."""
    marks = [str(data_dir).encode(), *(process_id.encode() for process_id in process_ids)]
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        if int(directory.name) == os.getpid():
            continue
        try:
            text = (directory / "cmdline").read_bytes() + (directory / "environ").read_bytes()
        except OSError:
            continue
        if any(mark in text for mark in marks):
            found.append(text.replace(b"\0", b" ").decode(errors="replace")[:200])
    return found + mounts_below(data_dir)


def mounts_below(data_dir: Path) -> list[str]:
    """File systems that are mounted inside the data directory: it could not be removed."""
    lines = Path("/proc/mounts").read_text().splitlines()
    return [line for line in lines if line.split()[1].startswith(f"{data_dir}/")]


@pytest.mark.parametrize("runtime", ["process", "container"])
async def test_two_ups_and_nothing_left(data_dir: Path, ports: str, runtime: str) -> None:
    async with make_up(data_dir, runtime, ports) as first:
        token = first.found(r"^ADMIN TOKEN (\S+) \(shown once; kept in ")
        assert token == (data_dir / "admin-token").read_text().strip()
        log = httpx.get(
            f"{first.api}/logs/v1/{first.app_id}/process/{first.process_id}",
            headers={"authorization": f"Bearer {token}"},
        ).text
        assert "asked for process: 200 starting" in log
        assert f"asked for rooms: 200 {first.room}" in log
        assert log.index("asked for rooms") < log.index("bound port")
        before = ask(first, data_dir, _latest(first.app_id))
        code = await first.stop()
        assert "nothing runs any more" in first.output
        assert "Traceback" not in first.output
        # `make` itself was interrupted, and says so with its own code.
        assert code in (0, 2, 130, -signal.SIGINT)
    assert left_running(data_dir, [first.process_id]) == []
    assert control_plane.running(data_dir) == []

    async with make_up(data_dir, runtime, ports) as second:
        assert token not in second.output
        assert second.found(r"^ADMIN TOKEN in (\S+)$").endswith("admin-token")
        assert second.room != first.room
        assert second.app_id == first.app_id
        assert ask(second, data_dir, _latest(first.app_id)) == before
        old = ask(second, data_dir, f"/rooms/v2/{first.app_id}/info/{first.room}")
        assert (old["status"], old["currentAllocation"]) == ("destroyed", None)
        path = f"/processes/v3/apps/{first.app_id}/processes/{first.process_id}"
        assert ask(second, data_dir, path)["summaryExitReason"]
        assert second.took_s < 30
        await second.stop()
    assert left_running(data_dir, [first.process_id, second.process_id]) == []


async def command(up: Up, data_dir: Path, *words: str) -> str:
    """What one of our commands prints, asked beside a running server."""
    child = await asyncio.create_subprocess_exec(
        ROOT / ".venv/bin/innkeeper",
        *words,
        env={**os.environ, "INNKEEPER_URL": up.api, "INNKEEPER_DATA_DIR": str(data_dir)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(60):
        output, _ = await child.communicate()
    assert child.returncode == 0, output.decode()
    return output.decode()


async def test_the_commands_work_beside_it(data_dir: Path, ports: str) -> None:
    async with make_up(data_dir, "process", ports) as up:
        made = await command(up, data_dir, "room", "create", "--config", "{}")
        room = next(line for line in made.splitlines() if line.startswith("room "))
        room_id, process_id = room.split()[1::3]
        assert "default: 127.0.0.1:" in made
        listed = await command(up, data_dir, "ps")
        assert {up.process_id, process_id} <= {line.split()[0] for line in listed.splitlines()}
        assert '"status": "active"' in await command(up, data_dir, "room", "info", room_id)
        await command(up, data_dir, "room", "destroy", room_id)
        assert "bound port" in await command(up, data_dir, "logs", process_id[:8])
        sample = str(ROOT / "samples/tag")
        deployed = await command(
            up, data_dir, "deploy", sample, "--app", "own", "--port", "7777", "--env", "A=B=C"
        )
        assert "made app own" in deployed
        again = await command(up, data_dir, "room", "create", "--app", "own")
        assert "default: 127.0.0.1:" in again


async def test_a_second_one_on_the_same_directory_is_refused(data_dir: Path, ports: str) -> None:
    async with make_up(data_dir, "process", ports) as up:
        for word in ("up", "serve"):
            child = await asyncio.create_subprocess_exec(
                ROOT / ".venv/bin/innkeeper",
                *(word, "--data-dir", data_dir, "--listen", "127.0.0.1:0"),
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
            output, _ = await child.communicate()
            assert (child.returncode, "already" in output.decode()) == (1, True)
        assert httpx.get(f"{up.api}/readyz").status_code == 200


@pytest.mark.parametrize("runtime", ["process", "container"])
async def test_a_closed_terminal_stops_everything_too(
    data_dir: Path, ports: str, runtime: str
) -> None:
    terminal, inside = pty.openpty()
    environ = {
        **os.environ,
        "INNKEEPER_DATA_DIR": str(data_dir),
        "INNKEEPER_LISTEN": "127.0.0.1:0",
        "INNKEEPER_PORT_RANGE": ports,
        "INNKEEPER_RUNTIME": runtime,
    }

    def own_terminal() -> None:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    child = subprocess.Popen(
        [ROOT / ".venv/bin/innkeeper", "up"],
        cwd=ROOT,
        env=environ,
        stdin=inside,
        stdout=inside,
        stderr=inside,
        start_new_session=True,
        preexec_fn=own_terminal,
    )
    os.close(inside)
    try:
        await asyncio.to_thread(_read_until, terminal, LAST_LINE)
        os.close(terminal)
        code = await asyncio.to_thread(child.wait, STOP_S)
    finally:
        if child.poll() is None:
            child.terminate()
    assert code is not None
    assert control_plane.running(data_dir) == []
    assert left_running(data_dir, []) == []


def _read_until(handle: int, text: str) -> None:
    """Read a terminal until it has shown ``text``; its end, or silence, is an error."""
    seen, deadline = "", time.monotonic() + FIRST_UP_S
    while text not in seen:
        ready, _, _ = select.select([handle], [], [], max(deadline - time.monotonic(), 0))
        assert ready, f"silence after:\n{seen}"
        seen += os.read(handle, 65536).decode(errors="replace")


async def test_down_from_elsewhere_ends_it_in_peace(data_dir: Path, ports: str) -> None:
    async with make_up(data_dir, "container", ports) as up:
        assert "nothing runs any more" in await command(up, data_dir, "down")
        assert up.child.stdout is not None
        async with asyncio.timeout(STOP_S):
            rest = (await up.child.stdout.read()).decode()
            assert await up.child.wait() == 0
    assert "somebody else has stopped the server" in rest
    assert "Traceback" not in rest
    assert left_running(data_dir, [up.process_id]) == []


async def test_a_killed_up_is_cleaned_by_down(data_dir: Path, ports: str) -> None:
    async with make_up(data_dir, "process", ports) as up:
        (server,) = control_plane.running(data_dir)
        os.killpg(up.child.pid, signal.SIGKILL)
        await up.child.wait()
        os.kill(server.pid, signal.SIGKILL)
    assert left_running(data_dir, [up.process_id])

    begun = time.monotonic()
    for _ in range(2):  # the second time there is nothing to do
        down = await asyncio.create_subprocess_exec(
            ROOT / ".venv/bin/innkeeper", "down", "--data-dir", data_dir
        )
        assert await down.wait() == 0
    assert time.monotonic() - begun < 30
    assert left_running(data_dir, [up.process_id]) == []
