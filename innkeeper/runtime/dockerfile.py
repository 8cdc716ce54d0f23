"""Reads the part of the Dockerfile language that needs no container engine, and says which line
needs one.

A parser of our own: those on PyPI are no longer kept (``dockerfile-parse``: last release in 2023) and do not
tell the line of what they refuse.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from innkeeper.core.errors import BuildFailed

SUPPORTED = ("FROM", "COPY", "ADD", "ENV", "WORKDIR", "EXPOSE", "CMD", "ENTRYPOINT")
_SIZE_MAX = 1024 * 1024
_DIRECTIVE = re.compile(r"#\s*([a-zA-Z][a-zA-Z0-9]*)\s*=\s*(\S+)\s*\Z", re.ASCII)
_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*", re.ASCII)
_FLAG = re.compile(r"--([a-z]+)(?:=(\S*))?(?:\s+|\Z)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction. ``array`` is the JSON form where it was used; ``text`` what follows the
    flags.
    """

    line: int
    name: str
    flags: Mapping[str, str]
    text: str
    array: tuple[str, ...] | None

    def fail(self, why: str) -> BuildFailed:
        """The error for this line."""
        return BuildFailed(f"Dockerfile line {self.line}: {self.name} {why}")

    def needs_engine(self, what: str) -> BuildFailed:
        """The error for something that only a container engine can do."""
        return self.fail(f"{what} needs a container engine; this server runs plain host processes")


def parse(source: bytes) -> list[Instruction]:
    """Every instruction, ``FROM scratch`` first. Raises :class:`BuildFailed` naming line and
    instruction.
    """
    if len(source) > _SIZE_MAX:
        raise BuildFailed(f"the Dockerfile has more than {_SIZE_MAX} bytes")
    try:
        text = source.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BuildFailed("the Dockerfile is not UTF-8 text") from error
    lines = [line.rstrip("\r") for line in text.split("\n")]
    escape = _escape(lines)
    instructions = [_instruction(number, joined) for number, joined in _joined(lines, escape)]
    if not instructions:
        raise BuildFailed("the Dockerfile is empty")
    if instructions[0].name != "FROM":
        raise instructions[0].fail("stands before FROM")
    for instruction in instructions:
        _check(instruction, first=instruction is instructions[0])
    return instructions


def _escape(lines: list[str]) -> str:
    for line in lines:
        found = _DIRECTIVE.match(line.strip())
        if found is None:
            break
        if found[1].lower() == "escape":
            if found[2] not in ("\\", "`"):
                raise BuildFailed(f"Dockerfile: escape may be \\ or `, not {found[2]}")
            return found[2]
    return "\\"


def _joined(lines: list[str], escape: str) -> Iterator[tuple[int, str]]:
    """Logical lines with the number of their first line: without comments, continuations joined."""
    parts: list[str] = []
    start = 0
    for number, line in enumerate(lines, 1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        if not parts:
            start = number
        body = line.rstrip()
        if body.endswith(escape):
            parts.append(body[:-1])
            continue
        parts.append(body)
        yield start, "".join(parts).strip()
        parts = []
    if parts and (rest := "".join(parts).strip()):
        yield start, rest


def _instruction(number: int, line: str) -> Instruction:
    word, _, rest = line.partition(" ") if " " in line else line.partition("\t")
    name, rest = word.upper(), rest.strip()
    flags: dict[str, str] = {}
    while name in ("COPY", "ADD", "FROM") and (flag := _FLAG.match(rest)):
        flags[flag[1]] = flag[2] or ""
        rest = rest[flag.end() :]
    array = None
    if rest.startswith("[") and name in ("COPY", "ADD", "CMD", "ENTRYPOINT"):
        array = _array(rest)
    return Instruction(number, name, flags, rest, array)


def _array(text: str) -> tuple[str, ...] | None:
    """The JSON form; what is not one is taken for the other form, as engines do."""
    try:
        value = json.loads(text)
    except ValueError:
        return None
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        return None
    return tuple(value)


def _check(instruction: Instruction, first: bool) -> None:
    name, text = instruction.name, instruction.text
    if not re.fullmatch(r"[A-Z]+", name):
        raise BuildFailed(
            f"Dockerfile line {instruction.line}: this is no instruction: {name[:40]}"
        )
    if name not in SUPPORTED:
        raise BuildFailed(
            f"Dockerfile line {instruction.line}: {name} needs a container engine; this server runs "
            f"plain host processes, which know {', '.join(SUPPORTED)}"
        )
    if not text and instruction.array is None:
        raise instruction.fail("needs an argument")
    if "\0" in text:
        raise instruction.fail("holds a NUL character")
    if name == "FROM":
        if not first:
            raise instruction.needs_engine("a second time, for another stage,")
        if instruction.flags or text.split()[0] != "scratch":
            raise instruction.needs_engine(f"{text.split()[0][:100]} (anything but scratch)")
    if name in ("COPY", "ADD") and re.search(r"(?:\A|\s)<<-?[\"']?\w", text):
        raise instruction.needs_engine("with a here-document")


def expand(text: str, env: Mapping[str, str]) -> str:
    """``$NAME``, ``${NAME}``, ``${NAME:-word}`` and ``${NAME:+word}`` replaced; ``\\$`` is a dollar
    sign.
    """
    out: list[str] = []
    at = 0
    while at < len(text):
        character = text[at]
        if character == "\\" and text[at + 1 : at + 2] == "$":
            out.append("$")
            at += 2
        elif character == "$" and text[at + 1 : at + 2] == "{" and "}" in text[at:]:
            end = text.index("}", at)
            out.append(_braced(text[at + 2 : end], env))
            at = end + 1
        elif character == "$" and (name := _NAME.match(text, at + 1)):
            out.append(env.get(name[0], ""))
            at = name.end()
        else:
            out.append(character)
            at += 1
    return "".join(out)


def _braced(inner: str, env: Mapping[str, str]) -> str:
    for operator in (":-", ":+"):
        name, found, word = inner.partition(operator)
        if found:
            value = env.get(name, "")
            return (value or word) if operator == ":-" else (word if value else "")
    return env.get(inner, "")


def words(instruction: Instruction, env: Mapping[str, str]) -> list[str]:
    """The arguments: the JSON form, or words parted by blanks with quotes and variables taken in."""
    if instruction.array is not None:
        return [expand(word, env) for word in instruction.array]
    return [_unquoted(word, env) for word in _split(instruction)]


def variables(instruction: Instruction, env: Mapping[str, str]) -> dict[str, str]:
    """What ENV sets: ``NAME=value …``, or ``NAME the rest``. Values see ``env`` as it was before
    the line.
    """
    parts = _split(instruction)
    if "=" not in parts[0]:
        name, _, rest = instruction.text.partition(" ")
        if not rest.strip():
            raise instruction.fail(f"gives {name} no value")
        return {_variable(instruction, name): _unquoted(rest.strip(), env)}
    found = {}
    for part in parts:
        name, equals, value = part.partition("=")
        if not equals:
            raise instruction.fail(f'has "{part}" where NAME=value is expected')
        found[_variable(instruction, name)] = _unquoted(value, env)
    return found


def _variable(instruction: Instruction, name: str) -> str:
    if not name or "\0" in name:
        raise instruction.fail("has a variable without a name")
    return name


def _split(instruction: Instruction) -> list[str]:
    """Words parted by blanks outside quotes; the quotes stay."""
    found: list[str] = []
    word, quote, escaped = "", "", False
    for character in instruction.text:
        if escaped or (character == "\\" and quote != "'"):
            word += character
            escaped = not escaped
        elif quote:
            word += character
            quote = "" if character == quote else quote
        elif character in "\"'":
            word += character
            quote = character
        elif character in " \t":
            found += [word] if word else []
            word = ""
        else:
            word += character
    if quote:
        raise instruction.fail(f"has a {quote} without its end")
    return found + ([word] if word else [])


def _unquoted(text: str, env: Mapping[str, str]) -> str:
    """Quotes and backslashes taken away; variables replaced, but not between single quotes."""
    out: list[str] = []
    for piece in re.findall(r"'[^']*'|\"(?:\\.|[^\"\\])*\"|\\.|[^'\"\\]+|.", text, re.DOTALL):
        if piece[0] == "'" and len(piece) > 1:
            out.append(piece[1:-1])
        elif piece[0] == '"' and len(piece) > 1:
            out.append(re.sub(r"\\([\"\\])", r"\1", expand(piece[1:-1], env)))
        elif piece[0] == "\\" and len(piece) > 1:
            out.append(piece[1])
        else:
            out.append(expand(piece, env))
    return "".join(out)
