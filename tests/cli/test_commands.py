"""The command line as a whole: help, exit codes, interruptions, and pages that are not stale."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from innkeeper import __version__
from innkeeper.cli import port_owner, reference, serve
from innkeeper.cli.commands import innkeeper
from innkeeper.cli.own_server import refuse_taken_port
from innkeeper.config import Settings, flag_of, variable_of
from innkeeper.config.values import Address

DOCS = Path(__file__).parents[2] / "docs" / "reference"


def run(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    """The real command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "innkeeper.cli", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env={"PATH": os.environ["PATH"], **env},
    )


def test_the_version_is_told() -> None:
    assert run("--version").stdout == f"innkeeper {__version__}\n"
    assert run("version").stdout == f"{__version__}\n"


def test_help_of_serve_names_every_flag_and_variable() -> None:
    text = CliRunner().invoke(innkeeper, ["serve", "--help"], terminal_width=200).output
    for each in fields(Settings):
        assert flag_of(each) in text
        assert variable_of(each) in text


@pytest.mark.parametrize("command", ["serve", "up"])
def test_a_wrong_setting_ends_with_code_2_and_says_why(command: str, tmp_path: Path) -> None:
    result = run(command, "--cpu-overcommit", "lots", INNKEEPER_DATA_DIR=str(tmp_path))
    assert result.returncode == 2
    assert "--cpu-overcommit must be a number between 1 and 100, not 'lots'" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_wrong_flag_gets_a_hint() -> None:
    result = run("serve", "--regoins", "Tokyo")
    assert result.returncode == 2
    assert "Did you mean '--regions'?" in result.stderr


def test_a_wrong_variable_is_named() -> None:
    result = run("serve", INNKEEPER_LISTEN="nowhere")
    assert result.returncode == 2
    assert "INNKEEPER_LISTEN must be HOST:PORT" in result.stderr


def test_a_misspelt_variable_is_told(tmp_path: Path) -> None:
    # Refused before it does anything: no machine leaves all of these ports alone.
    wrong = ("--port-range", "1024-65535", "--listen", "127.0.0.1:80")
    result = run("serve", *wrong, INNKEEPER_LISTENS="x", INNKEEPER_DATA_DIR=str(tmp_path))
    assert "INNKEEPER_LISTENS is not a setting; did you mean INNKEEPER_LISTEN?" in result.stderr


def test_token_prints_the_kept_token(tmp_path: Path) -> None:
    before = CliRunner().invoke(innkeeper, ["token", "--data-dir", str(tmp_path)])
    assert (before.exit_code, "the first `innkeeper serve` makes one" in before.output) == (1, True)
    (tmp_path / "admin-token").write_text("kept-token-kept-token\n")
    after = CliRunner().invoke(innkeeper, ["token", "--data-dir", str(tmp_path)])
    assert after.output == "kept-token-kept-token\n"


def test_down_is_content_with_a_directory_that_is_not_there(tmp_path: Path) -> None:
    result = run("down", "--data-dir", str(tmp_path / "none"))
    assert (result.returncode, "nothing runs" in result.stdout) == (0, True)
    assert not (tmp_path / "none").exists()


INTERRUPTED = """
import os, signal, sys
from innkeeper.cli import commands
@commands.innkeeper.command("wait")
def wait():
    print("waiting", flush=True)
    signal.pause()
from innkeeper.cli import main
sys.argv = ["innkeeper", "wait"]
main.main()
"""


def test_ctrl_c_twice_prints_no_traceback() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "waiting\n"
        child.send_signal(signal.SIGINT)
        child.send_signal(signal.SIGINT)
        _, errors = child.communicate(timeout=30)
    assert (child.returncode, errors.strip()) == (130, "")


def test_a_reader_that_left_is_no_error_to_shout_about() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    result = subprocess.run(
        [sys.executable, "-m", "innkeeper.cli", "serve", "--help"],
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
    )
    os.close(writer)
    assert "Traceback" not in result.stderr


@pytest.fixture
def listener() -> Iterator[Address]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield Address(*server.getsockname()[:2])


def test_a_taken_port_names_its_owner(listener: Address) -> None:
    assert port_owner.owner(listener.port) == f"{_name()} (process {os.getpid()})"
    with pytest.raises(click.ClickException) as refusal:
        refuse_taken_port(listener)
    assert f"port {listener.port} is taken by {_name()}" in refusal.value.message
    assert f"INNKEEPER_LISTEN=127.0.0.1:{listener.port + 1} make up" in refusal.value.message


def _name() -> str:
    return Path("/proc/self/comm").read_text().strip()


def test_a_free_port_is_not_refused(listener: Address) -> None:
    refuse_taken_port(Address("127.0.0.2", listener.port))
    refuse_taken_port(Address("127.0.0.1", 0))


def test_down_asks_for_less_than_its_limit() -> None:
    # SIGKILL and the games' own time come on top; all of it has to fit into 30 s.
    assert serve.CONTROL_PLANE_GRACE_S <= 8


@pytest.mark.parametrize("page", ["settings", "cli"])
def test_the_reference_is_what_make_docs_would_write(page: str) -> None:
    fresh = {"settings": reference.settings_page, "cli": reference.cli_page}[page]()
    assert (DOCS / f"{page}.md").read_text("utf-8") == fresh, "stale: run `make docs`"
