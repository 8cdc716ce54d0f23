"""Links that carry their own authorization: upload a build's parts, complete it, read its log (2.4).

A link names what it allows and is signed with the installation's secret; it works without a token.
"""

import hashlib
import hmac
import re
from dataclasses import dataclass
from urllib.parse import urlencode

from innkeeper.api.request import Request
from innkeeper.interfaces import Policy
from innkeeper.usecases.builds import UploadPart

_HOST = re.compile(
    r"[A-Za-z0-9.-]{1,253}(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](:[0-9]{1,5})?", re.ASCII
)
_MOMENT = re.compile(r"[0-9]{1,12}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Links:
    """Makes links below ``base``, such as ``https://api.example.com``."""

    base: str
    secret: str

    def part(self, build_key: str, part: UploadPart, expires: int) -> str:
        """Where one part is PUT, until ``expires`` (seconds since the epoch)."""
        number, size, until = str(part.number), str(part.size), str(expires)
        signature = sign(self.secret, "part", build_key, number, size, until)
        query = urlencode({"size": size, "expires": until, "signature": signature})
        return f"{self.base}/innkeeper/v1/uploads/{build_key}/parts/{number}?{query}"

    def complete(self, build_key: str, parts: int, expires: int) -> str:
        """Where the list of all ``parts`` is POSTed, until ``expires``."""
        count, until = str(parts), str(expires)
        signature = sign(self.secret, "complete", build_key, count, until)
        query = urlencode({"parts": count, "expires": until, "signature": signature})
        return f"{self.base}/innkeeper/v1/uploads/{build_key}/complete?{query}"

    def form(self, build_key: str) -> str:
        """Where a browser's form with the whole archive is POSTed; see :meth:`form_fields`."""
        return f"{self.base}/innkeeper/v1/uploads/{build_key}"

    def form_fields(self, build_key: str, expires: int) -> dict[str, str]:
        """What stands in the form before the archive, until ``expires``."""
        until = str(expires)
        signature = sign(self.secret, "form", build_key, until)
        return {"key": build_key, "expires": until, "signature": signature}

    def log(self, build_key: str) -> str:
        """The page with the log; it works for as long as the build is there."""
        query = urlencode({"signature": sign(self.secret, "log", build_key)})
        return f"{self.base}/innkeeper/v1/builds/{build_key}/log?{query}"


def base_seen(request: Request) -> str:
    """Our base URL as this client addressed it; empty where it sent no usable Host."""
    host = request.header("host") or ""
    return f"{request.scheme}://{host}" if _HOST.fullmatch(host) else ""


def base_of(policy: Policy, seen: str) -> str:
    """The base URL of links: the setting, else what the client used, else the public host."""
    return (policy.public_url or seen or f"http://{policy.public_host}").rstrip("/")


def sign(secret: str, purpose: str, *fields: str) -> str:
    """HMAC-SHA256 of what a link allows, hex. The purpose keeps one kind of link from being another."""
    text = "\n".join((purpose, *fields))
    return hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()


def signed(secret: str, signature: str | None, purpose: str, *fields: str) -> bool:
    """Whether a signature is ours; compared in constant time."""
    wanted = sign(secret, purpose, *fields)
    return hmac.compare_digest((signature or "").encode(), wanted.encode())


def expired(expires: str, now_s: float) -> bool:
    """Whether a link's time is over. Only asked of a link whose signature is ours."""
    return _MOMENT.fullmatch(expires) is None or now_s >= int(expires)
