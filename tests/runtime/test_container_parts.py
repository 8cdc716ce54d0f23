"""The container driver's parts that need no engine."""

import asyncio
import os
import stat
import struct
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest

from innkeeper.core.errors import RuntimeAway
from innkeeper.interfaces import LogSource, PortSpec, ProcessSpec
from innkeeper.runtime import holder, oom
from innkeeper.runtime.container_spec import (
    ContainerSettings,
    address_of,
    exit_of,
    holder_body,
    moment,
    phase,
    process_body,
)
from innkeeper.runtime.disk_guard import guard_disks, guard_logs, is_over
from innkeeper.runtime.netns import NetSpace, NetSpaces, open_inside
from innkeeper.runtime.subnets import candidates, routed
from innkeeper.telemetry.log_files import SourceFile, source_lines

SETTINGS = ContainerSettings(installation="0123456789ab", api_port=8080)
SPEC = ProcessSpec(
    process_id="p-1",
    app_id="app-1",
    deployment_id="dep-1",
    image_ref="localhost/innkeeper-01234567/x:latest",
    cpu_millis=1500,
    memory_mb=256,
    ports=(PortSpec("default", 7777, 20001, "udp"), PortSpec("web", 80, 20002, "tcp")),
    env={"A": "1", "B": "x=y"},
    sandbox_id="s-1",
)


class TestBodies:
    """What the engine is asked for."""

    def test_a_process_joins_its_sandbox_within_its_limits(self) -> None:
        body = process_body(SPEC, SETTINGS, "s-1", {**SPEC.env, "C": ""}, podman=True)
        host = body["HostConfig"]
        assert host["NetworkMode"] == "container:innkeeper-01234567-net-s-1"
        assert host["CpuQuota"] / host["CpuPeriod"] == 1.5
        assert host["Memory"] == host["MemorySwap"] == 256 * 1024**2
        assert body["Env"] == ["A=1", "B=x=y", "C="]
        assert {limit["Name"] for limit in host["Ulimits"]} == {"nofile", "nproc", "fsize"}
        assert host["CapDrop"] == ["NET_RAW", "MKNOD", "AUDIT_WRITE"]
        assert host["SecurityOpt"] == ["no-new-privileges"]
        assert not {"Binds", "Mounts", "PortBindings", "Devices"} & host.keys()
        assert host["Privileged"] is False

    def test_a_holder_publishes_each_port(self) -> None:
        ports = (*SPEC.ports, PortSpec("more", 7777, 20003, "udp"))
        body = holder_body("s-1", ports, SETTINGS, "image", "network")
        assert body["HostConfig"]["PortBindings"] == {
            "7777/udp": [
                {"HostIp": "", "HostPort": "20001"},
                {"HostIp": "", "HostPort": "20003"},
            ],
            "80/tcp": [{"HostIp": "", "HostPort": "20002"}],
        }
        assert body["HostConfig"]["CapDrop"] == ["ALL"]


class TestReading:
    """What the engine's answers mean."""

    @pytest.mark.parametrize(
        ("code", "seen"),
        [
            *((code, (code, None)) for code in (0, 3, 128, 193, 255)),
            *((128 + number, (None, number)) for number in (9, 11, 15, 64)),
        ],
    )
    def test_a_signal_is_told_from_an_exit_code(
        self, code: int, seen: tuple[int | None, int | None]
    ) -> None:
        ended = exit_of({"ExitCode": code}, killed_for_memory=False)
        assert (ended.code, ended.signal) == seen

    def test_an_end_is_never_before_the_start(self) -> None:
        state: dict[str, Any] = {
            "ExitCode": 0,
            "StartedAt": "2026-01-01T00:00:00.618481500Z",
            "FinishedAt": "2026-01-01T00:00:00.614428706Z",
        }
        assert exit_of(state, False).at == moment(state["StartedAt"])

    def test_moments_are_whole_milliseconds_in_utc(self) -> None:
        assert moment("2026-01-01T02:00:00.618999+02:00") == datetime(
            2026, 1, 1, 0, 0, 0, 618000, tzinfo=UTC
        )
        assert moment("0001-01-01T00:00:00Z") is None
        assert moment("") is None

    @pytest.mark.parametrize(
        ("state", "word"),
        [
            ("created", "created"),
            ("initialized", "created"),
            ("Running", "running"),
            ("paused", "running"),
            ("exited", "exited"),
            ("dead", "exited"),
            ("removing", "exited"),
        ],
    )
    def test_every_state_has_one_of_our_words(self, state: str, word: str) -> None:
        assert phase(state) == word

    def test_the_address_is_found_in_either_dialect(self) -> None:
        assert address_of({"Networks": {"n": {"IPAddress": "10.1.2.3"}}}) == "10.1.2.3"
        assert address_of({"Networks": {"n": None}}) is None
        assert address_of({"Networks": {}}) is None
        assert address_of(None) is None


class TestHolder:
    """The program that only sleeps."""

    def test_it_runs_and_waits(self, tmp_path: Path) -> None:
        path = tmp_path / "hold"
        path.write_bytes(holder.program())
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        running = subprocess.Popen([path])
        try:
            with pytest.raises(subprocess.TimeoutExpired):
                running.wait(0.2)
        finally:
            running.kill()
            assert running.wait(5) == -9

    def test_both_machines_have_one(self) -> None:
        for machine, number in (("x86_64", 62), ("aarch64", 183)):
            made = holder.program(machine)
            assert made[:4] == b"\x7fELF"
            assert struct.unpack_from("<H", made, 18)[0] == number
            assert len(made) < 200
        with pytest.raises(ValueError, match="pdp11"):
            holder.program("pdp11")


class TestMemoryKills:
    """The kernel's log."""

    LINE = (
        "3,812,{us},-;oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=x,mems_allowed=0,"
        "oom_memcg=/p/libpod-abc,task_memcg=/p/libpod-abc,task=game,pid=7,uid=0\n"
    )

    def test_a_kill_just_before_the_end_counts(self, monkeypatch: pytest.MonkeyPatch) -> None:
        kills = self.read(monkeypatch, self.LINE.format(us=0))
        ((group, (at,)),) = kills.items()
        assert group == "/p/libpod-abc"
        assert oom.was_killed("abc", at + timedelta(seconds=1), kills)
        assert not oom.was_killed("abc", at + timedelta(hours=1), kills)
        assert not oom.was_killed("def", at, kills)

    def test_other_lines_are_passed_over(self, monkeypatch: pytest.MonkeyPatch) -> None:
        text = "6,1,5,-;usb 1-1: new device oom-kill:constraint=CONSTRAINT_MEMCG,task_memcg=/abc,\n"
        assert self.read(monkeypatch, text) == {}

    def test_without_the_log_nothing_is_known(self, tmp_path: Path) -> None:
        assert oom.memory_kills(str(tmp_path / "none")) == {}

    def read(self, monkeypatch: pytest.MonkeyPatch, record: str) -> dict[str, list[datetime]]:
        records: Iterator[bytes | OSError] = iter(
            [BrokenPipeError(), record.encode(), BlockingIOError()]
        )

        def read_one(_descriptor: int, _size: int) -> bytes:
            one = next(records)
            if isinstance(one, bytes):
                return one
            raise one

        monkeypatch.setattr(os, "read", read_one)
        return oom.memory_kills("/dev/null")


class TestSubnets:
    """A bridge of our own that overlaps nothing."""

    def test_the_same_installation_tries_the_same_first(self) -> None:
        first = list(candidates("one", []))
        assert first == list(candidates("one", []))
        assert first[0] not in list(candidates("two", []))
        assert len(first) == 16

    def test_what_has_a_route_is_left_out(self) -> None:
        (taken, *_) = candidates("one", [])
        assert not any(c.overlaps(taken) for c in candidates("one", [taken]))
        assert list(candidates("one", [IPv4Network("10.0.0.0/8")])) == []

    def test_the_kernels_table_is_read(self) -> None:
        table = (
            "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\n"
            "eth0\t00000000\t0100A8C0\t0003\t0\t0\t0\t00000000\n"
            "eth0\t0000A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\n"
        )
        assert routed(table) == [IPv4Network("192.168.0.0/24")]
        assert routed() is not None


class TestNetSpaces:
    """Sockets inside namespaces; our own stands for another's."""

    @pytest.mark.skipif(os.geteuid() != 0, reason="entering a namespace needs root")
    def test_they_are_kept_within_a_bound(self) -> None:
        spaces = NetSpaces(open_max=2)
        for name in ("a", "b", "c"):
            spaces.add(name, NetSpace(os.getpid(), "127.0.0.1"))
        first = spaces.diag("a")
        assert first is not None
        assert spaces.diag("a") is first
        assert spaces.diag("b") is not None
        assert spaces.diag("c") is not None
        assert first.fileno() == -1, "the one unused for longest was closed"
        assert spaces.diag("a") is not None
        spaces.close()
        assert spaces.diag("a") is None
        assert spaces.process_ids() == frozenset()

    def test_a_process_that_is_gone_has_none(self) -> None:
        gone = subprocess.Popen(["true"])
        gone.wait()
        spaces = NetSpaces()
        spaces.add("x", NetSpace(gone.pid, "127.0.0.1"))
        assert spaces.diag("x") is None
        with pytest.raises(FileNotFoundError):
            open_inside(gone.pid)

    @pytest.mark.skipif(os.geteuid() != 0, reason="entering a namespace needs root")
    def test_another_namespace_is_seen_from_here(self) -> None:
        code = (
            "import socket,sys; s=socket.socket(); s.bind(('0.0.0.0', 7777)); s.listen();"
            "print('ready', flush=True); sys.stdin.read()"
        )
        inside = subprocess.Popen(
            ["unshare", "--net", "python3", "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        try:
            assert inside.stdout is not None
            assert inside.stdout.readline() == b"ready\n"
            spaces = NetSpaces()
            spaces.add("x", NetSpace(inside.pid, "127.0.0.1"))
            diag = spaces.diag("x")
            assert diag is not None
            assert diag.is_bound("tcp", 7777, "127.0.0.1")
            assert not diag.is_bound("udp", 7777, "127.0.0.1")
            spaces.close()
        finally:
            inside.communicate(timeout=10)


class TestDisks:
    """What a process has written."""

    def test_the_sum_and_the_count_are_bounded(self, tmp_path: Path) -> None:
        (tmp_path / "deep" / "er").mkdir(parents=True)
        for number in range(4):
            (tmp_path / "deep" / "er" / str(number)).write_bytes(b"x" * 100_000)
        assert not is_over([tmp_path], 2_000_000)
        assert is_over([tmp_path], 300_000)
        assert is_over([tmp_path], 2_000_000, entries_max=5)
        assert not is_over([tmp_path / "none"], 0)

    async def test_whoever_is_over_is_ended_once_a_look(self, tmp_path: Path) -> None:
        (tmp_path / "big").write_bytes(b"x" * 100_000)
        (tmp_path / "none").mkdir()
        ended: asyncio.Queue[str] = asyncio.Queue()

        async def end(process_id: str) -> None:
            await ended.put(process_id)
            raise RuntimeAway("the engine is away")

        layers: list[tuple[str, tuple[Path, ...]]] = [
            ("small", (tmp_path / "none",)),
            ("big", (tmp_path,)),
        ]
        guard = asyncio.create_task(guard_disks(lambda: layers, end, 50_000, 0.0))
        assert [await ended.get(), await ended.get()] == ["big", "big"]
        guard.cancel()

    async def test_a_log_keeps_its_newest_part_while_it_grows(self, tmp_path: Path) -> None:
        path = tmp_path / "ctr.log"
        line = b"2026-01-31T12:00:00.000000000+00:00 stdout F %07d " + b"x" * 40 + b"\n"
        path.write_bytes(b"".join(line % number for number in range(20_000)))
        looked = asyncio.Event()

        def logs() -> list[Path]:
            looked.set()
            return [path, tmp_path / "gone"]

        guard = asyncio.create_task(guard_logs(logs, 400_000, 0.0))
        await looked.wait()
        while path.stat().st_blocks * 512 > 400_000:
            looked.clear()
            await looked.wait()
        guard.cancel()
        with path.open("ab") as file:
            file.write(line % 20_000)
        source = SourceFile(LogSource(path, "k8s-file"), 10**9)
        lines = [one for some in source_lines(source) for one in some]
        source.close()
        assert lines[0].startswith(b"[innkeeper] older output was dropped")
        assert lines[-1].startswith(b"0020000 ")
        numbers = [int(one.split()[0]) for one in lines[1:]]
        assert numbers == list(range(numbers[0], 20_001))
        assert 100_000 < len(numbers) * len(line) < 400_000


@pytest.fixture(autouse=True)
def no_descriptor_is_left() -> Iterator[None]:
    """Netlink sockets keep whole namespaces alive."""
    before = len(os.listdir("/proc/self/fd"))
    yield
    assert len(os.listdir("/proc/self/fd")) <= before + 6  # the event loop's own come and go
