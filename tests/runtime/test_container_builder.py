"""Builds and pulls with a real engine."""

import asyncio
import base64
import json
import os
import re
import shutil
import socket
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from innkeeper.core.errors import BuildFailed, StartFailed
from innkeeper.runtime import proc_table
from innkeeper.runtime.build_group import BuildGroup
from innkeeper.runtime.container_builder import (
    ContainerBuilder,
    registry_auth,
    registry_reference,
)
from innkeeper.runtime.engine import Engine
from innkeeper.testing.container_harness import PROBE_DOCKERFILE, ContainerHarness, tar_of
from innkeeper.testing.image_registry import LOGIN, machine
from innkeeper.testing.runtime_harness import eventually, until_bound

pytestmark = pytest.mark.system


@pytest.fixture
async def engine(engine_socket: Path) -> AsyncIterator[Engine]:
    made = Engine(engine_socket)
    await made.open()
    yield made
    await made.close()


@pytest.fixture
async def builder(engine: Engine, harness: ContainerHarness) -> ContainerBuilder:
    await harness.open()  # makes the bridge
    return ContainerBuilder(engine, harness.settings)


@pytest.fixture
def key() -> str:
    return str(uuid.uuid4())


class Archives:
    """Writes archives to build from."""

    def __init__(self, directory: Path, probe: bytes) -> None:
        self.directory = directory
        self.probe = probe

    def write(self, files: dict[str, bytes]) -> Path:
        path = self.directory / "build.tar.gz"
        path.write_bytes(tar_of(files, "w:gz"))
        return path

    def game(self, dockerfile: bytes = PROBE_DOCKERFILE, top: str = "") -> Path:
        return self.write({f"{top}Dockerfile": dockerfile, f"{top}probe": self.probe})

    def only_the_archive(self) -> bool:
        return [path.name for path in self.directory.iterdir()] == ["build.tar.gz"]


@pytest.fixture
def archives(tmp_path: Path, probe: Path) -> Archives:
    directory = tmp_path / "uploads"
    directory.mkdir()
    return Archives(directory, probe.read_bytes())


async def images(engine: Engine, prefix: str) -> list[str]:
    answer = await engine.call("GET", "/images/json")
    return [tag for image in answer.data for tag in image["RepoTags"] or [] if prefix in tag]


@pytest.mark.parametrize("top", ["", "my-game/"])
async def test_a_game_is_built_and_starts(
    builder: ContainerBuilder, harness: ContainerHarness, archives: Archives, key: str, top: str
) -> None:
    lines: list[str] = []
    built = await builder.build(key, archives.game(top=top), lines.append)
    assert built.size_bytes >= len(archives.probe)
    assert any("FROM scratch" in line for line in lines)
    assert any("my-game" in line for line in lines) is bool(top)
    assert archives.only_the_archive()
    driver = await harness.open()
    harness.image_ref = built.image_ref
    spec = harness.spec(driver)
    await driver.start(spec)
    await until_bound(driver, spec)
    await driver.remove(spec.process_id)
    await builder.delete(built.image_ref)


async def test_a_step_that_fails_is_told_in_the_builders_words(
    builder: ContainerBuilder,
    engine: Engine,
    harness: ContainerHarness,
    archives: Archives,
    key: str,
) -> None:
    dockerfile = PROBE_DOCKERFILE + b'ENV PROBE_MODE=exit PROBE_VALUE=9\nRUN ["/probe"]\n'
    lines: list[str] = []
    with pytest.raises(BuildFailed, match=r"exit status 9|code: 9"):
        await builder.build(key, archives.game(dockerfile), lines.append)
    assert await images(engine, key) == []
    assert archives.only_the_archive()


async def test_a_step_runs_within_this_machines_limits(
    builder: ContainerBuilder, archives: Archives, key: str
) -> None:
    dockerfile = PROBE_DOCKERFILE + b'ENV PROBE_MODE=exit PROBE_LINES=2\nRUN ["/probe"]\n'
    lines: list[str] = []
    built = await builder.build(key, archives.game(dockerfile), lines.append)
    assert "line 1" in lines
    await builder.delete(built.image_ref)


@pytest.mark.parametrize(
    ("dockerfile", "words"),
    [
        (b"FROM scratch\nCOPY nothing-here /\n", "nothing-here"),
        (b"FORM scratch\n", "FROM|FORM"),
    ],
)
async def test_a_wrong_dockerfile_fails_with_the_reason(
    builder: ContainerBuilder, archives: Archives, key: str, dockerfile: bytes, words: str
) -> None:
    with pytest.raises(BuildFailed, match=words):
        await builder.build(key, archives.game(dockerfile), lambda line: None)


async def test_a_build_that_is_given_up_leaves_no_step_behind(
    engine: Engine, harness: ContainerHarness, archives: Archives, key: str
) -> None:
    await harness.open()
    builder = ContainerBuilder(engine, harness.settings, own_engine=True)
    group = BuildGroup(f"{harness.settings.prefix}-build")
    never = b'ENV PROBE_MODE=never\nRUN ["/probe"]\n'
    build = asyncio.create_task(
        builder.build(key, archives.game(PROBE_DOCKERFILE + never), lambda line: None)
    )

    async def in_its_step() -> bool:
        return [proc_table.name_of(pid) for pid in group.members()] == ["probe"]

    await eventually(in_its_step, "the step runs")
    (pid,) = group.members()
    status = Path(f"/proc/{pid}/status").read_text()
    rights = int(re.findall(r"CapBnd:\t(\w+)", status)[0], 16)
    assert not any(rights >> number & 1 for number in (13, 27, 29, 21, 12))
    groups = Path(f"/proc/{pid}/cgroup").read_text()
    v1 = re.search(r":memory:(.*)", groups)
    top = Path("/sys/fs/cgroup")
    if v1:
        limit = (top / f"memory{v1[1]}/memory.limit_in_bytes").read_text()
        pids = (top / f"pids{os.path.dirname(v1[1])}/pids.max").read_text()
    else:
        place = top / groups.rsplit(":", 1)[1].strip()[1:]
        limit = (place / "memory.max").read_text()
        pids = (place.parent / "pids.max").read_text()
    assert 0 < int(limit) <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    assert int(pids) == 4096
    build.cancel()
    with pytest.raises(asyncio.CancelledError):
        await build
    assert group.members() == set()
    assert (
        not Path(f"/proc/{pid}").exists() or "State:\tZ" in Path(f"/proc/{pid}/status").read_text()
    )
    built = await builder.build(key, archives.game(), lambda line: None)
    await builder.delete(built.image_ref)


async def test_a_step_ends_before_the_disk_is_full(
    engine: Engine,
    harness: ContainerHarness,
    archives: Archives,
    key: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await harness.open()
    builder = ContainerBuilder(engine, harness.settings, own_engine=True)
    group = BuildGroup(f"{harness.settings.prefix}-build")

    def used(place: Path) -> Any:
        return SimpleNamespace(free=0 if group.members() else 1 << 40)

    monkeypatch.setattr(shutil, "disk_usage", used)
    never = b'ENV PROBE_MODE=never\nRUN ["/probe"]\n'
    with pytest.raises(BuildFailed, match="the disk is nearly full"):
        await builder.build(key, archives.game(PROBE_DOCKERFILE + never), lambda line: None)
    assert group.members() == set()


async def test_a_step_has_a_network_of_its_own(
    builder: ContainerBuilder, archives: Archives, key: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as private:
        address = f"http://127.0.0.1:{private.getsockname()[1]}"
        steps = f'ENV PROBE_MODE=exit PROBE_CALL=1 HATHORA_SERVER_URL={address}\nRUN ["/probe"]\n'
        lines: list[str] = []
        built = await builder.build(
            key, archives.game(PROBE_DOCKERFILE + steps.encode()), lines.append
        )
    assert any(line.startswith("call failed") for line in lines)
    await builder.delete(built.image_ref)


@pytest.mark.parametrize(
    "steps",
    [
        'RUN --network=host ["/probe"]',
        'run \\\n# a comment\n  --mount=type=cache,target=/x ["/probe"]',
        "ONBUILD RUN --security=insecure /probe",
        "FROM dir:/etc",
        "COPY --from=oci-archive:/etc/x /a /b",
    ],
)
async def test_what_could_reach_past_the_build_is_refused(
    builder: ContainerBuilder, archives: Archives, key: str, steps: str
) -> None:
    with pytest.raises(BuildFailed, match=r"the Dockerfile (has RUN --|takes)"):
        await builder.build(
            key, archives.game(PROBE_DOCKERFILE + steps.encode()), lambda line: None
        )
    assert archives.only_the_archive()


async def test_a_hostile_archive_never_reaches_the_engine(
    builder: ContainerBuilder, archives: Archives, key: str
) -> None:
    archive = archives.write({"Dockerfile": PROBE_DOCKERFILE, "../probe": b"x"})
    with pytest.raises(BuildFailed, match="refused"):
        await builder.build(key, archive, lambda line: None)
    assert archives.only_the_archive()


async def test_deleting_is_repeatable_and_spares_what_runs(
    builder: ContainerBuilder,
    engine: Engine,
    harness: ContainerHarness,
    archives: Archives,
    key: str,
) -> None:
    built = await builder.build(key, archives.game(), lambda line: None)
    driver = await harness.open()
    harness.image_ref = built.image_ref
    spec, later = harness.spec(driver, harness.ports("tcp")), harness.spec(driver)
    await driver.start(spec)
    await until_bound(driver, spec)
    await builder.delete(built.image_ref)
    await builder.delete(built.image_ref)
    assert driver.bound(spec.process_id, spec.ports)
    assert await images(engine, key) == []
    with pytest.raises(StartFailed, match="is gone"):
        await driver.start(later)
    await driver.remove(later.process_id)


async def test_only_our_own_images_are_deleted(builder: ContainerBuilder) -> None:
    with pytest.raises(ValueError, match="not an image of this installation"):
        await builder.delete("localhost/somebody/elses:latest")


async def test_an_image_is_pulled_and_kept_under_our_name(
    builder: ContainerBuilder, engine: Engine, harness: ContainerHarness, registry: str, key: str
) -> None:
    lines: list[str] = []
    built = await builder.pull(key, "games/probe", f"https://{registry}", LOGIN, lines.append)
    assert built.size_bytes > 0
    assert any("games/probe:latest" in line for line in lines)
    assert await images(engine, registry) == []
    driver = await harness.open()
    harness.image_ref = built.image_ref
    spec = harness.spec(driver)
    await driver.start(spec)
    await until_bound(driver, spec)
    await driver.remove(spec.process_id)
    await builder.delete(built.image_ref)
    assert LOGIN.partition(":")[2] not in "".join(lines)


@pytest.mark.parametrize(
    ("image", "auth", "words"),
    [
        ("games/probe:none", LOGIN, "manifest unknown|not found"),
        ("games/probe", "player:wrong", "unauthorized|authentication|credentials|401"),
        ("games/probe", None, "unauthorized|authentication|credentials|401"),
        ("games/probe:alien", LOGIN, f"linux/s390x; this server runs linux/{machine()}"),
    ],
)
async def test_a_pull_that_fails_says_why_and_leaves_nothing(
    builder: ContainerBuilder,
    engine: Engine,
    registry: str,
    key: str,
    image: str,
    auth: str | None,
    words: str,
) -> None:
    with pytest.raises(BuildFailed, match=f"(?i){words}") as failure:
        await builder.pull(key, image, registry, auth, lambda line: None)
    assert LOGIN.partition(":")[2] not in failure.value.message.replace(image, "")
    assert await images(engine, key) == []
    assert await images(engine, registry) == []


class TestReferences:
    """Names of registries' images, and logins."""

    @pytest.mark.parametrize(
        ("image", "url", "whole"),
        [
            ("nginx", None, "docker.io/library/nginx:latest"),
            ("nginx:1.2", None, "docker.io/library/nginx:1.2"),
            ("dir:x", None, "docker.io/library/dir:x"),
            ("games/tag:v1", "", "docker.io/games/tag:v1"),
            ("games/tag", "https://registry.example.com/", "registry.example.com/games/tag:latest"),
            ("games/tag:v1", "registry.example.com:5000", "registry.example.com:5000/games/tag:v1"),
            ("a/b@sha256:" + "0" * 64, "r.example", "r.example/a/b@sha256:" + "0" * 64),
        ],
    )
    def test_they_are_made_whole(self, image: str, url: str | None, whole: str) -> None:
        assert registry_reference(image, url) == whole

    @pytest.mark.parametrize(
        "image",
        [
            "docker-archive:/etc/image.tar",
            "dir:/root",
            "../x",
            "/x",
            "a b",
            "a\n",
            "UPPER",
            "x" * 600,
            "",
        ],
    )
    def test_what_is_no_image_of_a_registry_is_refused(self, image: str) -> None:
        with pytest.raises(BuildFailed, match="not the name"):
            registry_reference(image, None)

    @pytest.mark.parametrize(
        "auth", ["user:pass:word", base64.b64encode(b"user:pass:word").decode()]
    )
    def test_a_login_is_read_in_both_forms(self, auth: str) -> None:
        told = json.loads(base64.urlsafe_b64decode(registry_auth(auth, "r.example/x:1")))
        assert told == {"username": "user", "password": "pass:word", "serveraddress": "r.example"}

    def test_anything_else_is_a_token(self) -> None:
        told = json.loads(base64.urlsafe_b64decode(registry_auth("tok_123", "r.example/x:1")))
        assert told["registrytoken"] == told["identitytoken"] == "tok_123"
