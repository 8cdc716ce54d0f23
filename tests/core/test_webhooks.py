"""Webhooks: addresses that may be reached, URLs that may be given, waits between tries, the signature."""

from datetime import UTC, datetime
from ipaddress import ip_address

import pytest

from innkeeper.core.errors import Invalid
from innkeeper.core.webhooks import (
    Message,
    check_url,
    headers_of,
    is_public,
    retry_after_s,
    secret_of,
)

PRIVATE = """
    127.0.0.1 127.8.8.8 0.0.0.0 10.1.2.3 172.16.0.1 192.168.1.1 169.254.169.254 100.64.0.1 224.0.0.1
    240.0.0.1 255.255.255.255 192.0.0.8 198.18.0.1 ::1 :: fe80::1 fc00::1 fd00:ec2::254 ff02::1 fec0::1
    ::ffff:127.0.0.1 ::ffff:169.254.169.254 64:ff9b::7f00:1 64:ff9b::a9fe:a9fe 2002:7f00:1:: 2002:a00:1::
    ::ffff:0:7f00:1 2001:0:4136:e378:8000:63bf:3fff:fdd2 2001:db8::1
"""
PUBLIC = "1.1.1.1 93.184.216.34 2606:4700:4700::1111 ::ffff:1.1.1.1 64:ff9b::101:101"


@pytest.mark.parametrize("text", PRIVATE.split())
def test_private_addresses_in_every_disguise(text: str) -> None:
    assert not is_public(ip_address(text))


@pytest.mark.parametrize("text", PUBLIC.split())
def test_public_addresses(text: str) -> None:
    assert is_public(ip_address(text))


@pytest.mark.parametrize(
    "url",
    [
        "ftp://studio.example/",
        "file:///etc/passwd",
        "gopher://studio.example/",
        "studio.example/hook",
        "https://",
        "https:///hook",
        "http://user:secret@studio.example/",
        "http://user@studio.example/",
        "https://studio.example/#part",
        "https://studio.example:0/",
        "https://studio.example:99999/",
        "https://studio.example:port/",
        "https://[::1/",
        "https://studio.example/a b",
        "https://studio.example\\@169.254.169.254/",
        "https://studio.example/\r\nx: y",
        "https://stüdio.example/",
        "http://127.0.0.1/",
        "http://[::1]/",
        "http://[fe80::1%25eth0]/",
        "http://169.254.169.254/latest/meta-data",
    ],
)
def test_urls_that_are_refused(url: str) -> None:
    with pytest.raises(Invalid) as refused:
        check_url(url, private_networks=False)
    assert refused.value.field == "body.url"


def test_urls_that_may_be_given() -> None:
    for url in (
        "https://studio.example/hook?key=1",
        "http://studio.example:8080",
        "http://1.1.1.1/",
    ):
        check_url(url, private_networks=False)
    check_url("http://127.0.0.1:9/", private_networks=True)


def test_waits_double_up_to_five_minutes_and_differ() -> None:
    assert [retry_after_s(n, 0) for n in (1, 2, 3, 9, 10, 10_000)] == [1, 2, 4, 256, 300, 300]
    assert retry_after_s(10, 1) == 225


def test_the_signature_is_that_of_the_specification() -> None:
    """The example that the specification's own libraries are tested with."""
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    message = Message("msg_p5jXN8AQM9LWM0D4loKWxJek", b'{"test": 2432232314}')
    headers = headers_of(message, secret, datetime.fromtimestamp(1614265330.9, UTC))
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert headers["webhook-timestamp"] == "1614265330"
    assert secret_of("x" * 43).startswith("whsec_")
