"""The contract, read once: what each operation's path, parameters, body, security and answers are.

``contract/openapi.json`` is the public API as it was; ``contract/extensions.json`` holds what we add, in the
same shape: rows below ``/innkeeper/v1/`` and the like in ``paths``, more parameters of the contract's own
operations in ``parameters`` (by operationId), more structs in ``components.schemas``, and in
``optionalBodies`` the operations that older clients call without a body.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal, cast

import msgspec

from innkeeper.api import wire_generated

Schema = Mapping[str, Any]
Security = Literal["org", "player", "none"]
BodyKind = Literal["json", "raw"]

_SECURITY: Mapping[str, Security] = {"hathoraDevToken": "org", "playerAuth": "player"}
_METHODS = ("get", "post", "put", "patch", "delete")
_PARAMETER = re.compile(r"\{([A-Za-z][A-Za-z0-9]*)\}")


@dataclass(frozen=True, slots=True)
class Parameter:
    """One path or query parameter. ``schema`` has no ``$ref`` at its top; of an array, it is the items'.

    ``kind`` is the JSON type of one value; ``plain`` says that any string will do.
    """

    name: str
    place: Literal["path", "query"]
    required: bool
    kind: str
    many: bool
    schema: Schema
    default: Any
    plain: bool


@dataclass(frozen=True, slots=True)
class Body:
    """A request body: JSON that becomes a struct, or anything else, which the operation reads as a stream."""

    kind: BodyKind
    required: bool
    schema: Schema
    decoder: msgspec.json.Decoder[Any] | None


@dataclass(frozen=True, slots=True)
class Declaration:
    """What the contract says about one operation."""

    operation_id: str
    method: str
    path: str
    parameters: tuple[Parameter, ...]
    body: Body | None
    security: Security
    status: int
    media_type: str | None
    reply_schema: Schema | None
    errors: frozenset[int]
    extension: bool

    @property
    def path_names(self) -> tuple[str, ...]:
        """The names of its path parameters, in their order."""
        return tuple(_PARAMETER.findall(self.path))

    @property
    def names_app(self) -> bool:
        """Whether its path names an app, which must then be there and the caller's."""
        return "{appId}" in self.path


class Contract:
    """Every declared operation, and the named schemas they refer to."""

    def __init__(self, contract: Schema, extensions: Schema) -> None:
        self.schemas: dict[str, Schema] = {
            **contract["components"]["schemas"],
            **extensions["components"]["schemas"],
        }
        self._responses: Schema = contract["components"]["responses"]
        self._more: dict[str, list[Schema]] = dict(extensions["parameters"])
        self._optional_bodies = frozenset(extensions["optionalBodies"])
        self.operations: dict[str, Declaration] = {}
        for extension, document in ((False, contract), (True, extensions)):
            for declaration in self._declarations(document, extension):
                if declaration.operation_id in self.operations:
                    raise ValueError(f"{declaration.operation_id} is declared twice")
                self.operations[declaration.operation_id] = declaration
        if unknown := self._more.keys() - self.operations.keys():
            raise ValueError(f"extensions give parameters to unknown operations: {sorted(unknown)}")
        if strangers := self._optional_bodies - self.operations.keys():
            raise ValueError(f"extensions free unknown operations of a body: {sorted(strangers)}")

    def resolve(self, schema: Schema) -> Schema:
        """The schema itself, or the named one it refers to."""
        while "$ref" in schema:
            schema = self.schemas[schema["$ref"].rsplit("/", 1)[1]]
        return schema

    def _declarations(self, document: Schema, extension: bool) -> Iterator[Declaration]:
        for path, item in document["paths"].items():
            for method in _METHODS:
                if method in item:
                    yield self._declaration(path, method, item[method], extension)

    def _declaration(self, path: str, method: str, row: Schema, extension: bool) -> Declaration:
        operation_id = row["operationId"]
        declared = [*row.get("parameters", ()), *self._more.get(operation_id, ())]
        parameters = tuple(self._parameter(parameter) for parameter in declared)
        in_path = {p.name for p in parameters if p.place == "path"}
        if in_path != set(_PARAMETER.findall(path)):
            raise ValueError(f"{operation_id}: the path and its parameters disagree")
        status, media_type, reply_schema, errors = self._replies(row)
        if "security" not in row:
            raise ValueError(f'{operation_id} must say its "security", if only with []')
        security = row["security"]
        return Declaration(
            operation_id=operation_id,
            method=method.upper(),
            path=path,
            parameters=parameters,
            body=self._body(operation_id, row["requestBody"]) if "requestBody" in row else None,
            security=_SECURITY[next(iter(security[0]))] if security else "none",
            status=status,
            media_type=media_type,
            reply_schema=reply_schema,
            errors=errors,
            extension=extension,
        )

    def _parameter(self, row: Schema) -> Parameter:
        schema = self.resolve(row["schema"])
        many = schema["type"] == "array"
        default = schema.get("default")
        if many:
            schema = self.resolve(schema["items"])
        bounded = any(w in schema for w in ("enum", "pattern", "minLength", "maxLength"))
        return Parameter(
            name=row["name"],
            place=row["in"],
            required=row.get("required", False),
            kind=schema["type"],
            many=many,
            schema=schema,
            default=default,
            plain=schema["type"] == "string" and not many and not bounded,
        )

    def _body(self, operation_id: str, row: Schema) -> Body:
        media_type, content = next(iter(row["content"].items()))
        schema = content.get("schema", {})
        required = row.get("required", False) and operation_id not in self._optional_bodies
        if media_type != "application/json":
            return Body("raw", required, schema, None)
        struct = getattr(wire_generated, schema["$ref"].rsplit("/", 1)[1])
        return Body("json", required, schema, msgspec.json.Decoder(struct))

    def _replies(self, row: Schema) -> tuple[int, str | None, Schema | None, frozenset[int]]:
        """The one success status, its media type and schema, and the declared error statuses."""
        statuses = {int(status): reply for status, reply in row["responses"].items()}
        (success,) = [status for status in statuses if status < 300]
        content = statuses[success].get("content", {})
        media_type = next(iter(content), None)
        schema = content[media_type].get("schema") if media_type else None
        return success, media_type, schema, frozenset(statuses.keys() - {success})


def document(name: str) -> bytes:
    """A contract file as it is: ``openapi.json`` or ``extensions.json``."""
    return (files("innkeeper.api") / "contract" / name).read_bytes()


@cache
def load() -> Contract:
    """The contract and our extensions, read once for the whole run."""
    contract, extensions = (json.loads(document(n)) for n in ("openapi.json", "extensions.json"))
    return Contract(cast(Schema, contract), cast(Schema, extensions))
