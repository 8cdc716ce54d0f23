"""A container engine of the tests' own, and the image of the probe game."""

import asyncio
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from innkeeper.runtime.engine import Engine
from innkeeper.runtime.engine_service import EngineService, can_run_service, stop_engine_service
from innkeeper.runtime.mounts import mounted_below
from innkeeper.testing.container_harness import ContainerHarness, build_probe

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def probe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compiled probe game, static."""
    target = tmp_path_factory.mktemp("probe") / "probe"
    flags = ["-static", "-O1", "-Wall", "-Werror"]
    command = ["gcc", *flags, "-o", str(target), str(HERE / "games/probe.c")]
    subprocess.run(command, check=True, timeout=60)
    return target


@pytest.fixture(scope="session")
def engine_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A data directory whose own engine service runs until the tests are over."""
    if not can_run_service():
        pytest.skip("needs root, podman and runc")
    data_dir = tmp_path_factory.mktemp("engine")
    asyncio.run(EngineService(data_dir).ensure())
    yield data_dir
    stop_engine_service(data_dir)
    assert mounted_below(data_dir) == []


@pytest.fixture(scope="session")
def engine_socket(engine_dir: Path, probe: Path) -> Path:
    """The engine's socket; the engine has the probe's image."""
    socket_path = EngineService(engine_dir).socket_path

    async def prepare() -> None:
        engine = Engine(socket_path)
        await engine.open()
        await build_probe(engine, probe.read_bytes())
        await engine.close()

    asyncio.run(prepare())
    return socket_path


@pytest.fixture
async def harness(engine_socket: Path) -> AsyncIterator[ContainerHarness]:
    """An installation of its own in the shared engine; nothing of it is left behind."""
    made = ContainerHarness(engine_socket)
    yield made
    await made.clean()
    assert await made.leftovers() == []
