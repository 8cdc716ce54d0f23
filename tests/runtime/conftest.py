"""A container engine of the tests' own, and the image of the probe game."""

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from innkeeper.runtime.engine import Engine
from innkeeper.runtime.engine_service import EngineService, can_run_service, stop_engine_service
from innkeeper.runtime.mounts import mounted_below
from innkeeper.testing.container_harness import ContainerHarness, build_probe, tar_of
from innkeeper.testing.image_registry import Registry, serving

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
def registry(probe: Path) -> Iterator[str]:
    """The address of a registry of the tests' own."""
    with serving(Registry(tar_of({"probe": probe.read_bytes()}))) as address:
        yield address


class ServiceWithRegistry(EngineService):
    """The service; one registry may be asked without TLS."""

    def __init__(self, data_dir: Path, registry: str) -> None:
        super().__init__(data_dir)
        self._conf = data_dir / "engine/registries.conf"
        self._registry = registry

    def _write_configuration(self) -> None:
        super()._write_configuration()
        with self._conf.open("a") as conf:
            conf.write(f'\n[[registry]]\nlocation = "{self._registry}"\ninsecure = true\n')


@pytest.fixture(scope="session")
def engine_dir(tmp_path_factory: pytest.TempPathFactory, registry: str) -> Iterator[Path]:
    """A data directory whose own engine service runs until the tests are over."""
    if not can_run_service():
        pytest.skip("needs root, podman and runc")
    data_dir = tmp_path_factory.mktemp("engine")
    asyncio.run(ServiceWithRegistry(data_dir, registry).ensure())
    yield data_dir
    stop_engine_service(data_dir)
    assert mounted_below(data_dir) == []


@pytest.fixture(scope="session")
def engine_socket(request: pytest.FixtureRequest, probe: Path) -> Path:
    """The engine's socket; the engine has the probe's image.

    INNKEEPER_TEST_ENGINE names the socket of another engine to run the suites on, such as Docker's.
    """
    named = os.environ.get("INNKEEPER_TEST_ENGINE")
    if named:
        socket_path = Path(named)
    else:
        socket_path = EngineService(request.getfixturevalue("engine_dir")).socket_path

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
