"""Lets go of mounts that an engine leaves below a directory, and removes the directory."""

import ctypes
import errno
import os
import shutil
from pathlib import Path

_MNT_DETACH = 2
_REMOVALS_MAX = 20
_libc = ctypes.CDLL(None, use_errno=True)


def mounted_below(directory: Path) -> list[Path]:
    """The mount points below ``directory``, the deepest first."""
    inside = os.fsencode(directory) + b"/"
    found = []
    for line in Path("/proc/self/mountinfo").read_bytes().splitlines():
        point = line.split(b" ")[4].decode("unicode_escape").encode("latin-1")
        if point.startswith(inside):
            found.append(Path(os.fsdecode(point)))
    return sorted(found, key=lambda path: len(path.parts), reverse=True)


def unmount_below(directory: Path) -> None:
    """Unmount everything below ``directory``. Raises ``OSError``; does nothing where nothing is mounted."""
    for point in mounted_below(directory):
        if _libc.umount2(os.fsencode(point), _MNT_DETACH):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(point))


def remove_tree(directory: Path) -> None:
    """Remove a directory from which an ending program may still take its own files. Raises ``OSError``."""
    for _ in range(_REMOVALS_MAX):
        try:
            shutil.rmtree(directory)
        except FileNotFoundError:
            continue  # a file went before we came to it, or all is gone
        except OSError as error:
            if error.errno != errno.ENOTEMPTY:
                raise
            continue  # a file was made behind us
        return
    if directory.exists():
        raise OSError(errno.ENOTEMPTY, "files are made in it again and again", str(directory))
