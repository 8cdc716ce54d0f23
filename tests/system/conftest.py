"""A live Innkeeper that a test may kill as it likes."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from innkeeper.testing.live import ADMIN_TOKEN, LiveServer, live_server
from innkeeper.testing.live_studio import LiveStudio
from innkeeper.testing.official_sdk import Bridge

SETTINGS = {
    "INNKEEPER_PORT_REST_S": "1",
    "INNKEEPER_STOP_GRACE_S": "5",
    "INNKEEPER_CPU_OVERCOMMIT": "50",
}


@pytest.fixture
def server(
    runtime: str, tmp_path: Path, on_database: Callable[[], dict[str, str]]
) -> Iterator[LiveServer]:
    with live_server(runtime, tmp_path, {**SETTINGS, **on_database()}) as made:
        yield made


@pytest.fixture
def studio(server: LiveServer, bridge: Bridge) -> LiveStudio:
    sdk = bridge.client(serverURL=server.url, hathoraDevToken=ADMIN_TOKEN)
    return LiveStudio(sdk, server)
