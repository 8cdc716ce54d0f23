"""The last step of a restore: what was made ready is put in its place, by renames only.

Once ``restore.ready`` stands in the data directory the restore is decided. Whoever comes next, after a crash
too, carries it to its end: first everything old goes aside, then everything new takes its place.
"""

import json
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

from innkeeper.core.errors import StateConflict
from innkeeper.disk.durable import sync

STAGING, READY, PLACING = "restore.partial", "restore.ready", "restore.placing"
DATABASE = "innkeeper.db"
IMAGES_TO_LOAD = "images-to-load.tar"  # taken in by the next start, for it takes the engine
RESERVE_BYTES = 64 * 1024**2  # left free, whatever is restored
NEW, BUILDS, PLAN = "new", "images", "plan.json"
# What belongs to the state. What runs, `engine` and `processes`, stays where it is.
STATE = (
    DATABASE,
    f"{DATABASE}-wal",
    f"{DATABASE}-shm",
    "admin-token",
    "last-run.json",
    "logs",
    "builds",
    "uploads",
    IMAGES_TO_LOAD,
)
# What may be in a data directory that nobody has used.
_NO_STATE = {
    "control-plane.pid",
    "down.lock",
    "start.lock",
    f"{DATABASE}.lock",
    "lost+found",
    STAGING,
}


def is_unused(data_dir: Path) -> bool:
    """Whether nothing of an installation is there."""
    return all(entry.name in _NO_STATE for entry in data_dir.iterdir())


def refuse_unfinished(data_dir: Path) -> None:
    """Raises :class:`StateConflict` where a restore was decided and is not at its end."""
    if any((data_dir / name).exists() for name in (READY, PLACING)):
        raise StateConflict(
            f"a restore of {data_dir} has not come to its end: "
            f"`innkeeper serve` or `innkeeper down` on it will finish it"
        )


def finish(data_dir: Path) -> bool:
    """Carry a decided restore to its end; whether there was one. Safe to repeat. Hold the data directory."""
    ready, placing = data_dir / READY, data_dir / PLACING
    if ready.exists():
        aside = json.loads((ready / PLAN).read_text("utf-8"))["aside"]
        if aside is not None:
            _set_aside(data_dir, data_dir / aside)
        # Only now: what is new must never go aside.
        ready.rename(placing)
        sync(data_dir)
    if not placing.exists():
        return False
    images = data_dir / "processes" / "images"
    for build in (placing / BUILDS).iterdir():
        images.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not (
            images / build.name
        ).exists():  # a build never changes: one that is there is the same
            build.rename(images / build.name)
    for entry in (placing / NEW).iterdir():
        entry.replace(data_dir / entry.name)
    sync(data_dir)
    shutil.rmtree(placing)
    return True


async def load_images(
    data_dir: Path, load: Callable[[Path], Awaitable[None]] | None, announce: Callable[[str], None]
) -> None:
    """Give the engine the images that a restore left, once. Raises ``RuntimeFailure``."""
    images = data_dir / IMAGES_TO_LOAD
    if load is None or not images.exists():
        return
    announce(f"giving the engine the images of the backup: {images.stat().st_size:,} bytes")
    await load(images)
    images.unlink()


def _set_aside(data_dir: Path, aside: Path) -> None:
    aside.mkdir(mode=0o700, exist_ok=True)
    for name in STATE:
        if (data_dir / name).exists():
            (data_dir / name).rename(aside / name)
    sync(aside)
