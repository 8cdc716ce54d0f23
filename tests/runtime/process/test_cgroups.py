"""Both layouts of control groups, over a tree of plain files that stands in for the kernel's."""

from collections.abc import Callable
from pathlib import Path

import pytest

from innkeeper.runtime import cgroups
from innkeeper.runtime.cgroups import Group

FILES = {
    "v1": ["cgroup.procs", "memory.limit_in_bytes", "cpu.cfs_period_us", "cpu.cfs_quota_us"],
    "v2": ["cgroup.procs", "cgroup.subtree_control", "memory.max", "memory.swap.max", "cpu.max"],
}


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """A directory in which a new group comes with its files, and goes with them."""
    made = cgroups.os.mkdir
    removed = cgroups.os.rmdir

    def tree(version: str) -> Path:
        def mkdir(path: str, mode: int = 0o777) -> None:
            made(path, mode)
            for name in FILES[version]:
                (Path(path) / name).touch()

        def rmdir(path: str) -> None:
            for name in FILES[version]:
                (Path(path) / name).unlink(missing_ok=True)
            removed(path)

        monkeypatch.setattr(cgroups.os, "mkdir", mkdir)
        monkeypatch.setattr(cgroups.os, "rmdir", rmdir)
        return tmp_path

    return tree


def test_version_2(kernel: Callable[[str], Path]) -> None:
    root = kernel("v2")
    assert cgroups.layout(str(root)) is None
    (root / "cgroup.procs").touch()
    (root / "cgroup.subtree_control").write_text("cpu io memory\n")
    assert cgroups.layout(str(root)) == "v2"
    group = Group("v2", "innkeeper/1-2", str(root))
    group.make()
    group.make()
    group.limit(512, 250)
    group.join()
    place = root / "innkeeper" / "1-2"
    assert (root / "innkeeper" / "cgroup.subtree_control").read_text() == "+memory +cpu"
    assert (place / "memory.max").read_text() == "536870912"
    assert (place / "memory.swap.max").read_text() == "0"
    assert (place / "cpu.max").read_text() == "25000 100000"
    assert (place / "cgroup.procs").read_text() == "0"
    assert group.oom_kills() == 0
    (place / "memory.events").write_text("low 0\noom 2\noom_kill 1\n")
    assert group.oom_kills() == 1
    (place / "memory.events").unlink()
    (place / "cgroup.procs").write_text("7\n8\n")
    assert group.pids() == {7, 8}
    assert group.remove()
    assert group.remove()
    assert group.pids() == set()


def test_version_1(kernel: Callable[[str], Path]) -> None:
    root = kernel("v1")
    for kind in ("memory", "cpu"):
        (root / kind).mkdir()
        (root / kind / "cgroup.procs").touch()
    assert cgroups.layout(str(root)) == "v1"
    group = Group("v1", "innkeeper/1-2", str(root))
    group.make()
    group.limit(512, 2000)
    assert (root / "memory/innkeeper/1-2/memory.limit_in_bytes").read_text() == "536870912"
    assert (root / "cpu/innkeeper/1-2/cpu.cfs_quota_us").read_text() == "200000"
    (root / "memory/innkeeper/1-2/memory.oom_control").write_text("under_oom 0\noom_kill 3\n")
    assert group.oom_kills() == 3


def test_groups_of_the_dead_are_removed(kernel: Callable[[str], Path]) -> None:
    root = kernel("v2")
    cgroups.remove_dead("v2", "innkeeper", str(root))
    own = cgroups.start_ticks(1)
    for name in (f"1-{own}", "1-1", "999999999-5", "another"):
        Group("v2", f"innkeeper/{name}", str(root)).make()
    cgroups.remove_dead("v2", "innkeeper", str(root))
    kept = sorted(path.name for path in (root / "innkeeper").iterdir() if path.is_dir())
    assert kept == sorted([f"1-{own}", "another"])
