"""Google's id tokens, from a local issuer on loopback (behaviour.md 7.1)."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from innkeeper.core.errors import Unauthenticated, Unavailable
from innkeeper.identity.google import OidcGoogle
from innkeeper.identity.key_set import FAILED_REST_S, KEPT_S, UNKNOWN_KEY_REST_S, KeySet, fetcher

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
ISSUER = "https://accounts.google.com"
CLIENT = "client-of-the-game"
# Making a key takes a while: all tests share two.
KEYS = {name: rsa.generate_private_key(65537, 2048) for name in ("one", "two")}
pytestmark = pytest.mark.asyncio


def public(*names: str) -> bytes:
    """The key set with these keys."""
    keys = []
    for name in names:
        key = jwt.algorithms.RSAAlgorithm.to_jwk(KEYS[name].public_key(), as_dict=True)
        keys.append({**key, "kid": name, "use": "sig", "alg": "RS256"})
    return json.dumps({"keys": keys}).encode()


@dataclass
class Issuer:
    """A provider on loopback; ``answer`` is what it serves, whole."""

    body: bytes = b""
    status: str = "200 OK"
    asked: int = 0
    ticks: float = 0.0
    url: str = ""
    more: list[str] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        self.asked += 1
        lines = [f"HTTP/1.1 {self.status}", f"content-length: {len(self.body)}", *self.more]
        writer.write("\r\n".join([*lines, "", ""]).encode() + self.body)
        await writer.drain()
        writer.close()

    def google(self, source: str | None = None) -> OidcGoogle:
        return OidcGoogle(KeySet(fetcher(source or self.url), lambda: self.ticks), ISSUER)


@pytest.fixture
async def issuer(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Issuer]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    made = Issuer(public("one"))
    async with await asyncio.start_server(made.serve, "127.0.0.1", 0) as server:
        made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/certs"
        yield made


def id_token(key: Any = "one", algorithm: str = "RS256", **claims: Any) -> str:
    whole = {
        "iss": ISSUER,
        "aud": CLIENT,
        "sub": "1234567890",
        "email": "ann@example.org",
        "name": "Ann",
        "iat": int(NOW.timestamp()) - 5,
        "exp": int(NOW.timestamp()) + 3600,
        **claims,
    }
    whole = {name: value for name, value in whole.items() if value is not None}
    signer = KEYS[key] if isinstance(key, str) else key
    kid = key if isinstance(key, str) else "one"
    return jwt.encode(whole, signer, algorithm=algorithm, headers={"kid": kid})


async def test_a_good_token(issuer: Issuer) -> None:
    google = issuer.google()
    found = await google.identity(id_token(), CLIENT, NOW)
    assert (found.subject, found.email, found.name) == ("1234567890", "ann@example.org", "Ann")
    bare = id_token(iss="accounts.google.com", aud=["other", CLIENT], email=None, name=7)
    found = await google.identity(bare, CLIENT, NOW)
    assert (found.email, found.name) == (None, None)
    assert issuer.asked == 1


BAD: list[tuple[str, Any]] = [
    ("another client", id_token(aud="other")),
    ("Invalid", id_token(aud=[])),
    ("Invalid", id_token(aud=None)),
    ("another issuer", id_token(iss="https://evil.example")),
    ("another issuer", id_token(iss="http://accounts.google.com")),
    ("Invalid", id_token(iss=None)),
    ("expired", id_token(exp=int(NOW.timestamp()))),
    ("Invalid", id_token(exp=None)),
    ("exp must be a number", id_token(exp="never")),
    ("not valid yet", id_token(nbf=int(NOW.timestamp()) + 1)),
    ("Invalid", id_token(sub=None)),
    ("Invalid", id_token(sub="")),
    ("Invalid", id_token(sub=5)),
    ("unknown key", id_token("two")),
    ("Invalid", id_token(KEYS["two"])),
    ("Invalid", id_token(ec.generate_private_key(ec.SECP256R1()), "ES256")),
    ("Invalid", id_token(None, "none")),
    ("not a JSON Web Token", ""),
    ("not a JSON Web Token", "a.b.c"),
    ("too long", "x" * 20_000),
]


@pytest.mark.parametrize(("why", "token"), BAD, ids=[f"{n}-{w}" for n, (w, _) in enumerate(BAD)])
async def test_bad_tokens(issuer: Issuer, why: str, token: str) -> None:
    with pytest.raises(Unauthenticated, match=why):
        await issuer.google().identity(token, CLIENT, NOW)


async def test_the_public_key_is_no_shared_secret(issuer: Issuer) -> None:
    forged = jwt.encode({"sub": "x"}, "k" * 40, algorithm="HS256", headers={"kid": "one"})
    with pytest.raises(Unauthenticated):
        await issuer.google().identity(forged, CLIENT, NOW)


async def test_keys_are_fetched_again_when_they_are_old_or_new_ones_are_named(
    issuer: Issuer,
) -> None:
    google = issuer.google()
    await google.identity(id_token(), CLIENT, NOW)
    issuer.body = public("two")
    for _ in range(3):  # not at each token that names a key of its own
        with pytest.raises(Unauthenticated):
            await google.identity(id_token("two"), CLIENT, NOW)
    assert issuer.asked == 1
    issuer.ticks += UNKNOWN_KEY_REST_S + 1
    await google.identity(id_token("two"), CLIENT, NOW)
    assert issuer.asked == 2
    issuer.ticks += KEPT_S + 1
    await google.identity(id_token("two"), CLIENT, NOW)
    assert issuer.asked == 3


async def test_many_logins_share_one_fetch(issuer: Issuer) -> None:
    google = issuer.google()
    await asyncio.gather(*(google.identity(id_token(), CLIENT, NOW) for _ in range(20)))
    assert issuer.asked == 1


@pytest.mark.parametrize(
    ("status", "body", "more"),
    [
        ("503 Service Unavailable", b"{}", []),
        ("302 Found", b"", ["location: /elsewhere"]),
        ("200 OK", b"no JSON", []),
        ("200 OK", b"[1]", []),
        ("200 OK", b'{"keys": {}}', []),
        ("200 OK", b'{"keys": [5]}', []),
        ("200 OK", b"[" * 100_000, []),
        ("200 OK", b'{"keys": [{"kty": "RSA"}]}', []),
        ("200 OK", b'{"keys": []}', []),
        ("200 OK", b" " * 300_000 + public("one"), []),
        ("200 OK", b"\xff", []),
    ],
)
async def test_a_provider_that_fails(
    issuer: Issuer, status: str, body: bytes, more: list[str]
) -> None:
    google, good = issuer.google(), issuer.body
    issuer.status, issuer.body, issuer.more = status, body, more
    for _ in range(2):
        with pytest.raises(Unavailable):
            await google.identity(id_token(), CLIENT, NOW)
    assert issuer.asked == 1
    issuer.status, issuer.body, issuer.more = "200 OK", good, []
    issuer.ticks += FAILED_REST_S
    await google.identity(id_token(), CLIENT, NOW)
    # From here on, old keys are better than none.
    issuer.status = status = "500 Internal Server Error"
    issuer.ticks += KEPT_S + 1
    await google.identity(id_token(), CLIENT, NOW)
    assert issuer.asked == 3


async def test_nobody_answers() -> None:
    google = OidcGoogle(KeySet(fetcher("http://127.0.0.1:1/certs")), ISSUER)
    with pytest.raises(Unavailable):
        await google.identity(id_token(), CLIENT, NOW)


async def test_pinned_keys(issuer: Issuer, tmp_path: Path) -> None:
    pinned = tmp_path / "keys.json"
    google = issuer.google(str(pinned))
    with pytest.raises(Unavailable):
        await google.identity(id_token(), CLIENT, NOW)
    pinned.write_bytes(public("one"))
    issuer.ticks += FAILED_REST_S
    await google.identity(id_token(), CLIENT, NOW)
    assert issuer.asked == 0
    pinned.write_bytes(b" " * 300_000)
    issuer.ticks += KEPT_S + 1
    await google.identity(id_token(), CLIENT, NOW)
    pinned.write_bytes(public("two"))
    issuer.ticks += FAILED_REST_S
    await google.identity(id_token("two"), CLIENT, NOW)


async def test_one_key_without_a_name(issuer: Issuer) -> None:
    token = jwt.encode(
        jwt.decode(id_token(), options={"verify_signature": False}), KEYS["one"], "RS256"
    )
    assert (await issuer.google().identity(token, CLIENT, NOW)).subject == "1234567890"
    issuer.body = public("one", "two")
    with pytest.raises(Unauthenticated):
        await issuer.google().identity(token, CLIENT, NOW)
