"""Sends messages to webhooks, over HTTP, to addresses that were checked before anything is sent there."""

import asyncio
import contextlib
import socket
import ssl
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address
from urllib.parse import urlsplit

import httpx

from innkeeper import __version__
from innkeeper.core.webhooks import NOT_PUBLIC, is_public
from innkeeper.interfaces import Outcome

TIMEOUT_S = 10.0
_ANSWER_BYTES_MAX = 64 * 1024
_CLIENTS_MAX = 128
# Name servers may be slow, too: as many names can be asked for at a time as two organizations have webhooks.
_LOOKUPS_MAX = 20

Resolve = Callable[[str, int], Awaitable[list[str]]]


class _Refused(Exception):
    """Nothing was sent; says why."""


class HttpWebhookSender:
    """:class:`~innkeeper.interfaces.WebhookSender`. Belongs to the event loop in which it is first used.

    ``resolve`` gives a name's addresses. Each host has connections of its own, made to an address that was
    checked: the name is not looked up again in between, by nobody.
    """

    def __init__(
        self,
        private_networks: bool = False,
        timeout_s: float = TIMEOUT_S,
        resolve: Resolve | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._private_networks = private_networks
        self._timeout_s = timeout_s
        self._resolve = resolve or self._looked_up
        self._lookups = ThreadPoolExecutor(_LOOKUPS_MAX, "webhook-name")
        self._tls = tls
        self._clients: OrderedDict[tuple[str, str, int], httpx.AsyncClient] = OrderedDict()

    async def send(self, url: str, headers: Mapping[str, str], body: bytes) -> Outcome:
        """See :class:`~innkeeper.interfaces.WebhookSender`."""
        began = time.monotonic()
        try:
            async with asyncio.timeout(self._timeout_s):
                status = await self._sent(url, headers, body)
        except TimeoutError:
            return Outcome(False, f"no answer within {self._timeout_s:g} s")
        except _Refused as refused:
            return Outcome(False, str(refused))
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ssl.SSLError, UnicodeError) as fault:
            return Outcome(False, f"no answer: {fault or type(fault).__name__}")
        told = f"answered {status} in {time.monotonic() - began:.2f} s"
        if 300 <= status < 400:
            return Outcome(False, f"{told}: redirects are not followed; give the URL itself")
        return Outcome(200 <= status < 300, told, gone=status == 410)

    async def close(self) -> None:
        """Let go of connections."""
        while self._clients:
            await self._clients.popitem()[1].aclose()
        self._lookups.shutdown(wait=False, cancel_futures=True)

    async def _sent(self, url: str, headers: Mapping[str, str], body: bytes) -> int:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
        addresses = self._checked(host, port, await self._resolve(host, port))
        client = await self._client((parts.scheme, host, port))
        given = {
            **headers,
            "host": parts.netloc,
            "user-agent": f"innkeeper/{__version__}",
            "accept-encoding": "identity",  # what is not sent need not be bounded
        }
        last: httpx.ConnectError | None = None
        for address in addresses:
            there = httpx.URL(url).copy_with(host=address, port=port)
            try:
                async with client.stream(
                    "POST", there, content=body, headers=given, extensions={"sni_hostname": host}
                ) as answer:
                    await _taken(answer)
                    return answer.status_code
            except httpx.ConnectError as fault:
                last = fault
        raise last or _Refused(f"{host} has no address")

    def _checked(self, host: str, port: int, addresses: list[str]) -> list[str]:
        """All of them, or none: one that is not public shows that the name is not to be trusted."""
        for text in addresses:
            address = ip_address(text.partition("%")[0])
            if not self._private_networks and (not is_public(address) or _ours(text, port)):
                raise _Refused(f"{host} is at {text}, which is not public: {NOT_PUBLIC}")
        return addresses

    async def _client(self, key: tuple[str, str, int]) -> httpx.AsyncClient:
        """A host's own: a connection that was secured for one host is not used for another."""
        if self._tls is None:
            self._tls = await asyncio.to_thread(httpx.create_ssl_context)
        client = self._clients.pop(key, None)
        if client is None:
            client = httpx.AsyncClient(
                verify=self._tls,
                trust_env=False,  # a proxy would look the name up again
                follow_redirects=False,
                timeout=self._timeout_s,
                limits=httpx.Limits(max_keepalive_connections=2, keepalive_expiry=30),
            )
        self._clients[key] = client
        if len(self._clients) > _CLIENTS_MAX:
            await self._clients.popitem(last=False)[1].aclose()
        return client

    async def _looked_up(self, host: str, port: int) -> list[str]:
        loop = asyncio.get_running_loop()
        try:
            found = await loop.run_in_executor(
                self._lookups,
                lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM),
            )
        except socket.gaierror as fault:
            raise _Refused(f"{host} has no address: {fault.strerror}") from None
        return list(dict.fromkeys(str(each[4][0]) for each in found))


async def _taken(answer: httpx.Response) -> None:
    """Read what it says, so that the connection can be used again, unless that is long."""
    size = 0
    async for piece in answer.aiter_raw():
        size += len(piece)
        if size > _ANSWER_BYTES_MAX:
            return


def _ours(address: str, port: int) -> bool:
    """Whether it is this very machine: a public address of ours leads past its firewall. Sends nothing."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect((address, port))
        return bool(probe.getsockname()[0] == address)
    return False
