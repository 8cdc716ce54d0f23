"""Paths to operations: a trie of segments, in which a fixed segment wins over a parameter.

A segment is percent-decoded after the path was cut, so ``%2F`` stays inside its segment. What is
not UTF-8, and NUL characters, which PostgreSQL cannot hold, are read as U+FFFD: a name like any other.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar
from urllib.parse import unquote

T = TypeVar("T")

SEGMENTS_MAX = 32


@dataclass(slots=True)
class Match(Generic[T]):
    """A route found, and its path parameters by name."""

    route: T
    values: dict[str, str]


@dataclass(frozen=True, slots=True)
class WrongMethod:
    """The path exists, for other methods."""

    allowed: tuple[str, ...]


@dataclass(slots=True)
class _Node(Generic[T]):
    fixed: dict[str, "_Node[T]"] = field(default_factory=dict)
    parameter: "_Node[T] | None" = None
    routes: dict[str, tuple[T, tuple[str, ...]]] = field(default_factory=dict)


class Router(Generic[T]):
    """Finds routes. Routes at one path may name their parameters differently."""

    def __init__(self) -> None:
        self._root: _Node[T] = _Node()

    def add(self, method: str, path: str, route: T) -> None:
        """Add a route; raises ``ValueError`` where method and path are taken."""
        node, names = self._root, []
        for segment in path.strip("/").split("/"):
            if segment.startswith("{"):
                names.append(segment[1:-1])
                node.parameter = node.parameter or _Node()
                node = node.parameter
            else:
                node = node.fixed.setdefault(segment, _Node())
        if method in node.routes:
            raise ValueError(f"{method} {path} is taken")
        node.routes[method] = (route, tuple(names))

    def find(self, method: str, raw_path: bytes) -> Match[T] | WrongMethod | None:
        """The route of a still encoded path. ``None``: no such path."""
        segments = _segments(raw_path)
        # Nearly every path is found without a step back.
        node, values = self._root, []
        for segment in segments:
            following = node.fixed.get(segment)
            if following is None:
                following = node.parameter
                if following is None or not segment:
                    break
                values.append(segment)
            node = following
        else:
            found = node.routes.get(method)
            if found is not None:
                return Match(found[0], dict(zip(found[1], values, strict=True)))
        return self._find_slowly(method, segments)

    def _find_slowly(self, method: str, segments: list[str]) -> Match[T] | WrongMethod | None:
        """Looks everywhere: where a fixed segment led nowhere, or has other methods only."""
        if len(segments) > SEGMENTS_MAX:
            return None
        allowed: set[str] = set()
        for node, values in self._nodes(self._root, segments, 0, ()):
            found = node.routes.get(method)
            if found is not None:
                route, names = found
                return Match(route, dict(zip(names, values, strict=True)))
            allowed.update(node.routes)
        return WrongMethod(tuple(sorted(allowed))) if allowed else None

    def _nodes(
        self, node: _Node[T], segments: list[str], at: int, values: tuple[str, ...]
    ) -> Iterator[tuple[_Node[T], tuple[str, ...]]]:
        """The nodes a path leads to, the one with more fixed segments first."""
        if at == len(segments):
            yield node, values
            return
        segment = segments[at]
        fixed = node.fixed.get(segment)
        if fixed is not None:
            yield from self._nodes(fixed, segments, at + 1, values)
        if node.parameter is not None and segment:
            yield from self._nodes(node.parameter, segments, at + 1, (*values, segment))


def _segments(raw_path: bytes) -> list[str]:
    segments = raw_path.decode(errors="replace").split("/")[1:]
    if b"%" in raw_path or b"\0" in raw_path:
        segments = [
            unquote(segment, errors="replace").replace("\0", "\ufffd") for segment in segments
        ]
    return segments
