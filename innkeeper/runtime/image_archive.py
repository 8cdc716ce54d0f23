"""Images of an engine as one archive, for backups: layers that several share are in it once."""

import asyncio
import json
import tarfile
from collections.abc import AsyncGenerator, AsyncIterator, Collection
from pathlib import Path
from urllib.parse import urlencode

from innkeeper.core.errors import RuntimeFailure, StateConflict
from innkeeper.runtime.engine import Engine

_PIECE = 1024**2
_INDEX = "manifest.json"
_INDEX_BYTES_MAX = 16 * 1024**2


async def present(engine: Engine, refs: Collection[str]) -> list[str]:
    """Those of ``refs`` that the engine holds, sorted."""
    answer = await engine.call("GET", "/images/json")
    if not answer.ok:
        raise RuntimeFailure(f"the engine does not list its images: {answer.message}")
    held = {tag for image in answer.data for tag in image.get("RepoTags") or ()}
    return sorted(held.intersection(refs))


def export(engine: Engine, refs: Collection[str]) -> AsyncGenerator[bytes, None]:
    """A plain tar of these images. Raises ``RuntimeFailure`` where one is missing."""
    query = urlencode([("names", ref) for ref in refs])
    return engine.pieces(f"/images/get?{query}")


async def load(engine: Engine, path: Path) -> None:
    """Take in the images of an archive; safe to repeat. Raises ``RuntimeFailure``."""
    headers = {"Content-Type": "application/x-tar"}
    async for told in engine.lines(
        "POST", "/images/load", headers=headers, content=_pieces(path), read_timeout_s=None
    ):
        if "error" in told:
            raise RuntimeFailure(f"{path.name} could not be loaded: {str(told['error'])[:500]}")


def check_names(path: Path, refs: Collection[str]) -> None:
    """Refuse an archive that would give the engine other images than ``refs``. Blocks.

    Raises ``StateConflict``.
    """
    try:
        with tarfile.open(path, "r:") as archive:
            entry = next((each for each in archive if each.name == _INDEX), None)
            file = archive.extractfile(entry) if entry is not None and entry.isreg() else None
            if file is None or entry is None or entry.size > _INDEX_BYTES_MAX:
                raise StateConflict(f"{path.name} is no archive of images")
            named = {tag for image in json.loads(file.read()) for tag in image["RepoTags"] or ()}
    except (tarfile.TarError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise StateConflict(f"{path.name} is no archive of images ({error})") from error
    if strange := named - set(refs):
        raise StateConflict(f"{path.name} holds an image that no build made: {min(strange)!r}")


async def _pieces(path: Path) -> AsyncIterator[bytes]:
    with path.open("rb") as file:
        while piece := await asyncio.to_thread(file.read, _PIECE):
            yield piece
