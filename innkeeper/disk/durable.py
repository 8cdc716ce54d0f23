"""What is to survive a crash of the machine: synced, and whole or not there at all."""

import os
from pathlib import Path


def sync(path: Path) -> None:
    """Make a file durable, or a directory's entries."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def keep_secret(path: Path, text: str) -> None:
    """Write a file of mode 0600: a crash leaves the whole text, or what stood there before."""
    beside = path.with_name(f"{path.name}.new")
    beside.unlink(missing_ok=True)
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(handle, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(handle)
    beside.replace(path)
