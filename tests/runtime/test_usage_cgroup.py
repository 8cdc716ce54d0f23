"""Control groups of both versions, from files as kernels write them; and pids that are somebody else's."""

import os
from pathlib import Path

import pytest

from innkeeper.runtime import usage_cgroup, usage_container
from innkeeper.runtime.usage_cgroup import GroupPaths, Roots
from innkeeper.runtime.usage_container import Inside, Measurable

V1_MOUNTS = """\
tmpfs /sys/fs/cgroup tmpfs rw,relatime,mode=755 0 0
cgroup2 /sys/fs/cgroup/unified cgroup2 rw,nosuid 0 0
cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,nosuid,cpu,cpuacct 0 0
cgroup /sys/fs/cgroup/memory cgroup rw,nosuid,memory 0 0
"""
V1_GROUPS = (
    "5:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n1:name=systemd:/docker/abc\n0::/docker/abc\n"
)


def test_version_1_and_hybrid() -> None:
    roots = usage_cgroup.roots_of(V1_MOUNTS)
    assert usage_cgroup.paths_of(V1_GROUPS, roots) == GroupPaths(
        "/sys/fs/cgroup/cpu,cpuacct/docker/abc", "/sys/fs/cgroup/memory/docker/abc", 1
    )


def test_version_2() -> None:
    roots = usage_cgroup.roots_of("cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n")
    path = "/sys/fs/cgroup/machine.slice/libpod-abc.scope"
    groups = "0::/machine.slice/libpod-abc.scope\n"
    assert usage_cgroup.paths_of(groups, roots) == GroupPaths(path, path, 2)


def test_without_control_groups() -> None:
    paths = usage_cgroup.paths_of("0::/\n", Roots({}, None))
    assert (usage_cgroup.cpu_ms(paths), usage_cgroup.memory_bytes(paths)) == (None, None)


def test_what_version_1_tells(tmp_path: Path) -> None:
    (tmp_path / "cpuacct.usage").write_text("1234567890\n")
    (tmp_path / "memory.usage_in_bytes").write_text("10000\n")
    (tmp_path / "memory.stat").write_text("inactive_file 1\ntotal_inactive_file 3000\n")
    paths = GroupPaths(str(tmp_path), str(tmp_path), 1)
    assert usage_cgroup.cpu_ms(paths) == 1234
    assert usage_cgroup.memory_bytes(paths) == 7000


def test_what_version_2_tells(tmp_path: Path) -> None:
    (tmp_path / "cpu.stat").write_text("usage_usec 1234567\nuser_usec 1\n")
    (tmp_path / "memory.current").write_text("10000\n")
    (tmp_path / "memory.stat").write_text("anon 5\ninactive_file 12000\n")
    paths = GroupPaths(str(tmp_path), str(tmp_path), 2)
    assert usage_cgroup.cpu_ms(paths) == 1234
    assert usage_cgroup.memory_bytes(paths) == 0


@pytest.mark.parametrize("version", [1, 2])
def test_a_group_that_is_gone_or_does_not_count(tmp_path: Path, version: int) -> None:
    paths = GroupPaths(str(tmp_path / "gone"), str(tmp_path / "gone"), version)
    assert (usage_cgroup.cpu_ms(paths), usage_cgroup.memory_bytes(paths)) == (None, None)
    (tmp_path / "cpu.stat").write_text("nr_periods 1\n")
    assert usage_cgroup.cpu_ms(GroupPaths(str(tmp_path), None, 2)) is None


def test_a_pid_that_is_somebody_else_by_now_is_not_read() -> None:
    """Our own process runs, but in no container of this id: its counters are nobody's bill."""
    stranger = Inside("f" * 64, os.getpid())
    assert usage_container.read([Measurable("p", stranger, None)]) == {}
    assert usage_container.read([Measurable("p", None, stranger)]) == {}
    assert usage_container.read([Measurable("p", None, None)]) == {}
    gone = Inside("f" * 64, 2**22 + 1)
    assert usage_container.read([Measurable("p", gone, gone)]) == {}


def test_interfaces_but_the_loopback_are_counted() -> None:
    lines = Path("/proc/net/dev").read_text().splitlines()[2:]
    others = [line for line in lines if not line.strip().startswith("lo:")]
    wanted = sum(int(line.split(":")[1].split()[8]) for line in others)
    assert (usage_cgroup.sent_bytes(os.getpid()) or 0) >= wanted
    assert usage_cgroup.sent_bytes(2**22 + 1) is None
