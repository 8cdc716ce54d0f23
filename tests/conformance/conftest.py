"""One live Innkeeper for each runtime, and who calls it."""

import json
import os
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from innkeeper.testing.live import ADMIN_TOKEN, LiveServer, live_server
from innkeeper.testing.live_database import opened
from innkeeper.testing.live_studio import LiveStudio, ScopedClients
from innkeeper.testing.local_issuer import LocalIssuer
from innkeeper.testing.official_sdk import Bridge, Sdk
from innkeeper.testing.operations_record import Recorder

OTHER_TOKEN = "token-of-another-organization"
# Small, so that the tests need not wait; the meaning of each stays the same.
SETTINGS = {
    "INNKEEPER_BIND_TIMEOUT_S": "4",
    "INNKEEPER_IDLE_TIMEOUT_S": "2",
    "INNKEEPER_STOP_GRACE_S": "2",
    "INNKEEPER_PORT_REST_S": "1",
    "INNKEEPER_SAMPLE_INTERVAL_S": "1",
    "INNKEEPER_MAX_CHUNK_BYTES": "400000",
    "INNKEEPER_BUILD_SIZE_MAX": str(8 * 1024**2),
    "INNKEEPER_CPU_OVERCOMMIT": "50",
}


RECORDER = Recorder()


def pytest_runtest_logstart(nodeid: str) -> None:
    RECORDER.begin(_name(nodeid))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "call" or report.failed:
        RECORDER.ended(_name(report.nodeid), report.outcome)


def _name(nodeid: str) -> str:
    path, separator, test = nodeid.partition("::")
    return Path(path).name + separator + test


@pytest.fixture(scope="session", autouse=True)
def recorded(bridge: Bridge) -> Iterator[None]:
    """What is called; kept where `make conformance` asks for it."""
    bridge.heard = RECORDER.heard
    version, methods = bridge.methods()
    yield
    target = os.environ.get("INNKEEPER_OPERATIONS_RECORD")
    if target:
        record = RECORDER.record(version, methods)
        Path(target).write_text(json.dumps(record, separators=(",", ":")) + "\n", "utf-8")


@pytest.fixture(scope="session")
def issuer() -> Iterator[LocalIssuer]:
    """Who signs id tokens in Google's place."""
    with LocalIssuer() as made:
        yield made


@pytest.fixture(scope="session")
def live(
    runtime: str,
    tmp_path_factory: pytest.TempPathFactory,
    issuer: LocalIssuer,
    on_database: Callable[[], dict[str, str]],
) -> Iterator[LiveServer]:
    settings = {**SETTINGS, **issuer.settings, **on_database()}
    with live_server(runtime, tmp_path_factory.mktemp(runtime), settings) as server:
        yield server


@pytest.fixture(scope="session")
def sdk(bridge: Bridge, live: LiveServer) -> Sdk:
    """The admin."""
    return bridge.client(serverURL=live.url, hathoraDevToken=ADMIN_TOKEN)


@pytest.fixture(scope="session")
def org_id(sdk: Sdk) -> str:
    return str(sdk("organizationsV1.getOrgs")["orgs"][0]["orgId"])


@pytest.fixture(scope="session")
def anyone(bridge: Bridge, live: LiveServer) -> Sdk:
    """A client without a token."""
    return bridge.client(serverURL=live.url)


@pytest.fixture(scope="session")
def stranger(bridge: Bridge, live: LiveServer) -> Sdk:
    """An admin of another organization, which no operation of this slice can make."""
    with opened(live.data_dir, live.settings.get("INNKEEPER_DATABASE")) as ask:
        ask(
            "INSERT INTO orgs (org_id, name, max_requested_memory_mb, created_at) VALUES (?, ?, ?, ?)",
            *("org-of-strangers", "strangers", 8192, 0),
        )
        digest = sha256(OTHER_TOKEN.encode()).hexdigest()
        ask(
            "INSERT INTO org_tokens (org_token_id, org_id, name, token_hash, last_four, status,"
            " created_by, created_at) VALUES (?, ?, ?, ?, ?, 'active', ?, 0)",
            *("org-token-strangers", "org-of-strangers", "theirs", digest, "tion", "test"),
        )
    return bridge.client(serverURL=live.url, hathoraDevToken=OTHER_TOKEN)


@pytest.fixture(scope="session")
def build_id(sdk: Sdk, live: LiveServer, game: bytes) -> str:
    """The game's build."""
    build = LiveStudio(sdk, live).build(game, buildTag="the-game")
    assert build["status"] == "succeeded", build["log"]
    return str(build["buildId"])


@pytest.fixture
def studio(sdk: Sdk, live: LiveServer) -> Iterator[LiveStudio]:
    made = LiveStudio(sdk, live)
    yield made
    made.close()


@pytest.fixture
def scoped(studio: LiveStudio, org_id: str) -> Iterator[ScopedClients]:
    made = ScopedClients(studio, org_id)
    yield made
    made.revoke()
