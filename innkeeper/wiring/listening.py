"""Where we listen: the API's socket, a second one where containers reach it, and the ping echo's."""

import socket
import ssl
from dataclasses import dataclass

from innkeeper.config import Settings
from innkeeper.core.errors import Invalid

_IP_FREEBIND = 15  # linux/in.h; the socket module does not name it


@dataclass(frozen=True, slots=True)
class Listening:
    """The API's own socket, and the address it is reached by."""

    socket: socket.socket
    host: str
    port: int
    wildcard: bool

    def local_url(self, settings: Settings) -> str:
        """The API as a process on this machine reaches it."""
        if settings.tls_cert is not None:
            # The certificate is for the public name.
            return settings.resolved_public_url(self.port)
        host = "127.0.0.1" if self.wildcard else self.host
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"


def check_certificate(settings: Settings) -> None:
    """Raises :class:`Invalid` where the certificate and the key cannot be read, or do not fit."""
    if settings.tls_cert is None or settings.tls_key is None:
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(settings.tls_cert, settings.tls_key)
    except OSError as error:  # SSLError is one, too
        problem = error.reason if isinstance(error, ssl.SSLError) else error.strerror
        raise Invalid(
            "--tls-cert",
            f"{settings.tls_cert} and {settings.tls_key} cannot be used ({problem}): "
            "both must be PEM, the key without a password and of this certificate",
        ) from error


def bind_api(settings: Settings) -> Listening:
    """Listen where ``--listen`` says. Raises :class:`Invalid` where that cannot be."""
    host = settings.listen.host
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, settings.listen.port))
        listener.listen(2048)
    except OSError as error:
        listener.close()
        raise Invalid(
            "--listen",
            f"{settings.listen} cannot be bound ({error.strerror}): stop what has it, or choose another",
        ) from error
    return Listening(listener, host, listener.getsockname()[1], settings.listen.wildcard)


def bind_ping(settings: Settings, listening: Listening) -> socket.socket | None:
    """A UDP socket for the ping echo, at the API's own address; ``None`` where none shall be, or can be.

    Raises :class:`Invalid` where a port was asked for by its number and cannot be had.
    """
    wanted = settings.ping_udp_port
    if wanted == 0:
        return None
    family = socket.AF_INET6 if ":" in listening.host else socket.AF_INET
    pinged = socket.socket(family, socket.SOCK_DGRAM)
    try:
        pinged.setblocking(False)
        pinged.bind((listening.host, wanted or listening.port))
    except OSError as error:
        pinged.close()
        if wanted is None:
            return None
        raise Invalid(
            "--ping-udp-port",
            f"{wanted} cannot be bound ({error.strerror}): stop what has it, or choose another",
        ) from error
    return pinged


def bind_gateway(gateway: str, listening: Listening) -> list[socket.socket]:
    """A socket on the containers' gateway; none where the API's own socket serves that address too.

    Raises :class:`Invalid` where another program has the port there.
    """
    if listening.wildcard or listening.host == gateway:
        return []
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # The bridge has its address only once a container is attached to it.
        listener.setsockopt(socket.SOL_IP, _IP_FREEBIND, 1)
        listener.bind((gateway, listening.port))
        listener.listen(2048)
    except OSError as error:
        listener.close()
        problem = f"port {listening.port} on the containers' gateway {gateway}: {error.strerror}"
        raise Invalid("--listen", f"cannot be bound too: {problem}") from error
    return [listener]
