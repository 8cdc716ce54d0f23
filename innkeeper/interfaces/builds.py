"""What turns archives and images into something a runtime can start."""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class BuiltImage:
    """What a build left in the runtime."""

    image_ref: str
    size_bytes: int


class Builder(Protocol):
    """Turns an archive, or a registry's image, into something the runtime can start."""

    def build(
        self, build_key: str, archive: Path, log: Callable[[str], None]
    ) -> Awaitable[BuiltImage]:
        """Build a checked ``.tar.gz``; each ``log`` call is one line. Raises ``BuildFailed`` with
        a reason for people.
        """
        ...

    def pull(
        self,
        build_key: str,
        image: str,
        registry_url: str | None,
        auth: str | None,
        log: Callable[[str], None],
    ) -> Awaitable[BuiltImage]:
        """Pull a registry's image and keep it under our own name. Raises ``BuildFailed``. ``auth``
        is not kept.
        """
        ...

    async def delete(self, image_ref: str) -> None:
        """Give the disk space back; processes that run it live on. Nothing where it is gone."""
        ...

    async def discard(self, build_key: str) -> None:
        """Remove whatever a build left that did not come to its end. Nothing where it left nothing."""
        ...


class BuildRunner(Protocol):
    """Runs builds one at a time, beside the requests that asked for them."""

    async def run_upload(self, build_key: str) -> AsyncIterator[bytes]:
        """Start the build of an uploaded archive; its log, until its status is final. A reader
        that leaves stops nothing.
        """
        ...

    async def run_registry(
        self, build_key: str, image: str, registry_url: str | None, auth: str | None
    ) -> AsyncIterator[bytes]:
        """The same for a registry's image."""
        ...

    async def discard(self, build_key: str, image_ref: str | None) -> None:
        """Give back a deleted build's disk space, soon; a build that is running is stopped."""
        ...

    def read_log(self, build_key: str) -> AsyncIterator[bytes]:
        """What the build has logged so far; empty where there is nothing."""
        ...


@dataclass(frozen=True, slots=True)
class ReceivedArchive:
    """An archive that came in one piece: its size in bytes and its SHA-256, hex."""

    size: int
    content_hash: str


class Uploads(Protocol):
    """Keeps the parts of archives on disk until their build has run."""

    async def put_part(
        self, build_key: str, part_number: int, size: int, body: AsyncIterator[bytes]
    ) -> str:
        """Keep one part of exactly ``size`` bytes, replacing an earlier one; returns its ETag:
        quoted hex MD5.

        Raises ``Invalid`` on a wrong size, ``TimedOut``, ``Unavailable`` on a full disk and
        ``StateConflict`` where the upload is over; leaves no file of a refused part behind.
        """
        ...

    async def assemble(self, build_key: str, parts: Sequence[tuple[int, str]], size: int) -> str:
        """Make the archive of ``size`` bytes from its parts (number, ETag); returns its SHA-256, hex.

        Raises ``Invalid`` where a part is missing or differs, ``Unavailable`` on a full disk. Once it
        is made, says the same again.
        """
        ...

    async def put_archive(
        self, build_key: str, size_max: int, body: AsyncIterator[bytes]
    ) -> ReceivedArchive:
        """Keep an archive that comes in one piece, of at most ``size_max`` bytes.

        Raises ``TooLarge``, ``TimedOut``, ``Invalid`` where it is empty, ``Unavailable`` on a full
        disk, and ``StateConflict`` where the build has another archive already; a repeat of the
        same one is welcome. Leaves no file of a refused archive behind.
        """
        ...

    def archive(self, build_key: str) -> Path | None:
        """The assembled archive, or ``None``."""
        ...

    async def discard(self, build_key: str) -> None:
        """Remove parts and archive."""
        ...

    async def sweep(self, wanted: Collection[str]) -> None:
        """Remove what belongs to none of the ``wanted`` builds, and what a crash left half-written."""
        ...
