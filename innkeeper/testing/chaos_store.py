"""The store of a chaos run and what may go wrong with it: a file on a small disk, or a PostgreSQL."""

import os
import signal
import sqlite3
import subprocess
import time
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Literal, Protocol

from innkeeper.testing.chaos_plan import FaultKind
from innkeeper.testing.postgres_server import PostgresServer, running_postgres

StoreName = Literal["sqlite", "postgresql"]
_DISK_MB = 64
_BLOCK = 64 * 1024


class ChaosStore(Protocol):
    """``url`` is what the server is told; ``faults`` are those that it can have here."""

    url: str
    faults: tuple[FaultKind, ...]
    skipped: tuple[str, ...]  # those that it cannot, and why

    @abstractmethod
    def hold(self, seconds: float) -> None:
        """Be the only one that writes, for so long."""

    @abstractmethod
    def fill(self) -> None:
        """Leave not one byte free."""

    @abstractmethod
    def free(self) -> None:
        """Give the space back."""

    @abstractmethod
    def restart(self, away_s: float) -> None:
        """Crash its server, and start it after so long."""


class FileStore:
    """SQLite; on a file system of its own in memory, which only root can mount."""

    def __init__(self, place: Path, small: bool) -> None:
        self.place = place
        self.path = place / "innkeeper.db"
        self.url = f"sqlite:///{self.path}"
        self.faults: tuple[FaultKind, ...] = ("slow store", "stuck store")
        self.skipped: tuple[str, ...] = ()
        self._filler = place / "filler"
        if small:
            self.faults += ("full disk", "full disk, kill server")
        else:
            self.skipped += ("full disk: only root can mount a small one",)

    def hold(self, seconds: float) -> None:
        """See :class:`ChaosStore`."""
        with closing(sqlite3.connect(self.path, timeout=30, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            time.sleep(seconds)
            other.execute("ROLLBACK")

    def fill(self) -> None:
        """See :class:`ChaosStore`."""
        handle = os.open(self._filler, os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            size = _BLOCK
            while size:
                try:
                    os.write(handle, bytes(size))
                except OSError:
                    size //= 2
        finally:
            os.close(handle)

    def free(self) -> None:
        """See :class:`ChaosStore`."""
        self._filler.unlink(missing_ok=True)

    def restart(self, away_s: float) -> None:
        """It has no server."""
        raise NotImplementedError


class PostgresStore:
    """PostgreSQL, started for the run."""

    faults: tuple[FaultKind, ...] = ("slow store", "stuck store", "restart store")
    skipped: tuple[str, ...] = (
        "full disk: PostgreSQL would end itself: `restart store` does that",
    )

    def __init__(self, server: PostgresServer) -> None:
        self._server = server
        self.url = server.url(server.new_database())

    def hold(self, seconds: float) -> None:
        """See :class:`ChaosStore`."""
        database = self.url.partition("@/")[2].partition("?")[0]
        with closing(self._server.connect(database)) as other, other.transaction():
            other.execute("LOCK TABLE rooms IN EXCLUSIVE MODE")
            time.sleep(seconds)

    def fill(self) -> None:
        """Not here."""
        raise NotImplementedError

    def free(self) -> None:
        """Nothing was filled."""

    def restart(self, away_s: float) -> None:
        """See :class:`ChaosStore`."""
        self._server.stop(signal.SIGQUIT)
        time.sleep(away_s)
        self._server.start()


@contextmanager
def store_of(name: StoreName, place: Path) -> Iterator[ChaosStore]:
    """A store below ``place``, gone afterwards."""
    if name == "postgresql":
        with running_postgres() as server:
            yield PostgresStore(server)
        return
    place.mkdir(parents=True)
    if os.geteuid():
        yield FileStore(place, small=False)
        return
    options = f"size={_DISK_MB}m,mode=700"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", place], check=True)
    try:
        yield FileStore(place, small=True)
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)
