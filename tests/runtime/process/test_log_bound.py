"""The size of a log is bounded by the zygote, with no control plane there."""

import os
from pathlib import Path
from typing import Any

import pytest

from innkeeper.runtime import confine, places, zygote

World = Any
DROPPED = b"[innkeeper] older output was dropped here\n"


async def test_a_chatty_game_is_bounded_while_the_control_plane_is_down(world: World) -> None:
    world.log_bytes_max = 1_000_000
    await world.restart()
    spec = world.spec("family", FAMILY="chatter", CHATTER="50000")
    await world.runtime.start(spec)
    await world.bound(spec)
    await world.runtime.close()
    path = places.log_path(str(world.directory), spec.process_id)
    await world.until(lambda: os.stat(path).st_size == 5_000_000, "all written")
    await world.until(lambda: os.stat(path).st_blocks * 512 <= 1_000_000, "bounded")
    assert Path(path).read_bytes().endswith(b"49999" + b" " * 93 + b".\n")
    await world.restart()
    assert world.runtime.bound(spec.process_id, spec.ports)


def test_a_round_is_quick_again_after_much_came(tmp_path: Path) -> None:
    directory = str(tmp_path)
    places.make_all(directory)
    os.mkdir(places.process_dir(directory, "p"))
    bound = zygote.LogBound(directory, 100_000)
    now = [0.0]
    bound.monotonic = lambda: now[0]
    bound.round()
    assert bound.wait_s() == 1.0
    Path(places.log_path(directory, "p")).write_bytes(b"x" * 300_000)
    bound.round()  # not yet: the last round was just now
    assert os.stat(places.log_path(directory, "p")).st_blocks * 512 >= 300_000
    now[0] += 1
    bound.round()
    assert bound.wait_s() < 0.1
    assert os.stat(places.log_path(directory, "p")).st_blocks * 512 <= 100_000
    now[0] += 1
    bound.round()
    assert bound.wait_s() == 1.0


def test_where_holes_cannot_be_punched_all_is_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(fd: int, length: int) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(confine, "punch_hole", refuse)
    path = tmp_path / "log"
    path.write_bytes(b"x" * 10_000)
    zygote.bound_log(str(path), 5000)
    assert path.read_bytes() == DROPPED
