"""Bounds what a process writes to its own layer and its log, where the storage knows no quota.

The kernel bounds each file (RLIMIT_FSIZE, set at the start); this looks at the sum every few seconds
and ends a process that is over it.
"""

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

from innkeeper.core.errors import RuntimeAway
from innkeeper.runtime.log_bound import bound_if_over

_log = logging.getLogger(__name__)
_ENTRIES_MAX = 1_000_000  # small files fill a disk's table, too
_BLOCK_BYTES = 512


def is_over(directories: Iterable[Path], bytes_max: int, entries_max: int = _ENTRIES_MAX) -> bool:
    """Whether more than that is stored below the directories. Stops counting once it is. Blocks."""
    left, entries = [str(directory) for directory in directories], 0
    used = 0
    while left:
        try:
            with os.scandir(left.pop()) as found:
                for entry in found:
                    entries += 1
                    used += _blocks(entry) * _BLOCK_BYTES
                    if used > bytes_max or entries > entries_max:
                        return True
                    if entry.is_dir(follow_symlinks=False):
                        left.append(entry.path)
        except (FileNotFoundError, NotADirectoryError):
            continue  # removed while we look
    return False


def _blocks(entry: "os.DirEntry[str]") -> int:
    try:
        return entry.stat(follow_symlinks=False).st_blocks
    except FileNotFoundError:
        return 0


async def guard_disks(
    layers: Callable[[], list[tuple[str, tuple[Path, ...]]]],
    end: Callable[[str], Awaitable[None]],
    bytes_max: int,
    every_s: float,
) -> None:
    """Until cancelled: ``end`` each process (id, directories it writes to) that is over the bound."""
    while True:
        await asyncio.sleep(every_s)
        for process_id, directories in layers():
            try:
                over = await asyncio.to_thread(is_over, directories, bytes_max)
            except OSError as error:
                # Short of descriptors, say: the bound must hold again in a while.
                _log.warning("the disk of process %s could not be measured: %s", process_id, error)
                continue
            if not over:
                continue
            _log.warning("process %s fills its disk: ending it", process_id)
            try:
                await end(process_id)
            except RuntimeAway as error:
                _log.warning("process %s could not be ended: %s", process_id, error.message)


async def guard_logs(logs: Callable[[], list[Path]], bytes_max: int, every_s: float) -> None:
    """Until cancelled: give back the oldest part of each log that is over the bound."""
    while True:
        await asyncio.sleep(every_s)
        for path in logs():
            try:
                await asyncio.to_thread(bound_if_over, str(path), bytes_max)
            except OSError as error:
                _log.warning("the log %s could not be bounded: %s", path.name, error)
