"""Turns the parts of an HTTP request into checked values: path and query parameters, the JSON body.

Raises ``Invalid`` with the place (``path.region``, ``query.tailLines``, ``body.env[3].name``) and a sentence.
"""

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from innkeeper.api.contract import Body, Contract, Declaration, Parameter
from innkeeper.api.validation import Checker
from innkeeper.core.errors import Invalid

QUERY_FIELDS_MAX = 200
LIST_ITEMS_MAX = 100
_VALUE_MAX = 200
_WHOLE = re.compile(r"-?[0-9]{1,16}", re.ASCII)
_NUMBER = re.compile(r"-?[0-9]{1,40}(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,3})?", re.ASCII)
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_STEP = re.compile(r"\.([^.\[]+)|\[([0-9]+)\]")


class Reader:
    """Reads the parameters and the body of one operation."""

    def __init__(self, contract: Contract, declaration: Declaration) -> None:
        self._check = Checker(contract.resolve)
        self._in_path = [p for p in declaration.parameters if p.place == "path" and not p.plain]
        self._in_query = [p for p in declaration.parameters if p.place == "query"]
        self._body = declaration.body
        self._defaults = {p.name: p.default for p in self._in_query if p.default is not None}
        self._required = any(p.required for p in self._in_query)

    def path(self, values: dict[str, str]) -> Mapping[str, Any]:
        """The path's values, by name."""
        if not self._in_path:
            return values
        read: dict[str, Any] = dict(values)
        for parameter in self._in_path:
            read[parameter.name] = self._value(parameter, values[parameter.name])
        return read

    def query(self, raw: bytes) -> Mapping[str, Any]:
        """The declared parameters that were given or have a default; others are ignored."""
        if not raw and not self._required:
            return self._defaults
        given: dict[str, list[str]] = {}
        for name, value in _pairs(raw):
            given.setdefault(name, []).append(value)
        read: dict[str, Any] = dict(self._defaults)
        for parameter in self._in_query:
            values = given.get(parameter.name)
            if values is None:
                if parameter.required:
                    raise Invalid(f"query.{parameter.name}", "is missing")
            elif parameter.many:
                read[parameter.name] = self._list(parameter, values)
            else:
                read[parameter.name] = self._value(parameter, values[-1])
        return read

    def body(self, raw: bytes) -> Any:
        """The struct of a JSON body; ``None`` where the operation takes none, or an optional one is empty."""
        body = self._body
        if body is None or body.decoder is None or (not raw and not body.required):
            return None
        try:
            decoded = body.decoder.decode(raw)
        except msgspec.DecodeError as fault:
            raise self._explain(body, raw, str(fault)) from fault
        except UnicodeDecodeError as fault:
            raise Invalid("body", "must be JSON in UTF-8") from fault
        except RecursionError as fault:
            raise Invalid("body", "is nested too deeply") from fault
        if b"\\u0000" in raw and _NUL.search(raw):
            place = next(_nuls(msgspec.json.decode(raw), "body"), "body")
            raise Invalid(place, "must not hold a NUL character")
        return decoded

    def _explain(self, body: Body, raw: bytes, message: str) -> Invalid:
        """Why a body was refused, in our own words where the contract's schema tells."""
        if not raw:
            return Invalid("body", "is missing")
        try:
            value = msgspec.json.decode(raw)
        except msgspec.DecodeError as broken:
            return Invalid(
                "body", f"must be JSON: {str(broken).removeprefix('JSON is malformed: ')}"
            )
        except (UnicodeDecodeError, RecursionError):
            return Invalid("body", "must be JSON in UTF-8, not nested too deeply")
        fault = self._check.first(body.schema, value, "body")
        return (
            Invalid(fault.field, fault.problem)
            if fault
            else Invalid("body", f"is not valid: {message}")
        )

    def _list(self, parameter: Parameter, texts: list[str]) -> list[Any]:
        """Repeated keys and comma lists alike (behaviour.md 0.3)."""
        items = [item for text in texts for item in text.split(",") if item]
        if len(items) > LIST_ITEMS_MAX:
            raise Invalid(f"query.{parameter.name}", f"must have at most {LIST_ITEMS_MAX} items")
        return [self._value(parameter, item) for item in items]

    def _value(self, parameter: Parameter, text: str) -> Any:
        where = f"{parameter.place}.{parameter.name}"
        value = _coerced(parameter.kind, text, where)
        if not parameter.plain and (fault := self._check.first(parameter.schema, value, where)):
            raise Invalid(fault.field, fault.problem)
        return value


def _nuls(value: Any, where: str) -> Iterator[str]:
    """The places of strings with a NUL character, and of objects with such a name."""
    if isinstance(value, str) and "\0" in value:
        yield where
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _nuls(item, f"{where}[{index}]")
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from [where] if "\0" in name else _nuls(item, f"{where}.{name}")


def _coerced(kind: str, text: str, where: str) -> Any:
    """Decimal text, ``true`` and ``false`` as JSON values."""
    match kind:
        case "integer":
            if not _WHOLE.fullmatch(text):
                raise Invalid(where, "must be a whole number")
            return int(text)
        case "number":
            number = float(text) if _NUMBER.fullmatch(text) else math.nan
            if not math.isfinite(number):
                raise Invalid(where, "must be a number")
            return number
        case "boolean":
            if text not in ("true", "false"):
                raise Invalid(where, "must be true or false")
            return text == "true"
    if "\0" in text:
        raise Invalid(where, "must not hold a NUL character")
    return text


def _pairs(raw: bytes) -> list[tuple[str, str]]:
    try:
        return parse_qsl(
            raw.decode("ascii"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=QUERY_FIELDS_MAX,
        )
    except UnicodeDecodeError as fault:
        raise Invalid("query", "must be percent-encoded UTF-8") from fault
    except ValueError as fault:
        raise Invalid("query", f"must have at most {QUERY_FIELDS_MAX} fields") from fault


def value_at(field: str, path: Mapping[str, Any], query: Mapping[str, str], body: bytes) -> Any:
    """What the client sent at ``field``, cut to be shown; ``None`` where there is nothing to show."""
    place, _, rest = field.partition(".")
    value: Any
    if not rest or place not in ("path", "query", "body"):
        return None
    try:
        value = msgspec.json.decode(body) if place == "body" else path if place == "path" else query
        for name, at in _STEP.findall(field[len(place) :]):
            value = value[name] if name else value[int(at)]
        text = msgspec.json.encode(value)
    except (KeyError, IndexError, TypeError, ValueError, RecursionError):
        return None  # A place that is not in the request: the sentence alone must do.
    return value if len(text) <= _VALUE_MAX else text[:_VALUE_MAX].decode(errors="replace") + "…"


def query_texts(raw: bytes) -> Mapping[str, str]:
    """The query as text, for showing a value; empty where it cannot be read."""
    try:
        return dict(_pairs(raw))
    except Invalid:
        return {}
