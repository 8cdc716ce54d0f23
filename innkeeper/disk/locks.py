"""Locks on files and directories that the kernel drops with whoever holds them, kill -9 or not."""

import fcntl
import os
from pathlib import Path


def try_lock(handle: int, how: int = fcntl.LOCK_EX) -> bool:
    """Lock what ``handle`` has open, without waiting; false where somebody else holds it."""
    try:
        fcntl.flock(handle, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_at(handle: int, path: Path) -> bool:
    """Whether what ``handle`` has open still stands at ``path``: it may have been removed meanwhile."""
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False
