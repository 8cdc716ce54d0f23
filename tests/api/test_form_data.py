"""Forms, as they come and as they should not (behaviour.md 2.2, 2.3)."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from innkeeper.api import form_data
from innkeeper.api.form_data import FormData, is_form
from innkeeper.core.errors import Invalid, TimedOut

TYPE = 'multipart/form-data; boundary="b-1"'


def part(name: str, content: bytes, more: str = "") -> bytes:
    head = f'--b-1\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'
    return head.encode() + content + b"\r\n"


END = b"--b-1--\r\n"


async def pieces(body: bytes, size: int = 1 << 16) -> AsyncIterator[bytes]:
    for start in range(0, len(body), size):
        yield body[start : start + size]


async def read(body: bytes, size: int = 1 << 16) -> tuple[dict[str, str], bytes | None]:
    form = FormData(TYPE, pieces(body, size))
    file = await form.file("file")
    content = None if file is None else b"".join([piece async for piece in file])
    await form.finish()
    return form.fields, content


# Boundaries that nearly are one, wherever the pieces are cut.
TRAPS = b"\r\n--b-1x\r\n--b-\r\r\n-"


@given(content=st.binary(max_size=200), size=st.integers(1, 400))
@example(content=TRAPS, size=1)
@example(content=TRAPS, size=7)
async def test_a_file_is_what_was_sent_however_it_is_cut(content: bytes, size: int) -> None:
    if b"\r\n--b-1\r\n" in content or b"\r\n--b-1--" in content:
        return
    body = part("key", b"k") + part("file", content, '; filename="a.tgz"') + part("after", b"x")
    assert await read(body + END, size) == ({"key": "k"}, content)


async def test_a_form_without_the_file_ends() -> None:
    assert await read(END) == ({}, None)
    assert await read(part("a", b"1") + part("a", b"2") + END) == ({"a": "2"}, None)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"--b-1\r\n",
        part("file", b"cut off"),
        part("file", b"cut off")[:-10],
        part("key", b"k"),
        b"--other\r\n\r\n--other--",
        b"--b-1\r\nNo colon\r\n\r\nx\r\n" + END,
        b"--b-1\r\nContent-Type: text/plain\r\n\r\nnameless\r\n" + END,
        b"--b-1\r\nContent-Disposition: attachment; name=file\r\n\r\nx\r\n" + END,
        part("file", b"eA==").replace(
            b"\r\n\r\n", b"\r\nContent-Transfer-Encoding: base64\r\n\r\n"
        ),
        part("key", b"x" * (form_data.FIELD_BYTES_MAX + 1)) + END,
        part("k" * (form_data.HEADER_BYTES_MAX + 1), b"") + END,
        b"--b-1\r\n" + b"A: b\r\n" * (form_data.HEADERS_MAX + 1) + b"\r\n" + END,
        part("key", b"") * (form_data.FIELDS_MAX + 1) + END,
        part("file", b"x") + part("late", b"x" * (2 * form_data.TAIL_BYTES_MAX)) + END,
        part("file", b"x") + part("late", b"") * 5000 + END,
    ],
)
@pytest.mark.parametrize("size", [1000, 1 << 16])
async def test_what_is_no_form_or_too_much_of_one_is_invalid(body: bytes, size: int) -> None:
    with pytest.raises(Invalid):
        await read(body, size)


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "",
        "application/json",
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary*=utf-8''x",
        f"multipart/form-data; boundary={'x' * 1000}",
    ],
)
def test_the_content_type_must_name_a_boundary(content_type: Any) -> None:
    with pytest.raises(Invalid):
        FormData(content_type, pieces(b""))


def test_what_a_form_is() -> None:
    assert is_form("Multipart/Form-Data; boundary=x")
    assert not is_form("application/octet-stream")
    assert not is_form(None)


async def test_a_hostile_client_does_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "innkeeper"), pytest.raises(Invalid):
        await read(b"garbage")
    assert caplog.records == []


@given(
    st.lists(
        st.sampled_from(
            [
                b"--b-1\r\n",
                b"\r\n--b-1\r\n",
                b"--b-1--",
                b"\r\n\r\n",
                b'Content-Disposition: form-data; name="file"\r\n',
                b'Content-Disposition: form-data; name="\xff\xb5";x*=\xfc\r\n',
                b"Content-Transfer-Encoding: \xff\r\n",
                b": \r\n",
                b"\r",
                b"\n",
                b"-",
                b"x",
            ]
        ),
        max_size=20,
    ),
    st.integers(1, 50),
)
async def test_whatever_comes_it_is_read_or_invalid(shreds: list[bytes], size: int) -> None:
    with contextlib.suppress(Invalid):
        await read(b"".join(shreds), size)


@pytest.mark.parametrize("begun", [b"", part("key", b"k"), b"--b-1\r\nContent-Dis"])
async def test_fields_that_drip_are_given_up(begun: bytes) -> None:
    async def dripping() -> AsyncIterator[bytes]:
        if begun:
            yield begun
        await asyncio.Event().wait()

    form = FormData(TYPE, dripping(), fields_limit_s=0.02)
    with pytest.raises(TimedOut):
        await form.file("file")


async def test_so_is_what_drips_after_the_file() -> None:
    async def dripping() -> AsyncIterator[bytes]:
        yield part("file", b"whole") + b"--b-1\r\n"
        await asyncio.Event().wait()

    form = FormData(TYPE, dripping(), fields_limit_s=0.02)
    file = await form.file("file")
    assert file is not None
    assert [piece async for piece in file] == [b"whole"]
    with pytest.raises(TimedOut):
        await form.finish()
