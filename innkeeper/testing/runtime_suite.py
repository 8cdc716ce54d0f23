"""What every runtime driver must do, as tests: subclass a suite and give it a harness.

:class:`LifecycleSuite` suits drivers that only pretend, too; :class:`RuntimeSuite` adds what takes
real processes. A harness tells its game what to do through environment variables (see ``probe.c``
beside the runtime tests: PROBE_MODE, PROBE_PORTS, PROBE_VALUE, PROBE_LINES).
"""

import asyncio
import socket
import uuid
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager, closing

import pytest

from innkeeper.core.errors import PortTaken, StartFailed
from innkeeper.interfaces import PortSpec, Runtime, SandboxSpec
from innkeeper.testing.runtime_harness import (
    PATIENCE_S,
    RuntimeHarness,
    eventually,
    seen,
    until_bound,
    until_exited,
)


class LifecycleSuite:
    """Starting, seeing, ending and removing; any driver. Subclasses give the fixture ``harness``."""

    async def test_a_started_process_is_listed_and_bound(self, harness: RuntimeHarness) -> None:
        driver = await harness.open()
        spec = harness.spec(driver, harness.ports("udp", "tcp"))
        booted = await driver.start(spec)
        await until_bound(driver, spec)
        now = await seen(driver, spec.process_id)
        assert now is not None
        assert now.phase == "running"
        assert now.booted_at is not None
        assert abs((now.booted_at - booted).total_seconds()) < 1

    async def test_start_twice_is_start_once(self, harness: RuntimeHarness) -> None:
        driver = await harness.open()
        spec = harness.spec(driver)
        first = await driver.start(spec)
        second = await driver.start(spec)
        assert abs((second - first).total_seconds()) < 1
        assert list((await driver.observe()).processes) == [spec.process_id]

    async def test_starts_at_once_of_one_process_are_one(self, harness: RuntimeHarness) -> None:
        driver = await harness.open()
        spec = harness.spec(driver)
        await asyncio.gather(driver.start(spec), driver.start(spec), return_exceptions=True)
        await driver.start(spec)
        await until_bound(driver, spec)
        assert list((await driver.observe()).processes) == [spec.process_id]

    async def test_a_kill_ends_it(self, harness: RuntimeHarness) -> None:
        driver = await harness.open()
        spec = harness.spec(driver)
        await driver.start(spec)
        await until_bound(driver, spec)
        await driver.signal(spec.process_id, kill=True)
        ended = await until_exited(driver, spec.process_id)
        assert (ended.signal, ended.code, ended.out_of_memory) == (9, None, False)
        assert not driver.bound(spec.process_id, spec.ports)

    async def test_a_term_reaches_its_first_process(self, harness: RuntimeHarness) -> None:
        driver = await harness.open()
        spec = harness.spec(driver)
        await driver.start(spec)
        await until_bound(driver, spec)
        await driver.signal(spec.process_id, kill=False)
        ended = await until_exited(driver, spec.process_id)
        assert (ended.code, ended.signal) == (0, None)
        assert ended.clean

    async def test_an_ended_process_stays_ended(self, harness: RuntimeHarness) -> None:
        driver = await harness.open()
        spec = harness.spec(driver)
        await driver.start(spec)
        await until_bound(driver, spec)
        await driver.signal(spec.process_id, kill=True)
        await until_exited(driver, spec.process_id)
        await driver.signal(spec.process_id, kill=False)
        await driver.start(spec)
        now = await seen(driver, spec.process_id)
        assert now is not None
        assert now.phase == "exited"

    async def test_removing_is_repeatable_and_leaves_nothing(self, harness: RuntimeHarness) -> None:
        driver = await harness.open()
        spec = harness.spec(driver, harness.ports("udp", "tcp"))
        await driver.start(spec)
        await until_bound(driver, spec)
        for _ in range(3):
            await driver.remove(spec.process_id)
        listing = await driver.observe()
        assert not listing.processes
        assert not listing.sandboxes
        assert await harness.leftovers() == []
        assert not driver.bound(spec.process_id, spec.ports)
        # Its ports are free again: another process gets them.
        again = harness.spec(driver, spec.ports)
        await driver.start(again)
        await until_bound(driver, again)

    async def test_what_was_never_there_is_left_alone(self, harness: RuntimeHarness) -> None:
        driver = await harness.open()
        unknown = str(uuid.uuid4())
        await driver.signal(unknown, kill=False)
        await driver.signal(unknown, kill=True)
        await driver.remove(unknown)
        await driver.remove_sandbox(unknown)
        assert not driver.bound(unknown, harness.ports("tcp"))
        assert await driver.log_source(unknown) is None
        assert unknown not in (await driver.observe()).processes

    async def test_a_new_driver_finds_what_runs(self, harness: RuntimeHarness) -> None:
        before = await harness.open()
        spec = harness.spec(before, harness.ports("udp", "tcp"))
        booted = await before.start(spec)
        await until_bound(before, spec)
        after = await harness.open()
        now = await seen(after, spec.process_id)
        assert now is not None
        assert now.phase == "running"
        assert now.booted_at is not None
        assert abs((now.booted_at - booted).total_seconds()) < 1
        assert after.bound(spec.process_id, spec.ports)
        await after.start(spec)
        assert list((await after.observe()).processes) == [spec.process_id]
        await after.remove(spec.process_id)
        assert await harness.leftovers() == []

    async def test_an_end_is_told_as_a_hint(self, harness: RuntimeHarness) -> None:
        driver = await harness.open()
        spec = harness.spec(driver)
        async with _hints(driver) as hints:
            await driver.start(spec)
            await until_bound(driver, spec)
            hints.clear()
            await driver.signal(spec.process_id, kill=True)

            async def told() -> bool:
                return spec.process_id in hints

            await eventually(told, "the end is told")

    async def test_a_port_held_by_a_stranger_is_named(self, harness: RuntimeHarness) -> None:
        driver = await harness.open()
        taken = harness.ports("tcp")
        first = harness.spec(driver, taken)
        await driver.start(first)
        await until_bound(driver, first)
        with pytest.raises(PortTaken) as refusal:
            await driver.start(harness.spec(driver, taken))
        assert refusal.value.port == taken[0].host_port
        assert refusal.value.owner

    async def test_a_sandbox_made_ahead_is_joined(self, harness: RuntimeHarness) -> None:
        driver = await harness.open()
        if not driver.capabilities.sandboxes:
            pytest.skip("this driver makes no sandboxes")
        sandbox = SandboxSpec(str(uuid.uuid4()), "dep-suite", harness.ports("udp", "tcp"))
        address = await driver.make_sandbox(sandbox)
        assert address == await driver.make_sandbox(sandbox)
        assert (await driver.observe()).sandboxes == {sandbox.sandbox_id: address}
        spec = harness.spec(driver, sandbox.ports, sandbox_id=sandbox.sandbox_id)
        await driver.start(spec)
        await until_bound(driver, spec)
        assert not (await driver.observe()).sandboxes
        await driver.remove(spec.process_id)
        assert not (await driver.observe()).sandboxes
        assert await harness.leftovers() == []

    async def test_a_sandbox_nobody_wants_goes(self, harness: RuntimeHarness) -> None:
        driver = await harness.open()
        if not driver.capabilities.sandboxes:
            pytest.skip("this driver makes no sandboxes")
        sandbox = SandboxSpec(str(uuid.uuid4()), "dep-suite", harness.ports("udp"))
        await driver.make_sandbox(sandbox)
        after = await harness.open()
        assert list((await after.observe()).sandboxes) == [sandbox.sandbox_id]
        await after.remove_sandbox(sandbox.sandbox_id)
        await after.remove_sandbox(sandbox.sandbox_id)
        assert await harness.leftovers() == []


class RuntimeSuite(LifecycleSuite):
    """With real processes: sockets, ends of every kind, output, limits."""

    @pytest.mark.parametrize("protocol", ["tcp", "udp"])
    async def test_bound_only_after_the_bind(self, harness: RuntimeHarness, protocol: str) -> None:
        driver = await harness.open()
        never = harness.spec(driver, harness.ports(protocol), PROBE_MODE="never", PROBE_LINES=1)
        later = harness.spec(driver, harness.ports(protocol), PROBE_DELAY_MS=300)
        await driver.start(never)
        await driver.start(later)
        assert not driver.bound(later.process_id, later.ports)
        await until_bound(driver, later)
        assert not driver.bound(never.process_id, never.ports)
        other = "udp" if protocol == "tcp" else "tcp"
        port = later.ports[0]
        wrong = PortSpec(port.name, port.container_port, port.host_port, other)
        assert not driver.bound(later.process_id, (wrong,))
        assert not driver.bound(later.process_id, (*later.ports, wrong))

    async def test_players_reach_it_from_outside(self, harness: RuntimeHarness) -> None:
        driver = await harness.open()
        spec = harness.spec(driver, harness.ports("udp", "tcp"))
        await driver.start(spec)
        await until_bound(driver, spec)
        udp, tcp = (port.host_port for port in spec.ports)
        assert await asyncio.to_thread(_echo_udp, udp, b"ping") == b"ping"
        assert driver.connections(spec.process_id, spec.ports[1:]) == 0
        after = await harness.open()
        await after.observe()
        with closing(socket.create_connection(("127.0.0.1", tcp), 5)) as player:
            player.settimeout(5)
            player.sendall(b"pong")
            assert await asyncio.to_thread(player.recv, 16) == b"pong"
            assert driver.connections(spec.process_id, spec.ports[1:]) == 1
            assert after.connections(spec.process_id, spec.ports[1:]) == 1
        if driver.capabilities.own_network:
            assert after.connections(spec.process_id, spec.ports[:1]) == 1

    @pytest.mark.parametrize("code", [0, 3, 128, 255])
    async def test_an_exit_code_is_told(self, harness: RuntimeHarness, code: int) -> None:
        driver = await harness.open()
        spec = harness.spec(driver, PROBE_MODE="exit", PROBE_VALUE=code)
        started = await driver.start(spec)
        ended = await until_exited(driver, spec.process_id)
        assert (ended.code, ended.signal, ended.out_of_memory) == (code, None, False)
        assert -1 < (ended.at - started).total_seconds() < PATIENCE_S

    async def test_a_signal_is_told_as_a_signal(self, harness: RuntimeHarness) -> None:
        driver = await harness.open()
        spec = harness.spec(driver, PROBE_MODE="signal", PROBE_VALUE=11)
        await driver.start(spec)
        ended = await until_exited(driver, spec.process_id)
        assert (ended.code, ended.signal) == (None, 11)

    async def test_an_out_of_memory_kill_is_told(self, harness: RuntimeHarness) -> None:
        driver = await harness.open()
        if not driver.capabilities.enforces_limits:
            pytest.skip("this driver does not bound memory")
        spec = harness.spec(driver, memory_mb=64, PROBE_MODE="eat")
        await driver.start(spec)
        ended = await until_exited(driver, spec.process_id)
        assert ended.out_of_memory
        assert ended.reason() == "Out of memory"

    async def test_its_end_outlives_a_control_plane_that_was_away(
        self, harness: RuntimeHarness
    ) -> None:
        before = await harness.open()
        spec = harness.spec(before, PROBE_MODE="exit", PROBE_VALUE=3)
        await before.start(spec)
        after = await harness.open()
        ended = await until_exited(after, spec.process_id)
        assert (ended.code, ended.signal) == (3, None)

    async def test_its_output_is_kept_until_it_is_removed(self, harness: RuntimeHarness) -> None:
        driver = await harness.open()
        spec = harness.spec(driver, PROBE_MODE="exit", PROBE_LINES=50)
        await driver.start(spec)
        await until_exited(driver, spec.process_id)
        source = await driver.log_source(spec.process_id)
        assert source is not None
        text = await asyncio.to_thread(source.path.read_text, "utf-8")
        for number in (0, 49):
            assert f"line {number}\n" in text.replace('\\n"', "\n").replace('\\n",', "\n")
        assert "HATHORA_SERVER_URL=http" in text
        assert "HATHORA_PRIVATE_IP=" in text
        assert ("\nPORT=" in text) is not driver.capabilities.own_network
        await driver.remove(spec.process_id)
        assert await driver.log_source(spec.process_id) is None

    async def test_an_image_that_is_gone_is_named(self, harness: RuntimeHarness) -> None:
        driver = await harness.open()
        harness.image_ref, kept = f"{harness.image_ref}-gone", harness.image_ref
        spec = harness.spec(driver)
        harness.image_ref = kept
        with pytest.raises(StartFailed, match="gone"):
            await driver.start(spec)
        await driver.remove(spec.process_id)
        assert await harness.leftovers() == []

    async def test_a_strangers_port_is_not_ours(self, harness: RuntimeHarness) -> None:
        driver = await harness.open()
        spec = harness.spec(driver, harness.ports("tcp"), PROBE_MODE="never")
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as stranger:
            stranger.bind(("", spec.ports[0].host_port))
            stranger.listen()
            # A driver may see it at the start, or leave it to the game's own bind.
            refusal = (await asyncio.gather(driver.start(spec), return_exceptions=True))[0]
            if isinstance(refusal, BaseException):
                assert isinstance(refusal, PortTaken)
                assert refusal.port == spec.ports[0].host_port
                assert "pid" in refusal.owner
            assert not driver.bound(spec.process_id, spec.ports)


@asynccontextmanager
async def _hints(driver: Runtime) -> AsyncIterator[list[str]]:
    """The process ids that the driver tells of, while the block runs."""
    told: list[str] = []

    async def listen() -> None:
        async with aclosing(driver.changes()) as changes:  # type: ignore[type-var]
            async for process_id in changes:
                told.append(process_id)

    task = asyncio.create_task(listen())
    try:
        yield told
    finally:
        task.cancel()
        await asyncio.wait({task}, timeout=PATIENCE_S)
        assert task.done(), "whoever listens for changes can be cancelled"


def _echo_udp(port: int, data: bytes) -> bytes:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as player:
        player.settimeout(5)
        player.connect(("127.0.0.1", port))
        player.send(data)
        return player.recv(2048)
