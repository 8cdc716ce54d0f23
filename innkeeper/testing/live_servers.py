"""Several real servers on one PostgreSQL and one data directory, for tests that kill some of them."""

import signal
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from innkeeper.testing import host_facts
from innkeeper.testing.live import LiveServer, claimed_ports, eventually
from innkeeper.testing.live_database import opened
from innkeeper.testing.postgres_server import PostgresServer, running_postgres


@dataclass
class OneOfMany(LiveServer):
    """A server that has a log of its own beside the data directory that it shares."""

    name: str = ""

    @property
    def log_path(self) -> Path:
        """All that this server has written to its standard output and error."""
        return self.data_dir.parent / f"{self.data_dir.name}-{self.name}.log"

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._process is not None

    def ended(self) -> bool:
        """Whether it came to its end by itself, or by ``down``."""
        assert self._process is not None
        return self._process.wait(10) is not None

    def pause(self) -> None:
        """SIGSTOP: it stands still, as on a machine that hangs."""
        self._send(signal.SIGSTOP)

    def go_on(self) -> None:
        """SIGCONT."""
        self._send(signal.SIGCONT)

    def _send(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)


@dataclass
class LiveServers:
    """One installation with several servers."""

    postgres: PostgresServer
    database_url: str
    all: list[OneOfMany] = field(default_factory=list)

    def alive(self) -> list[OneOfMany]:
        """Those that run."""
        return [server for server in self.all if server.alive]

    def holder(self) -> OneOfMany | None:
        """The one that the lease names, if it runs."""
        with opened(self.all[0].data_dir, self.database_url) as ask:
            rows = ask("SELECT holder FROM leases")
        names = {f"{socket.gethostname()}/{server.pid}": server for server in self.alive()}
        return names.get(rows[0][0]) if rows else None

    def holder_in_sight(self) -> OneOfMany | None:
        """The same, once its session with PostgreSQL shows that it lives."""
        with opened(self.all[0].data_dir, self.database_url) as ask:
            shown = ask(
                "SELECT 1 FROM pg_locks JOIN pg_stat_activity USING (pid)"
                " WHERE locktype = 'advisory' AND application_name = 'innkeeper neighbours'"
            )
        return self.holder() if shown else None

    def new_holder(self, but: OneOfMany, timeout_s: float) -> OneOfMany:
        """The one that reconciles once it is not ``but`` any more."""

        def probe() -> OneOfMany | None:
            found = self.holder()
            return None if found is but else found

        return eventually(probe, timeout_s, "another server reconciles")


@contextmanager
def live_servers(
    runtime: str, folder: Path, count: int, settings: Mapping[str, str]
) -> Iterator[LiveServers]:
    """``count`` servers below ``folder``, on a PostgreSQL of their own; ``down`` must leave nothing."""
    with running_postgres() as postgres:
        url = postgres.url(postgres.new_database())
        with claimed_ports() as ports:
            made = LiveServers(postgres, url)
            given = {**settings, "INNKEEPER_DATABASE": url}
            for number in range(count):
                one = OneOfMany(runtime, folder / "data", ports, given, name=f"server-{number}")
                made.all.append(one)
            try:
                for one in made.all:
                    one.start()
                yield made
            finally:
                done = made.all[0].down()
                if done.returncode != 0:
                    host_facts.end_by_force(made.all[0].data_dir)
            assert done.returncode == 0, f"down: {done.stdout}{done.stderr}"
            for one in made.all:
                assert not one.alive or one.ended(), "down stops every server"
