"""Talks to the zygote of a directory, and starts or stops it."""

import asyncio
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import innkeeper
from innkeeper.core.errors import RuntimeAway
from innkeeper.runtime import places, proc_table
from innkeeper.runtime.zygote import VERSION

_SPAWN_TIMEOUT_S = 10.0
_ANSWER_TIMEOUT_S = 15.0
_STOP_TIMEOUT_S = 3.0


class ZygoteClient:
    """Requests to the zygote of ``directory``; it is started when it is not there.
    ``log_bytes_max`` is its bound.
    """

    def __init__(self, directory: Path, log_bytes_max: int) -> None:
        self._directory = str(directory)
        self._log_bytes_max = log_bytes_max
        self._spawning = asyncio.Lock()

    async def open(self) -> None:
        """Find a zygote that speaks our version, or start one. Raises :class:`RuntimeAway`."""
        async with self._spawning:
            answer = await asyncio.to_thread(_ask, self._directory, "hello")
            if answer == f"{VERSION} {self._log_bytes_max}":
                return
            if answer is not None:
                await asyncio.to_thread(_stop, self._directory)
            await asyncio.to_thread(_spawn, self._directory, self._log_bytes_max)

    async def start(self, process_id: str) -> dict[str, Any]:
        """The supervisor's answer: ``booted_at`` (ms), or ``failed`` and ``errno``, or ``again``."""
        try:
            return await self._start(process_id)
        except OSError:  # it was killed; nothing was started yet, or the next answer says so
            await self.open()
        try:
            return await self._start(process_id)
        except OSError as error:
            raise RuntimeAway(f"the process runtime's zygote does not answer: {error}") from error

    async def _start(self, process_id: str) -> dict[str, Any]:
        connection = _connect(self._directory, "start.sock")
        loop = asyncio.get_running_loop()
        ready = asyncio.Event()
        try:
            connection.send(f"start {process_id}".encode(), socket.MSG_NOSIGNAL)
            loop.add_reader(connection, ready.set)
            try:
                async with asyncio.timeout(_ANSWER_TIMEOUT_S):
                    await ready.wait()
            except TimeoutError as error:
                raise RuntimeAway("the process runtime's zygote does not answer") from error
            finally:
                loop.remove_reader(connection)
            answer = connection.recv(4096)
        finally:
            connection.close()
        if not answer:
            raise ConnectionResetError(f"no answer for {process_id}; zygote.log may tell why")
        value = json.loads(answer)
        assert isinstance(value, dict)
        return value


def stop_zygote(directory: Path) -> None:
    """End the zygote of ``directory``, if there is one; games run on. Blocks for some seconds at
    the most.
    """
    _stop(str(directory))


def _connect(directory: str, name: str = "zygote.sock") -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        connection.setblocking(False)
        with places.socket_address(directory, name) as address:
            connection.connect(address)
    except BaseException:
        connection.close()
        raise
    return connection


def _ask(directory: str, request: str) -> str | None:
    """One question, at start and stop; ``None`` where nobody answers in time."""
    try:
        with _connect(directory) as connection:
            connection.settimeout(_STOP_TIMEOUT_S)
            connection.send(request.encode(), socket.MSG_NOSIGNAL)
            return connection.recv(4096).decode() or None
    except OSError:
        return None


def _spawn(directory: str, log_bytes_max: int) -> None:
    command = [sys.executable, "-s", "-S", "-m", "innkeeper.runtime.zygote"]
    package_parent = str(Path(innkeeper.__file__).resolve().parents[1])
    env = {"PATH": os.defpath, "LANG": "C.UTF-8", "PYTHONPATH": package_parent}
    with open(f"{directory}/zygote.log", "ab") as log:
        done = subprocess.run(
            [*command, directory, str(log_bytes_max)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=env,
            cwd="/",
            start_new_session=True,
            timeout=_SPAWN_TIMEOUT_S,
            check=False,
        )
    if done.returncode != 0:
        raise RuntimeAway(
            f"the process runtime's zygote could not be started: see {directory}/zygote.log"
        )


def _stop(directory: str) -> None:
    try:
        connection = _connect(directory)
    except OSError:
        return
    with connection:
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        pid = struct.unpack("3i", credentials)[0]
        ticks = proc_table.start_ticks(pid)
        try:
            connection.send(b"stop", socket.MSG_NOSIGNAL)
        except OSError:
            return
    until = time.monotonic() + _STOP_TIMEOUT_S
    while (ticks is not None and proc_table.alive(pid, ticks)) or _spares(directory):
        if time.monotonic() >= until:
            proc_table.send_signal(
                pid, signal.SIGKILL, lambda: proc_table.start_ticks(pid) == ticks
            )
            return
        time.sleep(0.005)


def _spares(directory: str) -> bool:
    """Whether any spare still listens: they end by themselves when the zygote does."""
    try:
        _connect(directory, "start.sock").close()
    except OSError:
        return False
    return True
