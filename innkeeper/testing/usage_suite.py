"""What every runtime driver must measure, as tests: subclass the suite and give it a harness.

The game is the one of :mod:`innkeeper.testing.runtime_harness`: it burns CPU, echoes what it gets, and ends.
"""

import asyncio
import socket
import uuid
from contextlib import closing

from innkeeper.core.usage import UsageSeen
from innkeeper.interfaces import ProcessSpec, Runtime
from innkeeper.testing.runtime_harness import (
    RuntimeHarness,
    eventually,
    seen,
    until_bound,
    until_exited,
)

BURNT_MS = 300
SENT_BYTES = 200_000
_PIECE = b"x" * 1000


async def used(driver: Runtime, process_id: str) -> UsageSeen | None:
    """What the driver tells of one process."""
    return (await driver.usage([process_id])).get(process_id)


async def until_sent(driver: Runtime, process_id: str, least: int) -> UsageSeen:
    """Wait until it is known to have sent at least so many bytes."""
    told: list[UsageSeen | None] = []

    async def check() -> bool:
        told.append(await used(driver, process_id))
        now = told[-1]
        return now is not None and (now.egress_bytes or 0) >= least

    await eventually(check, f"{process_id} is known to have sent {least} bytes")
    assert told[-1] is not None
    return told[-1]


class UsageSuite:
    """Measures of real processes. Subclasses give the fixture ``harness``."""

    async def test_cpu_memory_and_tcp_egress(self, harness: RuntimeHarness) -> None:
        driver = await harness.open()
        spec = harness.spec(driver, harness.ports("tcp"), PROBE_MODE="burn", PROBE_VALUE=BURNT_MS)
        await driver.start(spec)
        await until_bound(driver, spec)
        assert await seen(driver, spec.process_id) is not None
        before = await used(driver, spec.process_id)
        assert before is not None
        assert before.cpu_ms is not None
        assert before.cpu_ms >= BURNT_MS * 0.9
        assert before.memory_bytes is not None
        assert 4096 <= before.memory_bytes < 64 * 1024**2
        assert before.egress_bytes is not None
        assert before.egress_bytes < SENT_BYTES / 2
        with closing(_connected(spec)) as player:
            await asyncio.to_thread(_echo_tcp, player, SENT_BYTES)
            open_still = await until_sent(driver, spec.process_id, SENT_BYTES)
        assert open_still.egress_bytes is not None
        assert open_still.egress_bytes < SENT_BYTES * 2
        assert (open_still.cpu_ms or 0) >= before.cpu_ms

    async def test_a_restart_neither_loses_nor_repeats_egress(
        self, harness: RuntimeHarness
    ) -> None:
        driver = await harness.open()
        spec = harness.spec(driver, harness.ports("tcp"))
        await driver.start(spec)
        await until_bound(driver, spec)
        assert await seen(driver, spec.process_id) is not None
        with closing(_connected(spec)) as staying:
            with closing(_connected(spec)) as leaving:
                await asyncio.to_thread(_echo_tcp, leaving, SENT_BYTES)
                await asyncio.to_thread(_echo_tcp, staying, SENT_BYTES)
                await until_sent(driver, spec.process_id, 2 * SENT_BYTES)
            after = await harness.open()
            assert await seen(after, spec.process_id) is not None
            told = await until_sent(after, spec.process_id, 2 * SENT_BYTES)
            assert told.egress_bytes is not None
            assert told.egress_bytes < 3 * SENT_BYTES
            await asyncio.to_thread(_echo_tcp, staying, SENT_BYTES)
            told = await until_sent(after, spec.process_id, 3 * SENT_BYTES)
            assert told.egress_bytes is not None
            assert told.egress_bytes < 4 * SENT_BYTES

    async def test_udp_egress_is_measured_or_unknown(self, harness: RuntimeHarness) -> None:
        driver = await harness.open()
        spec = harness.spec(driver, harness.ports("udp"))
        await driver.start(spec)
        await until_bound(driver, spec)
        assert await seen(driver, spec.process_id) is not None
        await asyncio.to_thread(_echo_udp, spec.ports[0].host_port, 50)
        if driver.capabilities.own_network:
            await until_sent(driver, spec.process_id, 50 * len(_PIECE))
        else:
            now = await used(driver, spec.process_id)
            assert now is not None
            assert now.egress_bytes is None

    async def test_what_was_sent_at_the_end_is_known_until_it_is_removed(
        self, harness: RuntimeHarness
    ) -> None:
        driver = await harness.open()
        spec = harness.spec(driver, harness.ports("tcp"))
        await driver.start(spec)
        await until_bound(driver, spec)
        with closing(_connected(spec)) as player:
            await asyncio.to_thread(_echo_tcp, player, SENT_BYTES)
            if not driver.capabilities.own_network:
                await until_sent(driver, spec.process_id, SENT_BYTES)
        await driver.signal(spec.process_id, kill=True)
        await until_exited(driver, spec.process_id)
        last = await used(driver, spec.process_id)
        assert last is not None
        assert last.egress_bytes is not None
        assert last.egress_bytes >= SENT_BYTES
        await driver.remove(spec.process_id)
        assert await used(driver, spec.process_id) is None

    async def test_nothing_is_told_of_what_was_never_there(self, harness: RuntimeHarness) -> None:
        driver = await harness.open()
        assert await driver.usage([str(uuid.uuid4()), str(uuid.uuid4())]) == {}
        assert await driver.usage([]) == {}


def _connected(spec: ProcessSpec) -> socket.socket:
    return socket.create_connection(("127.0.0.1", spec.ports[0].host_port), 5)


def _echo_tcp(player: socket.socket, size: int) -> None:
    player.settimeout(5)
    for _ in range(size // len(_PIECE)):
        player.sendall(_PIECE)
        left = len(_PIECE)
        while left:
            got = len(player.recv(left))
            assert got, "the game closed the connection"
            left -= got


def _echo_udp(port: int, datagrams: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as player:
        player.settimeout(5)
        player.connect(("127.0.0.1", port))
        for _ in range(datagrams):
            player.send(_PIECE)
            assert player.recv(2048) == _PIECE
