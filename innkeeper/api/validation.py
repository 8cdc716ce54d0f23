"""Says in a sentence where and how a JSON value breaks its schema.

The generated structs decide quickly whether a body is good; this walk explains why one is not, and checks
parameters and, strictly, replies.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

from innkeeper.api.contract import Schema

SAFE_INTEGER = 2**53 - 1
_NAMED_MAX = 20

_ARTICLES = {
    "string": "a string",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "null",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """``field`` is the place, such as ``body.env[3].name``; ``problem`` completes "<field> …"."""

    field: str
    problem: str


@dataclass(frozen=True, slots=True)
class Checker:
    """Checks values against schemas whose references ``resolve`` follows.

    ``strict`` also refuses fields that the schema does not name: requests may have them, replies not.
    """

    resolve: Callable[[Schema], Schema]
    strict: bool = False

    def first(self, schema: Schema, value: Any, where: str) -> Fault | None:
        """The first fault, or ``None`` where the value is good."""
        return next(self.faults(schema, value, where), None)

    def faults(self, schema: Schema, value: Any, where: str) -> Iterator[Fault]:
        """Every fault of ``value``, which came from JSON or from a coerced parameter."""
        schema = self.resolve(schema)
        parts = schema.get("anyOf") or schema.get("oneOf")
        if parts:
            yield from self._of_parts(parts, schema, value, where)
            return
        kinds = _kinds(schema)
        if not kinds:
            return
        if not any(_is(kind, value) for kind in kinds):
            yield Fault(where, f"must be {' or '.join(_ARTICLES[kind] for kind in kinds)}")
        elif isinstance(value, str):
            yield from _of_string(schema, value, where)
        elif isinstance(value, list):
            yield from self._of_list(schema, value, where)
        elif isinstance(value, dict):
            yield from self._of_object(schema, value, where)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield from _of_number(schema, value, where)

    def _of_parts(
        self, parts: list[Schema], schema: Schema, value: Any, where: str
    ) -> Iterator[Fault]:
        """A union: good if one part is good; else the faults of the part that was most likely meant."""
        parts = [self.resolve(part) for part in parts]
        if any(self.first(part, value, where) is None for part in parts):
            return
        alike = [p for p in parts if any(_is(kind, value) for kind in _kinds(p))]
        tag = schema.get("discriminator", {}).get("propertyName")
        if tag and isinstance(value, dict):
            alike = [p for p in alike if value.get(tag) in p["properties"][tag]["enum"]]
        if len(alike) == 1:
            yield from self.faults(alike[0], value, where)
            return
        kinds = dict.fromkeys(_ARTICLES[kind] for part in parts for kind in _kinds(part))
        yield Fault(where, f"must be {' or '.join(kinds)}")

    def _of_list(self, schema: Schema, value: list[Any], where: str) -> Iterator[Fault]:
        least, most = schema.get("minItems"), schema.get("maxItems")
        if (least and len(value) < least) or (most is not None and len(value) > most):
            yield Fault(where, f"must have {_span(least, most)} items")
            return
        for at, item in enumerate(value):
            yield from self.faults(schema["items"], item, f"{where}[{at}]")

    def _of_object(self, schema: Schema, value: Mapping[str, Any], where: str) -> Iterator[Fault]:
        properties = schema.get("properties", {})
        for name in schema.get("required", ()):
            if name not in value:
                yield Fault(f"{where}.{name}", "is missing")
        for name, inner in value.items():
            if name in properties:
                yield from self.faults(properties[name], inner, f"{where}.{name}")
            elif self.strict:
                yield Fault(f"{where}.{name}", "is not declared")


def _kinds(schema: Schema) -> list[str]:
    kind = schema.get("type", [])
    return kind if isinstance(kind, list) else [kind]


def _is(kind: str, value: Any) -> bool:
    match kind:
        case "null":
            return value is None
        case "boolean":
            return isinstance(value, bool)
        case "integer":
            return isinstance(value, int) and not isinstance(value, bool)
        case "number":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case "string":
            return isinstance(value, str)
        case "array":
            return isinstance(value, list)
    return isinstance(value, dict)


def _span(least: float | None, most: float | None) -> str:
    if least is None:
        return f"at most {most}"
    if most is None:
        return f"at least {least}"
    return f"exactly {most}" if least == most else f"between {least} and {most}"


def _of_number(schema: Schema, value: float, where: str) -> Iterator[Fault]:
    least, most = schema.get("minimum"), schema.get("maximum")
    if (least is not None and value < least) or (most is not None and value > most):
        yield Fault(where, f"must be {_span(least, most)}")
    elif (
        least is None and most is None and abs(value) > SAFE_INTEGER and "integer" in _kinds(schema)
    ):
        yield Fault(where, f"must be between {-SAFE_INTEGER} and {SAFE_INTEGER}")


def _of_string(schema: Schema, value: str, where: str) -> Iterator[Fault]:
    allowed = schema.get("enum")
    if allowed is not None:
        if value not in allowed:
            more = ", …" if len(allowed) > _NAMED_MAX else ""
            yield Fault(where, f"must be one of {', '.join(allowed[:_NAMED_MAX])}{more}")
        return
    least, most = schema.get("minLength"), schema.get("maxLength")
    if (least and len(value) < least) or (most is not None and len(value) > most):
        yield Fault(where, f"must be {_span(least, most)} characters long")
    elif "pattern" in schema and not _pattern(schema["pattern"]).search(value):
        yield Fault(where, _wording(schema["pattern"]))
    elif schema.get("format") == "date-time" and not _is_moment(value):
        yield Fault(where, "must be a date and time with a zone, such as 2026-01-31T12:00:00.000Z")


@lru_cache(maxsize=256)
def _pattern(pattern: str) -> re.Pattern[str]:
    # ``$`` alone would let a trailing newline through.
    return re.compile(rf"\A(?:{pattern.removeprefix('^').removesuffix('$')})\Z", re.ASCII)


_WORDINGS = {
    "^[a-zA-Z0-9_-]*$": "may hold only letters, digits, - and _",
    "^[a-zA-Z_][a-zA-Z0-9_]*$": "must be letters, digits and _, and not begin with a digit",
    "^[a-z0-9-]+$": "must be lower-case letters, digits and -",
    "^[a-z][a-z0-9-]*$": "must be lower-case letters, digits and -, and begin with a letter",
}


def _wording(pattern: str) -> str:
    return _WORDINGS.get(pattern, f"must match {pattern}")


def _is_moment(value: str) -> bool:
    try:
        return "T" in value and datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        return False
