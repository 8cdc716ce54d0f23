"""A process runtime in a directory of its own, images made by hand, and programs to run in them."""

import asyncio
import os
import shutil
import socket
import subprocess
import uuid
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from innkeeper.core.snapshot import ProcessSeen
from innkeeper.interfaces import PortSpec, ProcessSpec
from innkeeper.runtime import images, places
from innkeeper.runtime.process import ProcessRuntime
from innkeeper.runtime.zygote_client import stop_zygote

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def games(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the static programs ``probe`` and ``family``."""
    place = tmp_path_factory.mktemp("games")
    for name, source in {
        "probe": HERE.parent / "games" / "probe.c",
        "family": HERE / "family.c",
    }.items():
        subprocess.run(["cc", "-O1", "-static", "-o", place / name, source], check=True)
    return place


@pytest.fixture
def free_port() -> Callable[[str], int]:
    """Asks the kernel for a port that nobody has bound; below the ports it gives to clients."""

    def ask(protocol: str) -> int:
        kind = socket.SOCK_DGRAM if protocol == "udp" else socket.SOCK_STREAM
        with socket.socket(socket.AF_INET, kind) as probe:
            probe.bind(("127.0.0.1", 0))
            return int(probe.getsockname()[1])

    return ask


class World:
    """A runtime that can be closed and opened again, as after a kill of the control plane."""

    def __init__(self, directory: Path, games: Path, free_port: Callable[[str], int]) -> None:
        self.directory = directory
        self.free_port = free_port
        self.now = datetime(2030, 1, 1, tzinfo=UTC)
        self.log_bytes_max = 100 * 1024 * 1024
        self.runtime = self.make()
        places.make_all(str(directory))
        for name in ("probe", "family"):
            self.image(name, games / name, (f"/bin/{name}",))

    def make(self) -> ProcessRuntime:
        return ProcessRuntime(
            self.directory,
            installation_id="test",
            api_url="http://127.0.0.1:9",
            clock=self.clock,
            log_bytes_max=self.log_bytes_max,
        )

    def clock(self) -> datetime:
        self.now += timedelta(milliseconds=1)
        return self.now

    def image(self, name: str, program: Path, command: tuple[str, ...]) -> None:
        rootfs = self.directory / "images" / name / "rootfs"
        (rootfs / "bin").mkdir(parents=True)
        shutil.copy(program, rootfs / "bin" / program.name)
        images.save(images.Image(rootfs, command, (), {"FROM_IMAGE": "yes"}, "/bin"))

    def spec(
        self,
        image: str = "probe",
        protocol: str = "udp",
        memory_mb: int = 512,
        container_port: int = 4000,
        **env: str,
    ) -> ProcessSpec:
        port = self.free_port(protocol)
        return ProcessSpec(
            process_id=str(uuid.uuid4()),
            app_id="app-1",
            deployment_id="dep-1",
            image_ref=image,
            cpu_millis=500,
            memory_mb=memory_mb,
            ports=(PortSpec("default", container_port, port, protocol),),
            env={"PROBE_PORTS": f"{protocol}:{port}", **env},
            sandbox_id=None,
        )

    async def restart(self) -> None:
        """A new control plane: nothing but the directory is handed over."""
        await self.runtime.close()
        self.runtime = self.make()
        await self.runtime.open()

    async def until(self, condition: Callable[[], bool], what: str) -> None:
        for _ in range(2000):
            if condition():
                return
            await asyncio.sleep(0.005)
        raise AssertionError(f"not within 10 s: {what}")

    async def bound(self, spec: ProcessSpec) -> None:
        await self.until(lambda: self.runtime.bound(spec.process_id, spec.ports), "port bound")

    async def ended(self, spec: ProcessSpec) -> ProcessSeen:
        for _ in range(2000):
            seen = (await self.runtime.observe()).processes[spec.process_id]
            if seen.phase == "exited":
                return seen
            await asyncio.sleep(0.005)
        raise AssertionError("it did not end within 10 s")

    def output(self, spec: ProcessSpec) -> str:
        return Path(places.log_path(str(self.directory), spec.process_id)).read_text()


@pytest.fixture
async def world(
    tmp_path: Path, games: Path, free_port: Callable[[str], int]
) -> AsyncIterator[World]:
    made = World(tmp_path / "d", games, free_port)
    await made.runtime.open()
    try:
        yield made
        for process_id in (await made.runtime.observe()).processes:
            await made.runtime.remove(process_id)
    finally:
        await made.runtime.close()
        stop_zygote(made.directory)


@pytest.fixture
def as_root() -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
