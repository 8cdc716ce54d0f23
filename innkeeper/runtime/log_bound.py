"""Bounds a log that somebody else appends to: the disk space of its oldest part is given back in place.

Writers keep their offset, readers see a hole at the head.
"""

import os

from innkeeper.runtime import confine

_PAGE = 4096
_DROPPED = b"[innkeeper] older output was dropped here\n"


def bound_if_over(path: str, bytes_max: int) -> bool:
    """Keep three quarters of ``bytes_max`` where more than that stands on the disk; whether it did.

    A file that is gone is within every bound.
    """
    try:
        over = os.stat(path).st_blocks * 512 > bytes_max
    except FileNotFoundError:
        return False
    if over:
        bound_log(path, bytes_max * 3 // 4)
    return over


def bound_log(path: str, keep: int) -> None:
    """Give back the disk space of all but the last ``keep`` bytes.

    Where the file system cannot punch holes, all is dropped at once and a line in the log says so.
    """
    fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
    try:
        length = (os.fstat(fd).st_size - keep) // _PAGE * _PAGE
        try:
            confine.punch_hole(fd, length)
        except OSError:
            os.ftruncate(fd, 0)
            os.write(fd, _DROPPED)
    finally:
        os.close(fd)
