"""Webhooks: whom events are sent to, how they are signed, and when a failed delivery is tried again.

Signed as https://www.standardwebhooks.com/ says, so that receivers can check them with any of its libraries.
"""

import base64
import hashlib
import hmac
import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from urllib.parse import urlsplit

from innkeeper.core import moments
from innkeeper.core.errors import Invalid
from innkeeper.core.events import Event
from innkeeper.core.telling import fields

SECRET_PREFIX = "whsec_"  # noqa: S105 (how secrets begin, not one)
OF_ORG_MAX = 10
FIRST_RETRY_S, RETRY_MAX_S = 1.0, 300.0
PATIENCE = timedelta(days=3)
_ASSIGNED = IPv4Network("192.0.0.0/24")
_NAT64 = IPv6Network("64:ff9b::/96")
_TRANSLATED = IPv6Network("::ffff:0:0:0/96")

Address = IPv4Address | IPv6Address


@dataclass(frozen=True, slots=True)
class Webhook:
    """Who is told of what. ``kinds`` and ``app_id`` are ``None`` for all. ``place`` is up to where events
    were taken; ``failures`` are those in a row.
    """

    webhook_id: str
    org_id: str
    app_id: str | None
    url: str
    secret: str
    kinds: frozenset[str] | None
    created_at: datetime
    created_by: str
    place: tuple[int, int]
    failures: int
    failing_since: datetime | None
    next_try_at: datetime | None
    last_error: str | None
    disabled_at: datetime | None

    @property
    def status(self) -> str:
        """``active``, ``failing`` or ``disabled``."""
        if self.disabled_at is not None:
            return "disabled"
        return "failing" if self.failures else "active"

    def wants(self, event: Event) -> bool:
        """Whether the event is sent to it."""
        return event.org_id == self.org_id and event.is_among(self.app_id, self.kinds)


@dataclass(frozen=True, slots=True)
class Message:
    """One delivery. ``message_id`` is the same each time that it is tried."""

    message_id: str
    body: bytes


def secret_of(chance: str) -> str:
    """A secret as receivers are given it, of random characters."""
    return SECRET_PREFIX + base64.b64encode(chance.encode()).decode()


def message_of(event: Event) -> Message:
    """An event as it is sent."""
    return _message(event.event_id, event.kind, event.at, fields(event))


def ping_message(message_id: str, webhook: Webhook, now: datetime) -> Message:
    """A test event: nothing happened."""
    text = "This is a test: nothing happened."
    data = {"id": message_id, "at": moments.shown(now), "kind": "webhook.ping"}
    return _message(
        message_id, "webhook.ping", now, {**data, "orgId": webhook.org_id, "text": text}
    )


def _message(message_id: str, kind: str, at: datetime, data: dict[str, str]) -> Message:
    body = {"type": kind, "timestamp": moments.shown(at), "data": data}
    return Message(message_id, json.dumps(body, ensure_ascii=False).encode())


def headers_of(message: Message, secret: str, now: datetime) -> dict[str, str]:
    """The headers by which a receiver knows that it is from us, new, and not changed on its way."""
    timestamp = str(int(now.timestamp()))
    signed = f"{message.message_id}.{timestamp}.".encode() + message.body
    key = base64.b64decode(secret.removeprefix(SECRET_PREFIX))
    signature = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    return {
        "content-type": "application/json",
        "webhook-id": message.message_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": f"v1,{signature}",
    }


def retry_after_s(failures: int, chance: float) -> float:
    """How long to wait after so many failures in a row: 1, 2, 4 … 300 s, less up to a quarter by chance (0 to
    1), so that many do not come back at once.
    """
    return min(FIRST_RETRY_S * 2.0 ** min(failures - 1, 20), RETRY_MAX_S) * (1 - chance / 4)


def check_url(url: str, private_networks: bool) -> None:
    """Raise :class:`Invalid` for a URL that nothing may be sent to, as far as it shows without asking."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as wrong:
        raise Invalid("body.url", f"is no URL: {wrong}") from None
    if parts.scheme not in ("http", "https"):
        raise Invalid("body.url", "must begin with https:// (or http://)")
    if not host or not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        raise Invalid("body.url", "must name a host, in ASCII, without spaces or backslashes")
    if parts.username is not None or parts.password is not None:
        raise Invalid("body.url", "must hold no user name or password: messages are signed instead")
    if parts.fragment or port == 0:
        raise Invalid("body.url", "must have no #fragment, and a port above 0")
    literal = _literal(host)
    if literal is not None and not private_networks and not is_public(literal):
        raise Invalid("body.url", f"is not public: {NOT_PUBLIC}")


NOT_PUBLIC = (
    "webhooks are sent to public addresses only. Whoever runs this installation can allow private ones: "
    "--webhook-private-networks"
)


def _literal(host: str) -> Address | None:
    try:
        return ip_address(host.partition("%")[0])
    except ValueError:
        return None


def is_public(address: Address) -> bool:
    """Whether it is anybody's to reach: no loopback, link-local or private one, nor one that hides such."""
    if isinstance(address, IPv6Address):
        hidden = address.ipv4_mapped or address.sixtofour
        if hidden is None and (address in _NAT64 or address in _TRANSLATED):
            hidden = IPv4Address(int(address) & 0xFFFFFFFF)
        if hidden is not None:
            return is_public(hidden)
        if address.is_site_local or address.teredo is not None:
            return False
    elif address in _ASSIGNED:
        return False
    return address.is_global and not address.is_multicast
