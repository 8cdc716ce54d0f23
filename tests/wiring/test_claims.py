"""Locks of files: one server for an embedded database, and nothing to wait for where it was killed."""

import subprocess
import sys
from pathlib import Path

import pytest

from innkeeper.config import Settings
from innkeeper.core.errors import StateConflict
from innkeeper.wiring import serving
from innkeeper.wiring.claims import sole_server, starting
from innkeeper.wiring.control_plane import place_of
from innkeeper.wiring.last_run import LastRun

HOLD = """
import subprocess, sys
from pathlib import Path
from innkeeper.wiring.claims import sole_server, starting
with sole_server(Path(sys.argv[1]) / "innkeeper.db"), starting(Path(sys.argv[1])):
    game = subprocess.Popen(["sleep", "60"], stdout=subprocess.DEVNULL)
    print(game.pid, flush=True)
    sys.stdin.read()
"""


def test_a_killed_server_holds_nothing_though_its_games_live(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout is not None
        game = int(other.stdout.readline())
        try:
            refused = pytest.raises(StateConflict, match="an embedded database serves one")
            with refused, sole_server(tmp_path / "innkeeper.db"):
                pass
            other.kill()
            other.wait()
            assert Path(f"/proc/{game}").exists()
            with sole_server(tmp_path / "innkeeper.db"), starting(tmp_path):
                pass
        finally:
            other.kill()
            subprocess.run(["kill", str(game)], check=False)


def test_a_server_that_joins_must_fit_to_the_others(tmp_path: Path) -> None:
    url = "postgresql://u@host/games"
    settings = Settings(data_dir=tmp_path, database=url)
    assert serving._of_the_others(settings) is None, "they have told nothing yet"
    LastRun("container", url, None).keep(tmp_path)
    assert (tmp_path / "last-run.json").stat().st_mode & 0o777 == 0o600
    assert serving._of_the_others(settings) == "container"
    for wrong in (
        Settings(data_dir=tmp_path, database=f"{url}2"),
        Settings(data_dir=tmp_path, database=url, runtime="process"),
    ):
        with pytest.raises(StateConflict, match="the same settings"):
            serving._of_the_others(wrong)


def test_a_place_is_the_directory_and_not_its_path(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "other").mkdir()
    real, link, other = (
        place_of(Settings(data_dir=tmp_path / name)) for name in ("real", "link", "other")
    )
    assert real == link != other
