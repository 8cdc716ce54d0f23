"""Every runtime's format becomes the same whole lines."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from innkeeper.telemetry.log_formats import LINE_BYTES_MAX, decoder


def decoded(format_: str, *blocks: bytes) -> list[bytes]:
    reader = decoder(format_)
    lines = [line for block in blocks for line in reader.feed(block)]
    return lines + reader.finish()


def test_raw_lines() -> None:
    assert decoded("raw", b"a\nb", b"b\n\n", b"end") == [b"a\n", b"bb\n", b"\n", b"end\n"]


def test_invalid_text_is_replaced_and_characters_across_blocks_are_not() -> None:
    assert decoded("raw", b"\xffa\xc3", b"\xa9\n") == ["�aé\n".encode()]
    assert decoded("raw", b"cut\xc3") == ["cut�\n".encode()]


@pytest.mark.parametrize("block", [1000, 65_536, 1 << 20])
def test_long_lines_are_cut_and_others_are_not(block: int) -> None:
    just = b"j" * (LINE_BYTES_MAX - 1)
    long = "é".encode() * 100_000
    data = just + b"\n" + long + b"\n"
    blocks = [data[at : at + block] for at in range(0, len(data), block)]
    lines = decoded("raw", *blocks)
    assert lines[0] == just + b"\n"
    assert all(len(line) < 64 * 1024 for line in lines)
    assert b"".join(line[:-1] for line in lines[1:]) == long


def test_k8s_file() -> None:
    time = b"2026-11-24T11:35:16.123456789+00:00"
    data = b"".join(
        [
            time + b" stdout F one\n",
            time + b" stdout P tw\n",
            time + b" stderr F between\n",
            time + b" stdout F o  words\n",
            time + b" stdout F \n",
            b"broken\n",
            time + b" stdout P unended\n",
        ]
    )
    expected = [b"one\n", b"between\n", b"two  words\n", b"\n", b"unended\n"]
    assert decoded("k8s-file", data) == expected
    assert decoded("k8s-file", *(bytes([b]) for b in data)) == expected


def test_json_file() -> None:
    records = [
        {"log": "one\n", "stream": "stdout", "time": "t"},
        {"log": "tw", "stream": "stdout", "time": "t"},
        {"log": "between\n", "stream": "stderr", "time": "t"},
        {"log": "o é\n", "stream": "stdout", "time": "t"},
    ]
    data = "".join(json.dumps(record) + "\n" for record in records).encode()
    assert decoded("json-file", data + b'{"log":"cut o') == [
        b"one\n",
        b"between\n",
        "two é\n".encode(),
    ]


@given(
    st.lists(
        st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]), max_size=20)
    ),
    st.integers(1, 7),
)
def test_text_comes_through_whatever_the_blocks(lines: list[str], block: int) -> None:
    data = "".join(line + "\n" for line in lines).encode()
    blocks = [data[at : at + block] for at in range(0, len(data), block)]
    assert b"".join(decoded("raw", *blocks)) == data
