"""A container engine of the tests' own, and the image of the probe game."""

import asyncio
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from pathlib import Path

import pytest

from innkeeper.runtime.engine import Engine
from innkeeper.runtime.engine_service import EngineService, can_run_service, stop_engine_service
from innkeeper.runtime.mounts import mounted_below

PROBE = "localhost/innkeeper-tests/probe:latest"
DOCKERFILE = b'FROM scratch\nCOPY probe /probe\nENTRYPOINT ["/probe"]\n'
HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def probe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compiled probe game, static."""
    target = tmp_path_factory.mktemp("probe") / "probe"
    command = [
        "gcc",
        "-static",
        "-O1",
        "-Wall",
        "-Werror",
        "-o",
        str(target),
        str(HERE / "games/probe.c"),
    ]
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
    context = probe.with_name("context")
    context.mkdir()
    (context / "Dockerfile").write_bytes(DOCKERFILE)
    (context / "probe").write_bytes(probe.read_bytes())
    (context / "probe").chmod(0o755)
    archive = probe.with_name("context.tar")
    subprocess.run(["tar", "-C", context, "-cf", archive, "."], check=True, timeout=60)
    socket_path = EngineService(engine_dir).socket_path
    asyncio.run(_build(socket_path, archive.read_bytes()))
    return socket_path


async def _build(socket_path: Path, context: bytes) -> None:
    async def content() -> AsyncIterator[bytes]:
        yield context

    engine = Engine(socket_path)
    await engine.open()
    lines = engine.lines(
        "POST",
        "/build",
        params={"t": PROBE},
        headers={"Content-Type": "application/x-tar"},
        content=content(),
        read_timeout_s=60.0,
    )
    async with aclosing(lines) as answer:
        async for line in answer:
            assert not line.get("error"), line
    await engine.close()
