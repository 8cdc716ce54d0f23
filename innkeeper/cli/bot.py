"""A bot that plays one round of the sample game over UDP and TCP, and checks every answer.

The game's protocol is in ``samples/tag/README.md``.
"""

import asyncio
import re
import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from innkeeper.config.values import Address

_STATE = re.compile(r"\ASTATE (\d+) player (\d+) at (\d+) (\d+) it (\d+) of (\d+)\Z", re.ASCII)
_ECHOES = 20
_STEPS_MAX = 64
_RESEND_S = 0.5

Ask = Callable[[str], Awaitable[str]]


class RoundFailed(Exception):
    """The game answered wrongly, or not in time; the message says which and to what."""


@dataclass(frozen=True, slots=True)
class State:
    """What the game said of one player and of who is it."""

    number: int
    player: int
    x: int
    y: int
    it: int
    present: int


@dataclass(frozen=True, slots=True)
class Round:
    """What a round showed: messages answered, steps walked, and the median UDP round trip."""

    messages: int
    steps: int
    round_trip_ms: float


class _Player:
    """One player and the numbers of its messages."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self.messages = 0

    async def say(self, word: str, rest: str = "") -> str:
        """The answer to the next numbered message, which carries the same number."""
        self.messages += 1
        message = f"{word} {self.messages} {rest}".rstrip()
        answer = await self._ask(message)
        if answer.split(" ")[1:2] != [str(self.messages)]:
            raise RoundFailed(f"answered {answer!r} to {message!r}")
        return answer

    async def state(self, word: str, rest: str = "") -> State:
        """As :meth:`say`, for messages that are answered with the state."""
        answer = await self.say(word, rest)
        match = _STATE.match(answer)
        if match is None:
            raise RoundFailed(f"answered {answer!r} to {word}")
        return State(*(int(part) for part in match.groups()))


class _Datagrams(asyncio.DatagramProtocol):
    """Answers in order of arrival; late repeats are dropped by their numbers."""

    def __init__(self) -> None:
        self.received: asyncio.Queue[bytes] = asyncio.Queue()

    def datagram_received(self, data: bytes, _addr: object) -> None:
        self.received.put_nowait(data)

    def error_received(self, _exc: Exception) -> None:
        # A refused port shows as a missing answer, which is reported with its message.
        return


async def play_round(udp: Address, tcp: Address | None, timeout_s: float = 10.0) -> Round:
    """Play a round with two players, one over UDP and one over TCP (without ``tcp``: one player).

    Raises :class:`RoundFailed` on a wrong or missing answer within ``timeout_s`` seconds.
    """
    try:
        async with asyncio.timeout(timeout_s):
            return await _play(udp, tcp)
    except TimeoutError:
        raise RoundFailed(f"no answer from {udp}/udp within {timeout_s:g} s") from None
    except OSError as problem:
        raise RoundFailed(f"{tcp or udp}: {problem}") from None


async def _play(udp: Address, tcp: Address | None) -> Round:
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_datagram_endpoint(_Datagrams, remote_addr=udp)

    async def ask_udp(message: str) -> str:
        while True:
            transport.sendto(message.encode())
            try:
                async with asyncio.timeout(_RESEND_S):
                    return (await protocol.received.get()).decode("ascii", "replace")
            except TimeoutError:
                continue

    writer: asyncio.StreamWriter | None = None
    try:
        hunter, other = _Player(ask_udp), None
        first = await hunter.state("JOIN")
        if tcp is not None:
            reader, writer = await asyncio.open_connection(*tcp)
            other = _Player(_over_stream(reader, writer))
        steps = await _hunt(hunter, other, first)
        times = [await _echo(hunter) for _ in range(_ECHOES)]
        for player in (hunter, other):
            if player is not None:
                await player.say("LEAVE")
        messages = hunter.messages + (other.messages if other else 0)
        return Round(messages, steps, statistics.median(times) * 1000)
    finally:
        transport.close()
        if writer is not None:
            writer.close()


def _over_stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Ask:
    async def ask(message: str) -> str:
        writer.write(message.encode() + b"\n")
        return (await reader.readline()).decode("ascii", "replace").rstrip("\n")

    return ask


async def _hunt(hunter: _Player, other: _Player | None, start: State) -> int:
    """Walk to the other player's square (alone: to the middle), and check that tagging works."""
    here = start
    target = await other.state("JOIN") if other else State(0, 0, 8, 8, 0, 0)
    if other and target.player == start.player:
        raise RoundFailed("two players were given one id")
    steps = 0
    while (here.x, here.y) != (target.x, target.y):
        if steps == _STEPS_MAX:
            raise RoundFailed(f"not reached in {_STEPS_MAX} steps")
        dx, dy = _toward(here.x, target.x), _toward(here.y, target.y)
        moved = await hunter.state("MOVE", f"{dx} {dy}")
        if (moved.x, moved.y) != (here.x + dx, here.y + dy):
            raise RoundFailed(f"a step {dx} {dy} from {here.x} {here.y} led to {moved.x} {moved.y}")
        here = moved
        steps += 1
    if other and start.it == start.player and steps:
        seen = await other.state("STATE")
        if seen.it != target.player:
            raise RoundFailed(f"player {target.player} was reached and is not it: {seen}")
    return steps


def _toward(here: int, there: int) -> int:
    return (there > here) - (there < here)


async def _echo(player: _Player) -> float:
    """Seconds that one numbered message took to come back."""
    begun = time.perf_counter()
    await player.say("PING")
    return time.perf_counter() - begun
