"""What a kill may not lose: of the control plane, the zygote, a supervisor, or the whole machine."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from innkeeper.interfaces import ProcessSpec
from innkeeper.runtime import places, proc_table, started
from innkeeper.runtime.started import Started
from innkeeper.runtime.zygote_client import stop_zygote

World = Any
SCRIPT = Path(__file__).parent / "control_plane.py"
ROOT = Path(__file__).resolve().parents[3]


def known(world: World, spec: ProcessSpec) -> Started:
    found = started.load(str(world.directory), spec.process_id)
    assert found is not None
    return found


def zygote_pid(world: World) -> int:
    for pid in proc_table.pids():
        name = Path(f"/proc/{pid}/cmdline")
        try:
            words = name.read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if str(world.directory).encode() in words and proc_table.name_of(pid) == "inn-zygote":
            return pid
    raise AssertionError("no zygote")


# As a plain user, who may yet find an interpreter that is installed in somebody's home.
PLAIN_USER = [
    "setpriv",
    "--reuid",
    "65534",
    "--regid",
    "65534",
    "--clear-groups",
    "--inh-caps",
    "+dac_read_search",
    "--ambient-caps",
    "+dac_read_search",
]


def control_plane(
    directory: Path, spec: ProcessSpec, prefix: Sequence[str] = ()
) -> subprocess.Popen[str]:
    described = directory.parent / "spec.json"
    described.write_text(
        json.dumps(
            {
                **asdict(spec),
                "ports": [[p.name, p.container_port, p.host_port, p.protocol] for p in spec.ports],
            }
        )
    )
    described.chmod(0o644)
    return subprocess.Popen(
        [*prefix, sys.executable, SCRIPT, directory, described],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]},
    )


def line(child: subprocess.Popen[str]) -> str:
    assert child.stdout is not None
    return child.stdout.readline().strip()


async def test_exit_status_survives_a_control_plane_that_is_down(world: World) -> None:
    """The game of a control plane that was killed exits 3 while nobody is there to see it."""
    spec = world.spec(PROBE_MODE="exit", PROBE_VALUE="3", PROBE_DELAY_MS="300")
    await world.runtime.close()
    with control_plane(world.directory, spec) as child:
        game = None
        while game is None:
            game = started.load(str(world.directory), spec.process_id)
        child.kill()
    assert game.alive()
    await world.until(lambda: not game.alive(), "game ended")
    await world.restart()
    ended = (await world.ended(spec)).exit
    assert (ended.code, ended.reason()) == (3, "Exited with code 3")


async def test_players_stay_when_the_control_plane_is_killed(world: World) -> None:
    spec = world.spec()
    with control_plane(world.directory, spec) as child:
        assert (line(child), line(child)) == ("bound", "started")
        child.kill()
    await world.restart()
    assert (await world.runtime.observe()).processes[spec.process_id].phase == "running"
    await world.bound(spec)
    await world.runtime.signal(spec.process_id, kill=False)
    assert (await world.ended(spec)).exit.code == 0


async def test_games_and_starts_survive_the_zygote(world: World) -> None:
    first, second = world.spec(), world.spec()
    await world.runtime.start(first)
    await world.bound(first)
    os.kill(zygote_pid(world), signal.SIGKILL)
    await world.runtime.start(second)
    await world.bound(second)
    await world.bound(first)
    for spec in (first, second):
        await world.runtime.signal(spec.process_id, kill=True)
        assert (await world.ended(spec)).exit.signal == signal.SIGKILL


async def test_another_version_of_the_zygote_is_replaced(world: World) -> None:
    spec = world.spec()
    await world.runtime.start(spec)
    old = zygote_pid(world)
    world.log_bytes_max = 5_000_000
    await world.restart()
    assert zygote_pid(world) != old
    await world.bound(spec)


async def test_stopping_the_zygote_ends_its_spares_and_no_game(world: World) -> None:
    spec = world.spec()
    await world.runtime.start(spec)
    await world.bound(spec)
    stop_zygote(world.directory)
    stop_zygote(world.directory)
    left = []
    for pid in proc_table.pids():
        found = proc_table.stat(pid)
        if found is not None and str(world.directory) in _command(pid) and found.state != "Z":
            left.append(pid)
    assert left == [known(world, spec).supervisor_pid]
    assert world.runtime.bound(spec.process_id, spec.ports)


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


async def test_without_its_supervisor_a_game_is_found_and_its_end_unknown(world: World) -> None:
    spec = world.spec()
    await world.runtime.start(spec)
    await world.bound(spec)
    game = known(world, spec)
    os.kill(game.supervisor_pid, signal.SIGKILL)
    await world.until(lambda: not started.supervised(str(world.directory), spec.process_id), "gone")
    await world.restart()
    assert (await world.runtime.observe()).processes[spec.process_id].phase == "running"
    assert world.runtime.bound(spec.process_id, spec.ports)
    await world.runtime.signal(spec.process_id, kill=True)
    ended = (await world.ended(spec)).exit
    assert (ended.code, ended.signal, ended.out_of_memory) == (None, None, False)
    await world.restart()
    assert (await world.ended(spec)).exit == ended  # it says the same ever after
    await world.runtime.remove(spec.process_id)
    assert (await world.runtime.observe()).processes == {}


async def test_without_a_supervisor_remove_ends_the_whole_family(world: World) -> None:
    spec = world.spec("family", FAMILY="child")
    await world.runtime.start(spec)
    await world.bound(spec)
    game = known(world, spec)
    os.kill(game.supervisor_pid, signal.SIGKILL)
    os.kill(game.pid, signal.SIGKILL)
    await world.until(lambda: not game.alive(), "first process gone")
    assert game.members(supervised=False) - {game.pid}
    await world.runtime.remove(spec.process_id)
    assert not game.members(supervised=False)


async def test_a_recycled_pid_is_never_signalled(world: World) -> None:
    spec = world.spec()
    await world.runtime.start(spec)
    await world.bound(spec)
    game = known(world, spec)
    path = places.start_path(str(world.directory), spec.process_id)
    record = places.read_json(path)
    assert record is not None
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as stranger:
        record["pid"], record["group"] = stranger.pid, None
        places.write_json(path, record)
        os.kill(game.supervisor_pid, signal.SIGKILL)
        os.kill(game.pid, signal.SIGKILL)
        await world.until(lambda: not game.alive(), "gone")
        await world.restart()
        await world.runtime.signal(spec.process_id, kill=False)
        await world.runtime.signal(spec.process_id, kill=True)
        assert (await world.ended(spec)).exit.code is None
        await world.runtime.remove(spec.process_id)
        assert stranger.poll() is None
        stranger.communicate(b"\n")
    assert stranger.returncode == 0


async def test_after_a_boot_nothing_is_alive(world: World) -> None:
    spec = world.spec(PROBE_MODE="never")
    await world.runtime.start(spec)
    game = known(world, spec)
    path = places.start_path(str(world.directory), spec.process_id)
    record = places.read_json(path)
    assert record is not None
    try:
        places.write_json(path, {**record, "boot_id": "another"})
        os.kill(game.supervisor_pid, signal.SIGKILL)
        await world.until(
            lambda: not started.supervised(str(world.directory), spec.process_id), "gone"
        )
        await world.restart()
        seen = await world.ended(spec)
        assert (seen.exit.code, seen.exit.signal) == (None, None)
        await world.runtime.signal(spec.process_id, kill=True)
        assert game.alive()
    finally:
        game.kill(supervised=False)


async def test_a_start_that_was_cut_off_is_taken_up(world: World) -> None:
    spec = world.spec()
    os.mkdir(places.process_dir(str(world.directory), spec.process_id))
    assert (await world.runtime.observe()).processes[spec.process_id].phase == "created"
    await world.runtime.start(spec)
    await world.bound(spec)


async def test_a_deleted_image_stays_for_those_who_run_it(world: World) -> None:
    from innkeeper.runtime.process_builder import ProcessBuilder

    spec = world.spec()
    await world.runtime.start(spec)
    await world.bound(spec)
    await ProcessBuilder(world.directory).delete("probe")
    assert os.listdir(world.directory / "trash") == ["probe"]
    assert not (world.directory / "images" / "probe").exists()
    await world.runtime.remove(spec.process_id)
    assert os.listdir(world.directory / "trash") == []


@pytest.mark.usefixtures("as_root")
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs setpriv")
@pytest.mark.parametrize("family", ["child", None])
async def test_without_root(world: World, games: Path, tmp_path: Path, family: str | None) -> None:
    """The same life as a plain user: no chroot, no control group, the session is what is ours."""
    place = Path("/var/tmp") / f"innkeeper-test-{os.getpid()}"
    place.mkdir(mode=0o755)
    try:
        directory = place / "d"
        shutil.copytree(world.directory / "images", directory / "images")
        for path in [place, *place.rglob("*")]:
            os.chown(path, 65534, 65534)
        spec = world.spec("family", FAMILY=family) if family else world.spec()
        with control_plane(directory, spec, PLAIN_USER) as child:
            try:
                assert (line(child), line(child)) == ("bound", "started")
                game = started.load(str(directory), spec.process_id)
                assert game is not None
                assert (game.uid, game.group) == (None, None)
                assert len(game.members(supervised=True)) == (2 if family else 1)
                assert child.stdin is not None
                child.stdin.write("remove\n")
                child.stdin.flush()
                assert line(child) == "removed"
                assert not game.alive()
            finally:
                child.kill()
                stop_zygote(directory)
    finally:
        shutil.rmtree(place)
