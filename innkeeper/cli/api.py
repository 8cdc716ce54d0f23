"""A thin client of the public API, for the commands: one method a call, nothing remembered.

What goes wrong is a ``click.ClickException`` whose message is for people.
"""

import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import click
import httpx

from innkeeper.config.admin_token import read_token

F = TypeVar("F", bound=Callable[..., Any])
Json = dict[str, Any]


class Refused(click.ClickException):
    """The API answered with an error; ``status`` is its HTTP code."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(f"{message} [{status}]{' (see --token)' if status == 401 else ''}")
        self.status = status


class Api:
    """The API at ``url``, asked with ``token``."""

    def __init__(
        self,
        url: str,
        token: str | None,
        transport: httpx.BaseTransport | None = None,
        verify: ssl.SSLContext | bool = True,
    ) -> None:
        headers = {"authorization": f"Bearer {token}"} if token else {}
        self.url = url
        self._http = httpx.Client(
            base_url=url,
            headers=headers,
            timeout=httpx.Timeout(60, connect=5),
            transport=transport,
            verify=verify,
        )
        # Upload URLs carry their own permission, and must not be given ours.
        self._bare = httpx.Client(
            timeout=httpx.Timeout(300, connect=5), transport=transport, verify=verify
        )

    def close(self) -> None:
        """Let go of the connections."""
        self._http.close()
        self._bare.close()

    def call(
        self, method: str, path: str, body: Any = None, patience_s: float = 60, **query: Any
    ) -> Any:
        """One call; the answer's JSON, or ``None`` where it has no body."""
        given = {name: value for name, value in query.items() if value is not None}
        timeout = httpx.Timeout(patience_s, connect=5)
        answer = self._send(self._http, method, path, json=body, params=given, timeout=timeout)
        return answer.json() if answer.content else None

    def put_part(self, url: str, content: bytes) -> str:
        """Upload one part; its ETag."""
        headers = {"content-type": "application/octet-stream"}
        answer = self._send(self._bare, "PUT", url, content=content, headers=headers)
        etag = answer.headers.get("etag")
        if not etag:
            raise click.ClickException("the upload was answered without an ETag")
        return str(etag)

    def complete_upload(self, url: str, etags: list[str]) -> None:
        """Say that every part is there, as the object stores' XML has it."""
        parts = "".join(
            f"<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>"
            for number, etag in enumerate(etags, 1)
        )
        xml = f"<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>"
        headers = {"content-type": "application/xml"}
        self._send(self._bare, "POST", url, content=xml.encode(), headers=headers)

    def lines(self, method: str, path: str, **query: Any) -> Iterator[str]:
        """The lines of a streamed answer, as they come."""
        given = {name: value for name, value in query.items() if value is not None}
        # A followed log may be silent for hours.
        timeout = httpx.Timeout(None, connect=5)
        stream = self._http.stream(method, path, params=given, timeout=timeout)
        with _plainly(self.url), stream as answer:
            if answer.is_error:
                answer.read()
            _check(answer)
            yield from answer.iter_lines()

    def _send(self, http: httpx.Client, method: str, url: str, **given: Any) -> httpx.Response:
        with _plainly(self.url):
            answer = http.request(method, url, **given)
        _check(answer)
        return answer

    # ------------------------------------------------------------ what the commands ask

    def apps(self) -> list[Json]:
        """The apps of the token's organization."""
        return list(self.call("GET", "/apps/v2/apps")["applications"])

    def app_id(self, wanted: str | None) -> str:
        """The id of the app with this name or id; without one, of the only app there is."""
        apps = self.apps()
        found = [a for a in apps if wanted is None or wanted in (a["appName"], a["appId"])]
        if len(found) == 1:
            return str(found[0]["appId"])
        names = ", ".join(sorted(a["appName"] for a in apps)) or "none yet"
        problem = "name an app with --app" if wanted is None else f'no app "{wanted}"'
        raise click.ClickException(f"{problem}; there are: {names}")


class _plainly(AbstractContextManager[None]):
    """Turns what the network says into a sentence."""

    def __init__(self, url: str) -> None:
        self._url = url

    def __exit__(self, kind: object, problem: BaseException | None, trace: object) -> None:
        if isinstance(problem, httpx.ConnectError):
            raise click.ClickException(
                f"nothing answers at {self._url} ({problem}); start it with `innkeeper serve`, or "
                "name it with --url"
            ) from None
        if isinstance(problem, httpx.TimeoutException):
            raise click.ClickException(f"no answer from {self._url} in time") from None
        if isinstance(problem, httpx.InvalidURL | httpx.UnsupportedProtocol):
            raise click.ClickException(f"--url {self._url}: {problem}") from None
        if isinstance(problem, httpx.TransportError):
            raise click.ClickException(f"{self._url} broke off: {problem}") from None


def _check(answer: httpx.Response) -> None:
    """Raise with the API's own words unless it answered with success."""
    if answer.is_success:
        return
    try:
        message = answer.json()["message"]
    except (ValueError, KeyError, TypeError):
        message = answer.text.strip()[:500] or answer.reason_phrase
    raise Refused(message, answer.status_code)


def segment(value: str) -> str:
    """``value`` as one segment of a path, whatever it holds.

    A client takes a lone ``.`` or ``..`` out of a path before it sends it, and would ask for
    another operation: these are sent percent-encoded, and reach the one that is meant.
    """
    return value.replace(".", "%2E") if value in (".", "..") else quote(value, safe="")


def api_options(command: F) -> F:
    """Add ``--url``, ``--token`` and ``--data-dir``; the command gets an :class:`Api` as ``api``."""

    def run(url: str, token: str | None, data_dir: Path, **rest: Any) -> Any:
        api = Api(url.rstrip("/"), token or _kept_token(data_dir))
        try:
            return command(api=api, **rest)
        finally:
            api.close()

    run.__doc__ = command.__doc__
    run.__name__ = command.__name__
    run.__click_params__ = list(getattr(command, "__click_params__", []))  # type: ignore[attr-defined]
    for option in reversed(_OPTIONS):
        run = option(run)
    return run  # type: ignore[return-value]


def _kept_token(data_dir: Path) -> str | None:
    try:
        return read_token(data_dir)
    except PermissionError:
        return None


_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    click.option(
        "--url",
        envvar="INNKEEPER_URL",
        default="http://127.0.0.1:8000",
        show_default=True,
        help="The API to ask. [INNKEEPER_URL]",
    ),
    click.option(
        "--token",
        envvar="INNKEEPER_TOKEN",
        metavar="TEXT",
        help="The token to ask with. [INNKEEPER_TOKEN; default: the admin token in --data-dir]",
    ),
    click.option(
        "--data-dir",
        type=click.Path(path_type=Path, file_okay=False),
        envvar="INNKEEPER_DATA_DIR",
        default=Path("data"),
        show_default=True,
        help="Where the admin token is, without --token. [INNKEEPER_DATA_DIR]",
    ),
)

app_option = click.option(
    "--app",
    envvar="INNKEEPER_APP",
    metavar="NAME",
    help="The app's name or id; not needed where there is only one. [INNKEEPER_APP]",
)


def pairs(texts: tuple[str, ...]) -> Mapping[str, str]:
    """``A=B`` texts as a mapping, split at the first ``=``; wrong ones are a usage error."""
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise click.BadParameter(f"{text!r} is not NAME=VALUE", param_hint="--env")
        found[name] = value
    return found
