"""A data directory as a control plane with host processes leaves it: two rooms, a build, logs, a token."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from innkeeper import wiring
from innkeeper.store.opening import open_store
from innkeeper.testing.studio import Studio
from innkeeper.usecases import rooms
from innkeeper.wiring.backup import Wanted
from innkeeper.wiring.last_run import LastRun

TOKEN = "the-admin-token-of-the-test"


@dataclass
class Installation:
    """A data directory whose store is open, as a running server has it."""

    data_dir: Path
    studio: Studio
    build_key: str

    async def room(self) -> str:
        """A new room on a new process."""
        wanted = rooms.NewRoom(self.studio.app_id, "Tokyo")
        made = await self.studio.ask(rooms.create_room, wanted)
        return str(made.room_id)


@pytest.fixture
async def installation(tmp_path: Path) -> AsyncIterator[Installation]:
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    database = data_dir / "innkeeper.db"
    store = await open_store(database)
    studio = await Studio(store).open()
    await studio.deploy()
    rows = await store.read(lambda tx: tx.all("builds.kept_images"))
    made = Installation(data_dir, studio, str(rows[0]["build_key"]))
    for _ in range(2):
        await made.room()
    rootfs = data_dir / "processes" / "images" / made.build_key / "rootfs"
    (rootfs / "bin" / "empty").mkdir(parents=True)
    (rootfs / "bin" / "game").write_bytes(b"\x7fELF" + b"g" * 5000)
    (rootfs / "bin" / "game").chmod(0o755)
    (rootfs / "start").symlink_to("bin/game")
    (rootfs / "all").symlink_to("bin")
    (rootfs.parent / "image.json").write_text(
        '{"entrypoint":["/start"],"cmd":[],"env":{},"workdir":"/"}'
    )
    for folder, name in (("logs", "a-process.log.zst"), ("builds", f"{made.build_key}.log")):
        (data_dir / folder).mkdir()
        (data_dir / folder / name).write_text(f"lines of {name}\n")
    (data_dir / "admin-token").write_text(f"{TOKEN}\n")
    LastRun("process", f"sqlite:///{database.absolute()}", None).keep(data_dir)
    yield made
    await store.close()


def quiet(_line: str) -> None:
    """Progress that nobody reads."""


@pytest.fixture
async def backup(installation: Installation) -> Path:
    """A backup of the installation, whose store goes on."""
    target = installation.data_dir.parent / "b.tar"
    await wiring.backup(installation.data_dir, target, Wanted(), quiet)
    return target


def put_back(file: Path, data_dir: Path, force: bool = False) -> list[str]:
    """What ``innkeeper restore`` does; what it said."""
    said: list[str] = []
    with wiring.open_backup(file, said.append) as reader:
        data_dir.mkdir(exist_ok=True)
        wiring.restore(reader, data_dir, force, said.append)
    return said
