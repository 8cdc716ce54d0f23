"""The container driver against a real engine."""

import asyncio
import os
import re
import signal
import socket
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from innkeeper.interfaces import SandboxSpec
from innkeeper.runtime.conntrack import forget_flows
from innkeeper.runtime.container import ContainerRuntime
from innkeeper.runtime.container_spec import process_name, sandbox_name
from innkeeper.runtime.engine import Engine
from innkeeper.testing.container_harness import ContainerHarness
from innkeeper.testing.runtime_harness import eventually, seen, until_bound, until_exited
from innkeeper.testing.runtime_suite import RuntimeSuite

IP_FREEBIND = 15  # Python does not name it
pytestmark = pytest.mark.system


class TestContainerRuntime(RuntimeSuite):
    """The whole suite."""


async def test_limits_and_rights_reach_the_kernel(harness: ContainerHarness) -> None:
    driver = await harness.open()
    spec = harness.spec(driver, memory_mb=96)
    await driver.start(spec)
    await until_bound(driver, spec)
    pid = await pid_of(harness, spec.process_id)
    status = dict(
        line.split(":\t", 1)
        for line in Path(f"/proc/{pid}/status").read_text().splitlines()
        if ":\t" in line
    )
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"
    rights = int(status["CapBnd"], 16)
    for number in (13, 27, 29, 21, 12):  # NET_RAW, MKNOD, AUDIT_WRITE, SYS_ADMIN, NET_ADMIN
        assert not rights >> number & 1
    assert rights >> 10 & 1, "NET_BIND_SERVICE stays"
    mounts = Path(f"/proc/{pid}/mountinfo").read_text()
    assert str(harness.socket_path) not in mounts
    limits = Path(f"/proc/{pid}/limits").read_text()
    file_size = next(line for line in limits.splitlines() if line.startswith("Max file size"))
    assert str(harness.settings.writable_mb * 1024**2) in file_size


async def test_cpu_memory_and_processes_are_bounded(harness: ContainerHarness) -> None:
    driver = await harness.open()
    spec = harness.spec(driver, memory_mb=96)
    await driver.start(spec)
    pid = await pid_of(harness, spec.process_id)
    groups = {
        name: path
        for _, names, path in (
            line.split(":", 2) for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines()
        )
        for name in names.split(",")
    }
    base = Path("/sys/fs/cgroup")
    if "memory" in groups:
        memory = (base / f"memory{groups['memory']}/memory.limit_in_bytes").read_text()
        quota = (base / f"cpu{groups['cpu']}/cpu.cfs_quota_us").read_text()
        pids = (base / f"pids{groups['pids']}/pids.max").read_text()
    else:
        memory = (base / groups[""][1:] / "memory.max").read_text()
        quota = (base / groups[""][1:] / "cpu.max").read_text().split()[0]
        pids = (base / groups[""][1:] / "pids.max").read_text()
    assert int(memory) == 96 * 1024**2
    assert int(quota) == 50_000  # half a core of 100,000 us
    assert int(pids) == harness.settings.pids_max


async def pid_of(harness: ContainerHarness, process_id: str) -> int:
    """The pid of a process's first process, from the engine."""
    engine = Engine(harness.socket_path)
    await engine.open()
    name = process_name(harness.settings, process_id)
    answer = await engine.call("GET", f"/containers/{name}/json")
    await engine.close()
    return int(answer.data["State"]["Pid"])


async def address_of(harness: ContainerHarness, process_id: str) -> str:
    """A process's private address, as it was told itself."""
    driver = await harness.open()
    source = await driver.log_source(process_id)
    assert source is not None
    found = re.search(r"HATHORA_PRIVATE_IP=([0-9.]+)", source.path.read_text())
    assert found is not None
    return found[1]


async def test_the_api_is_reached_from_inside_before_it_binds(harness: ContainerHarness) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as api:
        api.setsockopt(socket.SOL_IP, IP_FREEBIND, 1)
        first = await harness.open()
        assert isinstance(first, ContainerRuntime)
        # The bridge may not be up yet: the address is bound all the same.
        api.bind((first.api_bind_address(), 0))
        api.listen()
        api.setblocking(False)
        harness.settings = replace(harness.settings, api_port=api.getsockname()[1])
        driver = await harness.open()
        spec = harness.spec(driver, PROBE_CALL="1")
        await driver.start(spec)
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(10):
            connection, _ = await loop.sock_accept(api)
            with closing(connection):
                asked = await loop.sock_recv(connection, 4096)
                assert asked.startswith(b"GET / HTTP/1.0")
                assert not driver.bound(spec.process_id, spec.ports)
                await loop.sock_sendall(connection, b"HTTP/1.0 204 Here\r\n\r\n")
        await until_bound(driver, spec)
        source = await driver.log_source(spec.process_id)
        assert source is not None
        assert "call answered: HTTP/1.0 204 Here" in source.path.read_text()


async def test_players_who_go_on_sending_reach_the_ports_next_owner(
    harness: ContainerHarness,
) -> None:
    driver = await harness.open()
    first = harness.spec(driver, harness.ports("udp"))
    await driver.start(first)
    await until_bound(driver, first)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as player:
        player.settimeout(0.2)
        player.connect(("127.0.0.1", first.ports[0].host_port))

        async def answered() -> bool:
            try:
                player.send(b"hello")
                return await asyncio.to_thread(player.recv, 16) == b"hello"
            except (TimeoutError, ConnectionRefusedError):
                return False

        await eventually(answered, "the first owner answers")
        await driver.remove(first.process_id)
        second = harness.spec(driver, first.ports)
        await driver.start(second)
        await until_bound(driver, second)
        await eventually(answered, "the second owner answers the same player")


async def test_flows_are_counted_and_forgotten(harness: ContainerHarness) -> None:
    driver = await harness.open()
    spec = harness.spec(driver, harness.ports("udp"))
    await driver.start(spec)
    await until_bound(driver, spec)
    assert driver.connections(spec.process_id, spec.ports) == 0
    players = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(3)]
    for player in players:
        player.settimeout(5)
        player.connect(("127.0.0.1", spec.ports[0].host_port))
        player.send(b"hello")
        assert await asyncio.to_thread(player.recv, 16) == b"hello"
        player.close()
    later = await harness.open()
    await later.observe()
    assert later.connections(spec.process_id, spec.ports) == 3
    address = await address_of(harness, spec.process_id)
    assert forget_flows(address) == 3
    assert forget_flows(address) == 0


async def test_a_full_layer_ends_the_process(harness: ContainerHarness) -> None:
    harness.settings = replace(harness.settings, writable_mb=100, disk_check_s=0.05)
    driver = await harness.open()
    spec = harness.spec(driver, PROBE_MODE="spill", memory_mb=512)
    await driver.start(spec)
    ended = await until_exited(driver, spec.process_id)
    assert ended.reason() == "Killed by signal 9 (it wrote more than 100 MB to its disk)"


async def test_a_game_that_lost_its_network_is_ended(harness: ContainerHarness) -> None:
    driver = await harness.open()
    spec = harness.spec(driver)
    await driver.start(spec)
    await until_bound(driver, spec)
    engine = Engine(harness.socket_path)
    await engine.open()
    holder = sandbox_name(harness.settings, f"own-{spec.process_id}")
    killed = await engine.call("POST", f"/containers/{holder}/kill", params={"signal": "SIGKILL"})
    assert killed.ok
    await engine.close()
    fresh = await harness.open()  # its first listing is a new one
    ended = await until_exited(fresh, spec.process_id)
    assert ended.reason() == "Killed by signal 9 (its network sandbox had ended)"
    assert (await fresh.observe()).sandboxes == {}


async def test_a_sandbox_that_has_ended_is_of_no_use_and_yet_shown(
    harness: ContainerHarness,
) -> None:
    """So that it is removed although nobody has a record of it."""
    driver = await harness.open()
    ports = harness.ports("udp")
    await driver.make_sandbox(SandboxSpec("left", "dep", ports))
    engine = Engine(harness.socket_path)
    await engine.open()
    holder = sandbox_name(harness.settings, "left")
    killed = await engine.call("POST", f"/containers/{holder}/kill", params={"signal": "SIGKILL"})
    assert killed.ok

    async def exited() -> bool:
        state = await engine.call("GET", f"/containers/{holder}/json")
        return bool(state.data["State"]["Status"] == "exited")

    await eventually(exited, "the holder has ended")
    await engine.close()
    listing = await (await harness.open()).observe()
    assert (listing.sandboxes, listing.ended_sandboxes) == ({}, frozenset({"left"}))


async def test_a_sandbox_that_was_ended_from_outside_is_started_again(
    harness: ContainerHarness,
) -> None:
    driver = await harness.open()
    spec = replace(harness.spec(driver, harness.ports("udp")), sandbox_id="ahead")
    await driver.make_sandbox(SandboxSpec("ahead", spec.deployment_id, spec.ports))
    engine = Engine(harness.socket_path)
    await engine.open()
    holder = sandbox_name(harness.settings, "ahead")
    killed = await engine.call("POST", f"/containers/{holder}/kill", params={"signal": "SIGKILL"})
    assert killed.ok
    await engine.close()
    await driver.start(spec)
    await until_bound(driver, spec)


async def test_many_processes_are_listed_at_once(harness: ContainerHarness) -> None:
    driver = await harness.open()
    specs = [harness.spec(driver, harness.ports("udp")) for _ in range(6)]
    await asyncio.gather(*(driver.start(spec) for spec in specs))
    for spec in specs:
        await until_bound(driver, spec)
    listing = await driver.observe()
    assert set(listing.processes) == {spec.process_id for spec in specs}
    await asyncio.gather(*(driver.remove(spec.process_id) for spec in specs))
    assert await seen(driver, specs[0].process_id) is None


async def test_an_end_without_a_hint_is_seen_by_the_next_look(harness: ContainerHarness) -> None:
    driver = await harness.open()
    spec = harness.spec(driver)
    await driver.start(spec)
    await until_bound(driver, spec)
    for _ in range(2):  # the second look is answered from the first
        now = await seen(driver, spec.process_id)
        assert now is not None
        assert now.phase == "running"
    os.kill(await pid_of(harness, spec.process_id), signal.SIGKILL)
    assert (await until_exited(driver, spec.process_id)).signal == signal.SIGKILL


async def test_what_is_removed_behind_our_back_is_missed(harness: ContainerHarness) -> None:
    driver = await harness.open()
    spec = harness.spec(driver)
    await driver.start(spec)
    await until_bound(driver, spec)
    assert await seen(driver, spec.process_id) is not None
    somebody = await harness.open()
    await somebody.remove(spec.process_id)

    async def missed() -> bool:
        return await seen(driver, spec.process_id) is None

    await eventually(missed, "the listing is taken anew")
