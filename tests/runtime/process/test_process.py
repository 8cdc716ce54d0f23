"""Starting, watching, ending and removing host processes."""

import asyncio
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from innkeeper.core.errors import PortTaken, StartFailed
from innkeeper.runtime import proc_table, started
from innkeeper.runtime.process_spec import UID_BASE

World = Any


async def test_start_bind_and_exit_code(world: World) -> None:
    spec = world.spec()
    booted_at = await world.runtime.start(spec)
    await world.bound(spec)
    seen = (await world.runtime.observe()).processes[spec.process_id]
    assert (seen.phase, seen.booted_at, seen.exit) == ("running", booted_at, None)
    await world.runtime.signal(spec.process_id, kill=False)
    ended = (await world.ended(spec)).exit
    assert (ended.code, ended.signal, ended.out_of_memory, ended.detail) == (0, None, False, "")
    assert ended.at >= booted_at
    assert world.output(spec).endswith("ready\ngoodbye\n")


@pytest.mark.parametrize(
    ("env", "code", "number"),
    [
        ({"PROBE_MODE": "exit", "PROBE_VALUE": "3"}, 3, None),
        ({"PROBE_MODE": "signal", "PROBE_VALUE": "11"}, None, 11),
    ],
)
async def test_how_it_ended(
    world: World, env: dict[str, str], code: int | None, number: int | None
) -> None:
    spec = world.spec(**env)
    await world.runtime.start(spec)
    ended = (await world.ended(spec)).exit
    assert (ended.code, ended.signal) == (code, number)


async def test_out_of_memory_is_told_apart(world: World) -> None:
    if not world.runtime.capabilities.enforces_limits:
        pytest.skip("needs writable control groups")
    spec = world.spec(memory_mb=20, PROBE_MODE="eat")
    await world.runtime.start(spec)
    ended = (await world.ended(spec)).exit
    assert ended.out_of_memory
    assert ended.reason() == "Out of memory"


async def test_the_environment_is_whole_and_ours_stays_out(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INNKEEPER_ADMIN_TOKEN", "secret")
    spec = world.spec(HATHORA_PROCESS_ID="x", FROM_IMAGE="overridden")
    await world.runtime.start(spec)
    await world.bound(spec)
    known = started.load(str(world.directory), spec.process_id)
    assert known is not None
    raw = Path(f"/proc/{known.pid}/environ").read_text().rstrip("\0").split("\0")
    env = dict(item.split("=", 1) for item in raw)
    assert env.pop("HATHORA_PRIVATE_IP").count(".") == 3
    assert env == {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": "/",
        "LANG": "C.UTF-8",
        "FROM_IMAGE": "overridden",
        "PROBE_PORTS": spec.env["PROBE_PORTS"],
        "HATHORA_PROCESS_ID": "x",
        "HATHORA_SERVER_URL": "http://127.0.0.1:9",
        "PORT": str(spec.ports[0].host_port),
    }


@pytest.mark.usefixtures("as_root")
async def test_as_root_it_is_confined(world: World) -> None:
    spec = world.spec()
    await world.runtime.start(spec)
    await world.bound(spec)
    known = started.load(str(world.directory), spec.process_id)
    assert known is not None
    status = dict(
        line.split(":\t", 1) for line in Path(f"/proc/{known.pid}/status").read_text().splitlines()
    )
    uid = str(UID_BASE + spec.ports[0].host_port)
    assert status["Uid"].split() == [uid] * 4
    assert status["Gid"].split() == [uid] * 4
    assert status["Groups"].strip() == ""
    assert status["NoNewPrivs"] == "1"
    assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == 0
    assert int(status["SigIgn"], 16) & (1 << (signal.SIGXFSZ - 1)) == 0
    assert os.readlink(f"/proc/{known.pid}/root") == str(
        world.directory / "images" / "probe" / "rootfs"
    )
    assert os.getsid(known.pid) == known.pid
    limits = Path(f"/proc/{known.pid}/limits").read_text()
    assert "Max core file size        0                    0" in limits
    assert sorted(os.listdir(f"/proc/{known.pid}/fd"))[:3] == ["0", "1", "2"]
    held = {os.readlink(f"/proc/{known.pid}/fd/{fd}") for fd in os.listdir(f"/proc/{known.pid}/fd")}
    assert held - {h for h in held if h.startswith("socket:")} == {
        "/dev/null",
        f"{world.directory}/processes/{spec.process_id}/log",
    }


async def test_starting_again_finds_it_started(world: World) -> None:
    spec = world.spec()
    first = await world.runtime.start(spec)
    await world.bound(spec)
    assert await world.runtime.start(spec) == first
    await world.restart()
    assert await world.runtime.start(spec) == first
    await world.runtime.signal(spec.process_id, kill=True)
    assert (await world.ended(spec)).exit.signal == signal.SIGKILL
    assert await world.runtime.start(spec) == first  # never twice, not even when it has ended
    assert (await world.runtime.observe()).processes[spec.process_id].phase == "exited"


async def test_asked_at_once_it_starts_once(world: World) -> None:
    spec = world.spec()
    moments = await asyncio.gather(*(world.runtime.start(spec) for _ in range(8)))
    assert len(set(moments)) == 1
    await world.bound(spec)
    assert world.output(spec).count("ready") == 1


async def test_many_at_once(world: World) -> None:
    specs = [world.spec() for _ in range(20)]
    await asyncio.gather(*(world.runtime.start(spec) for spec in specs))
    for spec in specs:
        await world.bound(spec)
    assert len((await world.runtime.observe()).processes) == 20


async def test_a_port_that_a_stranger_holds_is_named(world: World) -> None:
    spec = world.spec()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.bind(("127.0.0.1", spec.ports[0].host_port))
        with pytest.raises(PortTaken) as caught:
            await world.runtime.start(spec)
    assert caught.value.port == spec.ports[0].host_port
    assert caught.value.owner == f"pid {os.getpid()} ({proc_table.name_of(os.getpid())})"


async def test_a_game_that_ignores_its_port_is_told_who_was_in_the_way(
    world: World, free_port: Callable[[str], int]
) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.bind(("0.0.0.0", 0))
        port = stranger.getsockname()[1]
        spec = world.spec(container_port=port, PROBE_PORTS=f"udp:{port}")
        await world.runtime.start(spec)
        seen = await world.ended(spec)
    assert seen.exit.code == 98
    assert f"port {port} is held by pid {os.getpid()} " in seen.exit.reason()
    assert f"must bind PORT, {spec.ports[0].host_port}" in seen.exit.detail


async def test_a_game_in_the_way_of_another_is_named_by_its_process(world: World) -> None:
    first = world.spec(protocol="tcp")
    await world.runtime.start(first)
    await world.bound(first)
    port = first.ports[0].host_port
    second = world.spec(protocol="tcp", container_port=port, PROBE_PORTS=f"tcp:{port}")
    await world.runtime.start(second)
    seen = await world.ended(second)
    assert seen.exit.detail.startswith(f"port {port} is held by process {first.process_id};")


async def test_another_program_on_its_port_is_not_ready(world: World) -> None:
    spec = world.spec(PROBE_MODE="never")
    await world.runtime.start(spec)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.bind(("0.0.0.0", spec.ports[0].host_port))
        assert not world.runtime.bound(spec.process_id, spec.ports)


async def test_connections_are_counted_for_tcp_alone(world: World) -> None:
    tcp, udp = world.spec(protocol="tcp"), world.spec()
    for spec in (tcp, udp):
        await world.runtime.start(spec)
        await world.bound(spec)
    assert world.runtime.connections(udp.process_id, udp.ports) is None
    assert world.runtime.connections(tcp.process_id, tcp.ports) == 0
    with socket.create_connection(("127.0.0.1", tcp.ports[0].host_port)) as player:
        player.sendall(b"hello")
        assert player.recv(5) == b"hello"
        assert world.runtime.connections(tcp.process_id, tcp.ports) == 1


async def test_a_child_may_bind_the_port(world: World) -> None:
    spec = world.spec("family", FAMILY="child")
    await world.runtime.start(spec)
    await world.bound(spec)


async def test_what_a_game_leaves_behind_ends_with_it(world: World) -> None:
    spec = world.spec("family", FAMILY="daemon")
    await world.runtime.start(spec)
    ended = (await world.ended(spec)).exit
    assert ended.code == 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("0.0.0.0", spec.ports[0].host_port))  # the daemon is gone, and its port free


async def test_orphans_that_ended_are_reaped(world: World) -> None:
    spec = world.spec("family", FAMILY="zombies")
    await world.runtime.start(spec)
    await world.bound(spec)
    known = started.load(str(world.directory), spec.process_id)
    assert known is not None

    def children() -> list[int]:
        found = (proc_table.stat(pid) for pid in proc_table.pids())
        return [f.pid for f in found if f is not None and f.parent == known.supervisor_pid]

    await world.until(lambda: children() == [known.pid], "orphans reaped")


async def test_an_end_is_hinted(world: World) -> None:
    spec = world.spec(PROBE_MODE="exit")
    hint = asyncio.ensure_future(anext(world.runtime.changes()))
    await asyncio.sleep(0)  # it listens
    await world.runtime.start(spec)
    async with asyncio.timeout(10):
        assert await hint == spec.process_id
    assert (await world.ended(spec)).exit.code == 0


async def test_ends_are_hinted_to_the_server_that_asked_last(world: World) -> None:
    """It reconciles now; one that only serves the API must not take the hints away."""
    other, idle = world.make(), world.make()
    before = asyncio.ensure_future(anext(world.runtime.changes()))
    await asyncio.sleep(0)
    await other.open()
    now = asyncio.ensure_future(anext(other.changes()))
    await asyncio.sleep(0)
    await idle.open()
    spec = world.spec(PROBE_MODE="exit")
    await other.start(spec)
    async with asyncio.timeout(10):
        assert await now == spec.process_id
    assert not before.done()
    before.cancel()
    for one in (other, idle):
        await one.close()


async def test_remove_leaves_nothing(world: World) -> None:
    running, over = world.spec(), world.spec(PROBE_MODE="exit")
    for spec in (running, over):
        await world.runtime.start(spec)
    await world.bound(running)
    await world.ended(over)
    known = started.load(str(world.directory), running.process_id)
    assert known is not None
    for spec in (running, over):
        await world.runtime.remove(spec.process_id)
        await world.runtime.remove(spec.process_id)
    assert (await world.runtime.observe()).processes == {}
    assert not known.alive()
    assert os.listdir(world.directory / "processes") == []
    assert os.listdir(world.directory / "exits") == []
    if known.group is not None:
        assert known.group.pids() == set()


async def test_signals_to_what_is_gone_do_nothing(world: World) -> None:
    await world.runtime.signal("no-such-process", kill=False)
    await world.runtime.signal("no-such-process", kill=True)
    await world.runtime.remove("no-such-process")
    assert await world.runtime.log_source("no-such-process") is None


@pytest.mark.parametrize(
    ("content", "mode", "why"),
    [
        (None, 0o755, "there is no file /bin/game in the image"),
        (b"\x7fELF", 0o644, "/bin/game is not executable"),
        (b"#!/usr/bin/python3\n", 0o755, "/bin/game needs /usr/bin/python3, which the image"),
        (b"no program", 0o755, "neither a program for this machine nor a script"),
        (
            b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\0\xb7\0" + bytes(100),
            0o755,
            "/bin/game is built for aarch64; this machine is",
        ),
    ],
)
@pytest.mark.usefixtures("as_root")
async def test_why_it_could_not_be_started(
    world: World, tmp_path: Path, content: bytes | None, mode: int, why: str
) -> None:
    (tmp_path / "game").write_bytes(content or b"")
    world.image("game", tmp_path / "game", ("/bin/game",))
    program = world.directory / "images" / "game" / "rootfs" / "bin" / "game"
    program.chmod(mode)
    if content is None:
        program.unlink()
    spec = world.spec("game")
    for _ in range(2):
        with pytest.raises(StartFailed) as caught:
            await world.runtime.start(spec)
        assert why in caught.value.message
    assert (await world.runtime.observe()).processes[spec.process_id].phase == "created"


async def test_a_missing_image_is_said(world: World) -> None:
    with pytest.raises(StartFailed, match="image nothing is gone"):
        await world.runtime.start(world.spec("nothing"))
