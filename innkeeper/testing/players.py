"""Players of the sample game, for tests: they send numbered messages over UDP and TCP and count the answers.

The game sends back what it does not understand, so an answer is the message itself.
"""

import socket
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from innkeeper.testing.live import eventually

ANSWER_TIMEOUT_S = 2.0
Address = tuple[str, int]


def address_of(exposed: Mapping[str, Any]) -> Address:
    """Host and port of an ``ExposedPort`` of the API."""
    return exposed["host"], exposed["port"]


def ask_udp(address: Address, text: str, tries: int = 5) -> str:
    """The game's answer to one datagram. Raises ``TimeoutError`` after ``tries``."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as player:
        player.settimeout(ANSWER_TIMEOUT_S)
        player.connect(address)
        for _ in range(tries):
            player.send(text.encode())
            try:
                return player.recv(2048).decode()
            except (TimeoutError, ConnectionRefusedError):
                continue
    raise TimeoutError(f"no answer from {address}/udp to {text!r}")


def ask_tcp(address: Address, text: str) -> str:
    """The game's answer to one line."""
    with socket.create_connection(address, timeout=ANSWER_TIMEOUT_S) as player:
        player.sendall(text.encode() + b"\n")
        return _line(player)


def _line(player: socket.socket) -> str:
    got = b""
    while not got.endswith(b"\n"):
        more = player.recv(2048)
        if not more:
            raise ConnectionResetError("the game hung up")
        got += more
    return got.decode().rstrip("\n")


@dataclass
class Steady:
    """A player who never stops sending numbered messages, and keeps what went wrong.

    One TCP connection and one UDP socket for the whole time: a cut connection, a changed address or a
    lost message shows as a fault.
    """

    udp: Address
    tcp: Address
    interval_s: float = 0.02
    timeout_s: float = ANSWER_TIMEOUT_S
    answered: int = 0
    faults: list[str] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> "Steady":
        self._thread = threading.Thread(target=self._play, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._stop.set()
        assert self._thread is not None
        self._thread.join(10 * self.timeout_s)

    def plays_on(self, messages: int = 10, timeout_s: float = 10.0) -> None:
        """Wait for so many more answers, or a fault. Raises ``TimeoutError``."""
        wanted = self.answered + messages
        eventually(lambda: self.answered >= wanted or self.faults, timeout_s, "the game goes on")

    def _play(self) -> None:
        try:
            with (
                socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
                socket.create_connection(self.tcp, timeout=self.timeout_s) as tcp,
            ):
                udp.settimeout(self.timeout_s)
                udp.connect(self.udp)
                while not self._stop.wait(self.interval_s):
                    self._one(udp, tcp)
        except OSError as error:
            self.faults.append(f"after {self.answered} messages: {error!r}")

    def _one(self, udp: socket.socket, tcp: socket.socket) -> None:
        message = f"message {self.answered}"
        udp.send(message.encode())
        tcp.sendall(message.encode() + b"\n")
        for way, answer in (("udp", udp.recv(2048).decode()), ("tcp", _line(tcp))):
            if answer != message:
                self.faults.append(f"{message!r} was answered {answer!r} over {way}")
        self.answered += 1
