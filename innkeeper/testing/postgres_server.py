"""A real PostgreSQL for tests: from the distribution's package, in a directory of its own, gone afterwards.

It syncs every commit, as it would for players. Run by an unprivileged user, for it refuses root.
"""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import psycopg

WAIT_S = 30
_PLACES = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/usr/local/pgsql/bin")
_SETTINGS = {
    "listen_addresses": "",
    "shared_buffers": "32MB",
    "max_connections": "60",
    "max_wal_size": "256MB",
    "autovacuum_naptime": "10s",
    "deadlock_timeout": "100ms",
}


def find_postgres() -> Path | None:
    """The directory with ``initdb`` and ``postgres``, the newest version's; ``None`` where there is none."""
    found = [path for place in _PLACES for path in Path("/").glob(f"{place[1:]}/postgres")]
    if found:
        return max(found, key=_version_of).parent
    on_path = shutil.which("postgres")
    return None if on_path is None else Path(on_path).parent


def _version_of(postgres: Path) -> tuple[int, ...]:
    digits = "".join(c if c.isdigit() else " " for c in postgres.parent.parent.name)
    return tuple(map(int, digits.split()))


class PostgresServer:
    """One server process. ``url`` names one of its databases, by a socket that only this machine reaches."""

    def __init__(self, settings: dict[str, str] | None = None, parent: Path | None = None) -> None:
        """Make the directory, below ``parent``, and a cluster in it; ``start`` comes next. Needs the server's
        programs.
        """
        programs = find_postgres()
        if programs is None:
            raise FileNotFoundError("no PostgreSQL here: run scripts/install-postgres.sh")
        self._programs = programs
        self._settings = _SETTINGS | (settings or {})
        self._process: subprocess.Popen[str] | None = None
        self._databases = 0
        # The kernel ends it with the thread that started it, which must not be a test's.
        self._starter = ThreadPoolExecutor(1)
        self.said: deque[str] = deque(maxlen=200)  # the last lines of its log
        self.directory = Path(tempfile.mkdtemp(prefix="innkeeper-pg-", dir=parent))
        user = _unprivileged()
        self.as_user: Sequence[str] = ()
        if user is not None:
            os.chown(self.directory, user.pw_uid, user.pw_gid)
            self.as_user = (
                "setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups",
            )  # fmt: skip
        made = ["initdb", "-U", "innkeeper", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]
        self._run([*made, "-D", str(self._data)])

    @property
    def _data(self) -> Path:
        return self.directory / "data"

    @property
    def pid(self) -> int:
        """Of the process that was started last."""
        assert self._process is not None, "start() comes first"
        return self._process.pid

    def start(self) -> None:
        """Start it, and wait until it takes connections. It ends with this process."""
        given = [
            part for name, value in self._settings.items() for part in ("-c", f"{name}={value}")
        ]
        command = [
            "setpriv", "--pdeathsig=INT", str(self._programs / "postgres"), "-D", str(self._data),
            "-k", str(self.directory), *given,
        ]  # fmt: skip
        self._process = self._starter.submit(
            subprocess.Popen, [*self.as_user, *command], stderr=subprocess.PIPE, text=True, cwd="/"
        ).result()
        ready = threading.Event()
        threading.Thread(target=self._listen, args=(self._process, ready), daemon=True).start()
        if not ready.wait(WAIT_S) or self._process.poll() is not None:
            self.stop()
            raise RuntimeError("PostgreSQL did not start:\n" + "".join(self.said))

    def ensure_started(self) -> None:
        """Start it, unless it runs."""
        if self._process is None or self._process.poll() is not None:
            self.start()

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """End it: SIGINT disconnects everybody, SIGQUIT is a crash. It may be started again."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(how)
        try:
            process.wait(WAIT_S)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGQUIT)
            process.wait(WAIT_S)

    def remove(self) -> None:
        """End it, and remove all it kept."""
        self.stop()
        self._starter.shutdown()
        shutil.rmtree(self.directory, ignore_errors=True)

    def url(self, database: str) -> str:
        """Of a database."""
        return f"postgresql://innkeeper@/{database}?host={quote(str(self.directory), safe='')}"

    def new_database(self, template: str = "template0") -> str:
        """A new database, as ``template`` is now; its name."""
        self._databases += 1
        name = f"db_{self._databases}"
        with self.connect("postgres") as connection:
            connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return name

    def drop(self, database: str) -> None:
        """Remove a database, and whoever is connected to it."""
        with self.connect("postgres") as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{database}" WITH (FORCE)')

    def connect(self, database: str) -> "psycopg.Connection[tuple[object, ...]]":
        """A connection of the tests' own, where each statement is committed."""
        return psycopg.connect(self.url(database), autocommit=True)

    def _run(self, command: Sequence[str]) -> None:
        program = str(self._programs / command[0])
        done = subprocess.run(
            [*self.as_user, program, *command[1:]],
            cwd="/", capture_output=True, text=True, timeout=WAIT_S * 4,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"{command[0]} failed:\n{done.stdout}{done.stderr}")

    def _listen(self, process: "subprocess.Popen[str]", ready: threading.Event) -> None:
        assert process.stderr is not None
        with process.stderr:
            for line in process.stderr:
                self.said.append(line)
                if "database system is ready to accept connections" in line:
                    ready.set()
        ready.set()  # it ended: whoever waits looks why


def _unprivileged() -> pwd.struct_passwd | None:
    """Whom to run it as; ``None``: as ourselves."""
    if os.getuid():
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise RuntimeError("neither a user postgres nor nobody: PostgreSQL refuses to run as root")


@contextmanager
def running_postgres(parent: Path | None = None) -> Iterator[PostgresServer]:
    """A server of one's own, gone afterwards; whoever has it may end and start it in between."""
    server = PostgresServer(parent=parent)
    try:
        server.start()
        yield server
    finally:
        server.remove()
