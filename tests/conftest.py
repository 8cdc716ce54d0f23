"""What the tests of the whole program share: the game, and the official SDK in one Node process."""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from innkeeper.testing.live_studio import archive
from innkeeper.testing.official_sdk import Bridge
from innkeeper.testing.postgres_fixtures import postgres, postgres_database, postgres_template
from innkeeper.testing.postgres_server import PostgresServer

__all__ = ["postgres", "postgres_database", "postgres_template"]

# Where the tests run in the background of a shell, Ctrl-C is ignored, and what they start inherits that.
signal.signal(signal.SIGINT, signal.default_int_handler)

# A commit passes or not, whoever runs it and when: usually hypothesis draws what it drew before.
# `make fuzz` draws anew.
settings.register_profile("repeatable", derandomize=True, database=None)
settings.register_profile("random", derandomize=False, print_blob=True)
settings.load_profile("repeatable")

HERE = Path(__file__).resolve().parent
DOCKERFILE = b"""# The sample game behind a probe that prints what it was started with.
FROM scratch
COPY tag probe /
ENV IMAGE_WORD="from the image" OVERRIDDEN=image
EXPOSE 7777
ENTRYPOINT ["/probe", "one argument"]
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever needs a live Innkeeper needs the whole machine; one worker keeps to one runtime."""
    for item in items:
        if item.path.parent.name in ("conformance", "system"):
            item.add_marker(pytest.mark.system)
        if item.get_closest_marker("system"):
            call = getattr(item, "callspec", None)
            runtime = "process" if call is None else call.params.get("runtime", "process")
            item.add_marker(pytest.mark.xdist_group(str(runtime)))


@pytest.fixture(scope="session")
def bridge() -> Iterator[Bridge]:
    with Bridge(HERE / "conformance") as made:
        yield made


@pytest.fixture(scope="session")
def game(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The archive of the game: the sample's binary and the probe, which needs no library either."""
    tag = HERE.parent / "samples/tag/tag"
    assert tag.exists(), "make sample builds it"
    probe = tmp_path_factory.mktemp("game") / "probe"
    flags = ["-std=c11", "-D_GNU_SOURCE", "-Os", "-static", "-s", "-Wall", "-Werror"]
    command = ["gcc", *flags, "-o", str(probe), str(HERE / "live/probe.c")]
    subprocess.run(command, check=True, timeout=60)
    files = {"Dockerfile": DOCKERFILE, "tag": tag.read_bytes(), "probe": probe.read_bytes()}
    return archive(files)


@pytest.fixture(scope="session", params=["process", "container"])
def runtime(request: pytest.FixtureRequest) -> str:
    """Both runtimes, one after the other."""
    return str(request.param)


# Each runtime with one of the stores; INNKEEPER_TEST_STORES=other swaps them, so that two runs try all four.
USUAL_STORES = {"process": "postgresql", "container": "sqlite"}
OTHER_STORES = {"process": "sqlite", "container": "postgresql"}


@pytest.fixture(scope="session")
def on_database(runtime: str, request: pytest.FixtureRequest) -> Callable[[], dict[str, str]]:
    """Gives a server the settings for a new database, of the kind that goes with its runtime."""
    other = os.environ.get("INNKEEPER_TEST_STORES") == "other"

    def new() -> dict[str, str]:
        if (OTHER_STORES if other else USUAL_STORES)[runtime] == "sqlite":
            return {}
        server: PostgresServer = request.getfixturevalue("postgres")
        return {"INNKEEPER_DATABASE": server.url(server.new_database())}

    return new
