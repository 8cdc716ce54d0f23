"""The pages about players are run as they are written."""

import os
import re
import subprocess
from pathlib import Path

from innkeeper.testing.live import ADMIN_TOKEN
from innkeeper.testing.live_studio import LiveStudio
from innkeeper.testing.official_sdk import find_node

ROOT = Path(__file__).resolve().parent.parent.parent


def test_the_page_about_player_logins(studio: LiveStudio, build_id: str, tmp_path: Path) -> None:
    app_id = studio.app()
    studio.deploy(app_id, build_id)
    text = (ROOT / "docs/how-to/player-login.md").read_text("utf-8")
    code = "\n".join(re.findall(r"^(?: {4}(.*)|)$", text, re.MULTILINE))
    (tmp_path / "node_modules").symlink_to(ROOT / "tests/conformance/node_modules")
    script = tmp_path / "players.mjs"
    script.write_text(code.replace("http://127.0.0.1:8000", studio.server.url))
    done = subprocess.run(
        [find_node(), str(script)],
        cwd=tmp_path,
        env={**os.environ, "TOKEN": ADMIN_TOKEN, "APP_ID": app_id},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert re.fullmatch(r"lobby [A-Z2-9]{4} of [0-9a-z]{11,13}", lines[0])
    assert re.fullmatch(r"1 listed, joining room [0-9a-z]+", lines[1])
    assert lines[2] == "a lobby of steam:76561197960287930"
