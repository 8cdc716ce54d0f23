"""Writes answers as JSON, with moments in milliseconds: ``2026-01-31T12:00:00.000Z`` (behaviour.md 0.3).

msgspec writes six digits or none, and old clients read no more than three.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import msgspec

from innkeeper.api.contract import Contract, Schema
from innkeeper.core import moments

_encode = msgspec.json.Encoder().encode
_MICROSECONDS = re.compile(rb'(?<=T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3})000Z"')
_SECONDS = re.compile(rb'(?<=T[0-9]{2}:[0-9]{2}:[0-9]{2})Z"')
_DIGITS = len("2026-01-31T12:00:00")


class Writer:
    """Writes the answers of one operation; free of cost where its schema holds no moment."""

    def __init__(self, contract: Contract, schema: Schema | None) -> None:
        names = set() if schema is None else set(_moments(contract, schema, set()))
        self._names = frozenset(name.encode() for name in names)
        self._free = schema is not None and _holds_free_json(contract, schema)

    def json(self, wire: Any) -> bytes:
        """The answer's body."""
        if self._free:
            # In a player's own JSON a field may have the name of one of ours.
            return _encode(
                [_told(each) for each in wire] if isinstance(wire, list) else _told(wire)
            )
        body = _encode(wire)
        if self._names and b'Z"' in body:
            body = _MICROSECONDS.sub(lambda found: self._shown(found, _DIGITS + 4, b'Z"'), body)
            body = _SECONDS.sub(lambda found: self._shown(found, _DIGITS, b'.000Z"'), body)
        return body

    def _shown(self, found: re.Match[bytes], digits: int, instead: bytes) -> bytes:
        """``instead``, if this is the whole value of a field that holds a moment, and not somebody's text."""
        body, at = found.string, found.start() - digits
        if body[at - 3 : at] != b'":"':
            return found.group()
        name = body[body.rfind(b'"', 0, at - 3) + 1 : at - 3]
        return instead if name in self._names else found.group()


def _told(struct: Any) -> dict[str, Any]:
    """The fields of a struct without structs in it, moments as they are shown."""
    fields = {name: getattr(struct, name) for name in struct.__struct_fields__}
    return {
        name: moments.shown(value) if isinstance(value, datetime) else value
        for name, value in fields.items()
        if value is not msgspec.UNSET
    }


def _holds_free_json(contract: Contract, schema: Schema) -> bool:
    """Whether the schema has a field, at its top or in a list's items, that may be any JSON value."""
    schema = contract.resolve(schema)
    items = schema.get("items")
    if items is not None:
        return _holds_free_json(contract, items)
    told = ("type", "$ref", "anyOf", "oneOf", "enum")
    return any(
        not any(word in inner for word in told) for inner in schema.get("properties", {}).values()
    )


def _moments(contract: Contract, schema: Any, seen: set[str]) -> Iterator[str]:
    """The names of the fields that hold moments, anywhere below ``schema``."""
    if isinstance(schema, Mapping):
        reference = schema.get("$ref")
        if isinstance(reference, str) and reference not in seen:
            seen.add(reference)
            yield from _moments(contract, contract.resolve(schema), seen)
        for name, inner in schema.get("properties", {}).items():
            if inner.get("format") == "date-time":
                yield name
        for inner in schema.values():
            yield from _moments(contract, inner, seen)
    elif isinstance(schema, list):
        for inner in schema:
            yield from _moments(contract, inner, seen)
