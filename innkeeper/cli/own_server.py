"""A control plane of our own as a child process, for ``innkeeper up``."""

import re
import ssl
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import click
import httpx

from innkeeper.cli.port_owner import is_taken, owner
from innkeeper.cli.progress import Say
from innkeeper.config import Settings
from innkeeper.config.values import Address

_POLL_S = 0.1
# The first start of an engine may have much to prepare.
_READY_TIMEOUT_S = 180.0


@dataclass(frozen=True, slots=True)
class Answering:
    """A server that is ready: its URL for us and for others, and the runtime it chose."""

    local_url: str
    public_url: str
    runtime: str


class OwnServer:
    """``innkeeper serve`` in a session of its own, so that Ctrl-C reaches it only through us."""

    def __init__(
        self, settings: Settings, flags: Mapping[str, str | None], environ: Mapping[str, str]
    ):
        self._settings = settings
        self.log_path = settings.data_dir / "server.log"
        settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o750)
        arguments, variables = _arguments(flags)
        with _private(self.log_path) as log:
            self.child = subprocess.Popen(
                [sys.executable, "-m", "innkeeper.cli", "serve", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**environ, **variables},
                start_new_session=True,
            )

    def wait_ready(self, say: Say) -> Answering:
        """Wait for 200 from ``/readyz``; raises ``click.ClickException`` with the server's last words."""
        until, told = time.monotonic() + _READY_TIMEOUT_S, ""
        with httpx.Client(timeout=5, verify=trust(self._settings)) as http:
            while time.monotonic() < until:
                if self.child.poll() is not None:
                    raise self.ended()
                line = self._last_line()
                if line and line != told:
                    say(line)
                    told = line
                found = self._said(r"^API (\S+)$")
                if found is not None and _is_ready(http, self._local_url(found)):
                    runtime = self._said(r"^games run in the (\S+) runtime$") or "unknown"
                    return Answering(self._local_url(found), found, runtime)
                time.sleep(_POLL_S)
        raise click.ClickException(
            f"the server is not ready after {_READY_TIMEOUT_S:g} s; see {self.log_path}"
        )

    def ended(self) -> click.ClickException:
        """What to say of a server that is gone."""
        code = self.child.poll()
        tail = "\n".join(f"  {line}" for line in self._lines()[-15:])
        return click.ClickException(f"the server ended with code {code}; its last words:\n{tail}")

    def warnings(self) -> list[str]:
        """What the server warned of at its start."""
        return [line for line in self._lines() if line.startswith("WARNING")]

    def _local_url(self, public_url: str) -> str:
        listen = self._settings.listen
        port = listen.port or int(httpx.URL(public_url).port or 0)
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(listen.host, listen.host)  # noqa: S104
        scheme = "https" if self._settings.tls_cert else "http"
        return f"{scheme}://{Address(host, port)}"

    def _said(self, pattern: str) -> str | None:
        match = re.search(pattern, self.log_path.read_text("utf-8", "replace"), re.MULTILINE)
        return match[1] if match else None

    def _lines(self) -> list[str]:
        return self.log_path.read_text("utf-8", "replace").splitlines()

    def _last_line(self) -> str:
        lines = self._lines()
        return lines[-1] if lines else ""


def refuse_taken_port(address: Address) -> None:
    """Raise ``click.ClickException``, naming the owner where that can be known, if the port is taken."""
    if not address.port or not is_taken(address):
        return
    holder = owner(address.port) or "another program"
    raise click.ClickException(
        f"port {address.port} is taken by {holder}; stop it, or choose another port: "
        f"INNKEEPER_LISTEN={Address(address.host, address.port + 1)} make up"
    )


def trust(settings: Settings) -> ssl.SSLContext | bool:
    """How to know our own server: by its certificate, whatever name it bears."""
    if settings.tls_cert is None:
        return True
    context = ssl.create_default_context(cafile=settings.tls_cert)
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def _is_ready(http: httpx.Client, url: str) -> bool:
    try:
        return http.get(f"{url}/readyz").status_code == 200
    except httpx.TransportError:
        return False


def _arguments(flags: Mapping[str, str | None]) -> tuple[list[str], dict[str, str]]:
    """The flags for the child; a token goes by a variable, for other users can read arguments."""
    arguments, variables = [], {}
    for name, text in flags.items():
        if text is None:
            continue
        if name == "admin_token":
            variables["INNKEEPER_ADMIN_TOKEN"] = text
        elif name == "accept_unenforced":
            arguments.append("--accept-unenforced")
        else:
            arguments += ["--" + name.replace("_", "-"), text]
    return arguments, variables


def _private(path: Path) -> IO[bytes]:
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    return open(path, "ab")
