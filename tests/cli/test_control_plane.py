"""The identity file of a control plane: found, claimed, and stopped, and never somebody else."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from innkeeper.cli import control_plane
from innkeeper.cli.control_plane import Identity, identity_of
from innkeeper.core.errors import Invalid, StateConflict

CLAIM = """
import signal, sys
from pathlib import Path
from innkeeper.cli.control_plane import claimed
if "stubborn" in sys.argv:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
with claimed(Path(sys.argv[1]), "shared" in sys.argv):
    print("claimed", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def other(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that has claimed ``tmp_path``."""
    yield from claimer(tmp_path)


@pytest.fixture
def stubborn(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """The same, deaf to SIGTERM."""
    yield from claimer(tmp_path, "stubborn")


def claimer(data_dir: Path, *words: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", CLAIM, str(data_dir), *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "claimed\n"
        yield child
        child.kill()


def test_nothing_runs_on_a_new_directory(tmp_path: Path) -> None:
    assert control_plane.running(tmp_path) == []
    assert not control_plane.stop(tmp_path / "none", 1)


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_a_directory_that_cannot_be_is_refused(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(Invalid, match=r"--data-dir .* cannot be used: "),
        control_plane.claimed(tmp_path / place),
    ):
        pass


def test_a_claim_is_seen_while_it_lasts(tmp_path: Path) -> None:
    with control_plane.claimed(tmp_path):
        assert control_plane.running(tmp_path) == [identity_of(os.getpid())]
    assert control_plane.running(tmp_path) == []


def test_a_second_claim_is_refused(tmp_path: Path, other: subprocess.Popen[str]) -> None:
    with (
        pytest.raises(StateConflict, match=f"process {other.pid}"),
        control_plane.claimed(tmp_path),
    ):
        pass
    assert [one.pid for one in control_plane.running(tmp_path)] == [other.pid]


@pytest.mark.parametrize("ours", [True, False])
def test_those_that_share_run_side_by_side_and_end_together(tmp_path: Path, ours: bool) -> None:
    for two in claimer(tmp_path, "shared"):
        for three in claimer(tmp_path, "shared", "stubborn"):
            if not ours:
                with pytest.raises(StateConflict), control_plane.claimed(tmp_path):
                    pass
            else:
                with control_plane.claimed(tmp_path, shared=True) as others:
                    assert others
                    pids = [one.pid for one in control_plane.running(tmp_path)]
                    assert pids == [two.pid, three.pid, os.getpid()]
            assert control_plane.stop(tmp_path, 0.5) == 2
            assert (two.wait(), three.wait()) == (-15, -9)
    assert control_plane.running(tmp_path) == []


def test_one_that_shares_is_not_alone_with_one_that_does_not(
    tmp_path: Path, other: subprocess.Popen[str]
) -> None:
    with pytest.raises(StateConflict), control_plane.claimed(tmp_path, shared=True):
        pass
    assert [one.pid for one in control_plane.running(tmp_path)] == [other.pid]


def test_it_is_stopped_as_asked(tmp_path: Path, other: subprocess.Popen[str]) -> None:
    assert control_plane.stop(tmp_path, 10)
    assert other.wait() == -15
    assert control_plane.running(tmp_path) == []
    assert not control_plane.stop(tmp_path, 10)


def test_a_deaf_one_is_killed(tmp_path: Path, stubborn: subprocess.Popen[str]) -> None:
    assert control_plane.stop(tmp_path, 0.1)
    assert stubborn.wait() == -9


def test_a_dead_ones_claim_is_taken_over(tmp_path: Path, other: subprocess.Popen[str]) -> None:
    other.kill()
    other.wait()
    with control_plane.claimed(tmp_path):
        assert control_plane.running(tmp_path) == [identity_of(os.getpid())]


def test_a_reused_number_is_another_process(tmp_path: Path) -> None:
    ours = identity_of(os.getpid())
    assert ours is not None
    control_plane.pid_path(tmp_path).write_text(f"{ours.pid} {ours.start_ticks - 1}\n")
    assert control_plane.running(tmp_path) == []
    # Had it been taken for the control plane, this test would not have lived to say so.
    assert not control_plane.stop(tmp_path, 0)


def test_a_start_waits_for_a_stop_that_is_under_way(tmp_path: Path) -> None:
    begun = threading.Event()

    def start() -> None:
        begun.set()
        with control_plane.claimed(tmp_path):
            pass

    starting = threading.Thread(target=start)
    with control_plane.sole_down(tmp_path):
        starting.start()
        begun.wait()
        assert not control_plane.pid_path(tmp_path).exists()
    starting.join(timeout=30)
    assert control_plane.pid_path(tmp_path).exists()


def test_a_torn_file_means_nothing_runs(tmp_path: Path) -> None:
    for text in ("", "12", "a b", "1 2 3"):
        control_plane.pid_path(tmp_path).write_text(text)
        assert control_plane.running(tmp_path) == []


def test_a_process_that_is_dead_but_not_reaped_does_not_run() -> None:
    with subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.read()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert identity_of(child.pid) is None
    assert identity_of(child.pid) is None
    assert isinstance(identity_of(1), Identity)
