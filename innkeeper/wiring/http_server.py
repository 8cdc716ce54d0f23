"""The HTTP server as we set it up, and the signals that end it."""

import asyncio
import contextlib
import gc
import signal
import socket
from collections.abc import Callable, Iterator

import uvicorn

from innkeeper.api import discovery
from innkeeper.api.framework import Application
from innkeeper.config import Settings
from innkeeper.wiring.bounded_http import BoundedHttpProtocol

SHUTDOWN_S = 3


class _Server(uvicorn.Server):
    """Uvicorn's server, whose signals are ours: a second Ctrl-C must not print a traceback."""

    def __init__(self, config: uvicorn.Config, begun: Callable[[], None]) -> None:
        super().__init__(config)
        self._begun = begun

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Say so once requests are taken."""
        await super().startup(sockets)
        _tune_collector()
        self._begun()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals alone."""
        yield


def http_server(
    settings: Settings, application: Application, begun: Callable[[], None]
) -> uvicorn.Server:
    """The server of the application; ``begun`` is called once it takes requests."""
    proxies = [str(network) for network in settings.trusted_proxies]
    return _Server(
        uvicorn.Config(
            application,
            loop="none",
            http=BoundedHttpProtocol,
            ws="websockets-sansio",
            ws_max_size=discovery.MESSAGE_BYTES_MAX,
            ws_per_message_deflate=False,
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=bool(proxies),
            forwarded_allow_ips=proxies,
            ssl_certfile=settings.tls_cert,
            ssl_keyfile=settings.tls_key,
            timeout_graceful_shutdown=SHUTDOWN_S,
            timeout_keep_alive=75,
        ),
        begun,
    )


def _tune_collector() -> None:
    """What start-up made lives on: the collector need not look at it again, and seldom at the rest.

    Full collections were the whole of a 30-50 ms p99 in a trial.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 1000)


@contextlib.contextmanager
def ending_signals(end: Callable[[], None]) -> Iterator[None]:
    """SIGTERM and SIGINT call ``end`` meanwhile."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end)
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
