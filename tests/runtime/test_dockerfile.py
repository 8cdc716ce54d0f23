"""The Dockerfile language without an engine: what it understands, and which line it refuses."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from innkeeper.core.errors import BuildFailed
from innkeeper.runtime.dockerfile import expand, parse, variables, words


def one(line: str) -> list[tuple[int, str, str]]:
    return [(i.line, i.name, i.text) for i in parse(f"FROM scratch\n{line}".encode())[1:]]


def test_comments_continuations_and_line_numbers() -> None:
    source = b"""\xef\xbb\xbf# syntax=docker/dockerfile:1
# a comment
from scratch
COPY a \\
  # a comment within


  b /there/

ENV A=1\\
2
CMD [ "/game" , "-x" ]\r
"""
    found = parse(source)
    assert [(i.line, i.name) for i in found] == [(3, "FROM"), (4, "COPY"), (10, "ENV"), (12, "CMD")]
    assert words(found[1], {}) == ["a", "b", "/there/"]
    assert variables(found[2], {}) == {"A": "12"}
    assert found[3].array == ("/game", "-x")


def test_the_escape_directive() -> None:
    found = parse(b"# escape=`\nFROM scratch\nCOPY a `\n b\n")
    assert words(found[1], {}) == ["a", "b"]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("RUN make", "line 2: RUN needs a container engine"),
        ("USER game", "line 2: USER needs a container engine"),
        ("LABEL a=b", "line 2: LABEL needs a container engine"),
        ("ARG A", "line 2: ARG needs a container engine"),
        ("\n\nHEALTHCHECK NONE", "line 4: HEALTHCHECK needs a container engine"),
        ("FROM alpine", "line 2: FROM a second time"),
        ("FROM scratch AS b", "line 2: FROM a second time"),
        ("COPY <<EOF /a", "line 2: COPY with a here-document"),
        ("COPY", "line 2: COPY needs an argument"),
        ("make all", "line 2: MAKE needs a container engine"),
        ("{", "line 2: this is no instruction"),
    ],
)
def test_a_refused_line_is_named(line: str, why: str) -> None:
    with pytest.raises(BuildFailed) as caught:
        one(line)
    assert why in caught.value.message


@pytest.mark.parametrize(
    ("source", "why"),
    [
        (
            "FROM alpine:3\n",
            "line 1: FROM alpine:3 (anything but scratch) needs a container engine",
        ),
        ("FROM --platform=linux/arm64 scratch\n", "line 1: FROM"),
        ("ENV A=1\nFROM scratch\n", "line 1: ENV stands before FROM"),
        ("# nothing\n", "the Dockerfile is empty"),
        ("FROM scratch\nCMD \xff", "not UTF-8"),
    ],
)
def test_a_refused_file(source: str, why: str) -> None:
    with pytest.raises(BuildFailed) as caught:
        parse(source.encode("latin-1"))
    assert why in caught.value.message


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("ENV A=1 B=two", {"A": "1", "B": "two"}),
        ('ENV A="one two" B=three\\ four', {"A": "one two", "B": "three four"}),
        ("ENV A the whole rest", {"A": "the whole rest"}),
        ("ENV A='$X' B=$X C=${X}y D=\"$X z\"", {"A": "$X", "B": "ex", "C": "exy", "D": "ex z"}),
        ("ENV A=${N:-other} B=${X:+set} C=${N:+set}", {"A": "other", "B": "set", "C": ""}),
        ("ENV A=$N", {"A": ""}),
        ("ENV A=\\$X", {"A": "$X"}),
        ('ENV A="say \\"hi\\""', {"A": 'say "hi"'}),
    ],
)
def test_env(line: str, expected: dict[str, str]) -> None:
    assert variables(parse(f"FROM scratch\n{line}".encode())[1], {"X": "ex"}) == expected


@pytest.mark.parametrize("line", ["ENV A", "ENV A=1 B", 'ENV A="1', "ENV =x"])
def test_env_refused(line: str) -> None:
    with pytest.raises(BuildFailed, match="line 2: ENV"):
        variables(parse(f"FROM scratch\n{line}".encode())[1], {})


def test_copy_words_and_flags() -> None:
    copy = parse(b'FROM scratch\nCOPY --chown=1:2 --link --chmod=755 ["a b", "$D/"]')[1]
    assert dict(copy.flags) == {"chown": "1:2", "link": "", "chmod": "755"}
    assert words(copy, {"D": "/to"}) == ["a b", "/to/"]


def test_what_is_no_json_is_the_other_form() -> None:
    cmd = parse(b"FROM scratch\nCMD ['/game']")[1]
    assert cmd.array is None


@given(st.text(max_size=60))
def test_any_text_parses_or_is_refused(text: str) -> None:
    try:
        found = parse(f"FROM scratch\n{text}".encode("utf-8", "surrogatepass"))
        for instruction in found[1:]:
            if instruction.name == "ENV":
                variables(instruction, {})
            elif instruction.name in ("COPY", "ADD"):
                words(instruction, {})
    except BuildFailed as error:
        assert "Dockerfile" in error.message  # noqa: PT017 - either outcome is right


@given(st.text("$a{}:-+\\ ", max_size=30))
def test_expansion_never_fails(text: str) -> None:
    expand(text, {"a": "value"})
