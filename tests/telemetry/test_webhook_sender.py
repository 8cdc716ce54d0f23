"""What is sent to webhooks: to whom, what it answers, and what nobody can make us reach."""

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from innkeeper.interfaces import Outcome
from innkeeper.telemetry.webhook_sender import HttpWebhookSender
from tests.reconciler.receiver import Receiver, receiver

HEADERS = {"content-type": "application/json", "webhook-id": "0-1"}


@pytest.fixture
async def hook() -> AsyncIterator[Receiver]:
    async with receiver() as made:
        yield made


@pytest.fixture
async def sender() -> AsyncIterator[HttpWebhookSender]:
    made = HttpWebhookSender(private_networks=True, timeout_s=10)
    yield made
    await made.close()


async def test_a_message_is_sent_as_it_is(hook: Receiver, sender: HttpWebhookSender) -> None:
    for _ in range(2):
        outcome = await sender.send(hook.url, HEADERS, b'{"a": 1}')
        assert outcome.taken
        assert outcome.message.startswith("answered 204 in ")
    got = hook.got[0]
    assert (got.target, got.body) == ("/hook?for=us", b'{"a": 1}')
    assert got.headers["host"] == hook.url.split("/")[2]
    assert got.headers["user-agent"].startswith("innkeeper/")
    assert got.headers.items() >= HEADERS.items()


@pytest.mark.parametrize(
    ("status", "said"),
    [(200, ""), (301, "redirects are not followed"), (404, ""), (410, ""), (500, "")],
)
async def test_what_is_answered(
    hook: Receiver, sender: HttpWebhookSender, status: int, said: str
) -> None:
    async with receiver() as elsewhere:
        hook.answers = [(status, {"location": elsewhere.url, "body": "x" * 200_000})]
        outcome = await sender.send(hook.url, HEADERS, b"{}")
        assert outcome.taken == (status == 200)
        assert outcome.gone == (status == 410)
        assert f"answered {status} in " in outcome.message
        assert said in outcome.message
        assert elsewhere.got == []
    assert (await sender.send(hook.url, HEADERS, b"{}")).taken


async def test_who_does_not_answer_is_given_up(hook: Receiver, sender: HttpWebhookSender) -> None:
    hasty = HttpWebhookSender(private_networks=True, timeout_s=0.1)
    hook.answers = ["hang"]
    assert await hasty.send(hook.url, HEADERS, b"{}") == Outcome(False, "no answer within 0.1 s")
    await hasty.close()
    hook.answers = ["close"]
    assert "no answer: " in (await sender.send(hook.url, HEADERS, b"{}")).message
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
        refused = await sender.send(f"http://127.0.0.1:{port}/", HEADERS, b"{}")
    assert (refused.taken, refused.message.startswith("no answer: ")) == (False, True)


async def test_a_slow_name_server_is_given_up() -> None:
    async def never(host: str, port: int) -> list[str]:
        await asyncio.Event().wait()
        raise AssertionError

    sender = HttpWebhookSender(timeout_s=0.05, resolve=never)
    outcome = await sender.send("https://studio.example/", HEADERS, b"{}")
    assert outcome == Outcome(False, "no answer within 0.05 s")
    await sender.close()


async def test_nobody_makes_us_reach_what_is_private(hook: Receiver) -> None:
    port = int(hook.url.split(":")[2].split("/")[0])
    asked: list[str] = []

    async def resolve(host: str, port: int) -> list[str]:
        asked.append(host)
        return {"mixed.example": ["1.1.1.1", "127.0.0.1"], "own.example": ["127.0.0.1"]}[host]

    sender = HttpWebhookSender(timeout_s=10, resolve=resolve)
    for host in ("own.example", "mixed.example"):
        outcome = await sender.send(f"http://{host}:{port}/", HEADERS, b"{}")
        assert not outcome.taken
        assert f"{host} is at 127.0.0.1, which is not public" in outcome.message
        assert "--webhook-private-networks" in outcome.message
    await sender.close()
    real = HttpWebhookSender(timeout_s=10)
    for host in ("127.0.0.1", "2130706433", "0x7f.1", "localhost", "127.1", "0"):
        outcome = await real.send(f"http://{host}:{port}/", HEADERS, b"{}")
        assert "which is not public" in outcome.message, host
    await real.close()
    assert hook.got == []


async def test_what_was_checked_is_what_is_reached(hook: Receiver) -> None:
    """A name that changes its address after it was looked up gains nothing: it is looked up once."""
    port = int(hook.url.split(":")[2].split("/")[0])
    looked_up = 0

    async def resolve(host: str, port: int) -> list[str]:
        nonlocal looked_up
        looked_up += 1
        return ["127.0.0.1"]

    sender = HttpWebhookSender(private_networks=True, resolve=resolve)
    assert (await sender.send(f"http://no-such-name.invalid:{port}/x", HEADERS, b"{}")).taken
    assert looked_up == 1
    assert hook.got[0].headers["host"] == f"no-such-name.invalid:{port}"
    await sender.close()


async def test_proxies_of_the_environment_are_not_used(
    hook: Receiver, sender: HttpWebhookSender, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert (await sender.send(hook.url, HEADERS, b"{}")).taken


async def test_the_other_kind_of_address(sender: HttpWebhookSender) -> None:
    try:
        async with receiver("::1") as hook:
            assert (await sender.send(hook.url, HEADERS, b"{}")).taken
            assert hook.got[0].headers["host"].startswith("[::1]:")
    except OSError:
        pytest.skip("this machine has no IPv6")
