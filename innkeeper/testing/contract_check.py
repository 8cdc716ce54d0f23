"""Checks a reply against the contract, more strictly than any client: for tests of every kind.

Refuses undeclared statuses, media types and fields, and enum values that the contract does not name.
"""

import json
from collections.abc import Mapping

from innkeeper.api import contract
from innkeeper.api.validation import Checker

# Allowed on every operation whatever it declares (clarifications); 503 must say when to come back.
ALWAYS_ALLOWED = frozenset({405, 413, 501, 503})


class ContractBroken(AssertionError):
    """A reply that the contract does not allow; the message lists every fault."""


def faults_of(operation_id: str, status: int, headers: Mapping[str, str], body: bytes) -> list[str]:
    """What is wrong with a reply, as sentences; empty where all is well."""
    loaded = contract.load()
    declaration = loaded.operations[operation_id]
    given = {name.lower(): value for name, value in headers.items()}
    media_type = given.get("content-type", "").partition(";")[0].strip() or None
    if status == declaration.status:
        schema, expected = declaration.reply_schema, declaration.media_type
    elif status in declaration.errors or status in ALWAYS_ALLOWED:
        schema, expected = {"$ref": "#/components/schemas/ApiError"}, "application/json"
    else:
        return [f"status {status} is not declared"]
    faults = []
    if status in (429, 503) and not given.get("retry-after", "").isdigit():
        faults.append(f"status {status} lacks Retry-After in seconds")
    if expected is None:
        return faults + (["the body must be empty"] if body else [])
    if media_type != expected:
        return [*faults, f"the media type is {media_type}, not {expected}"]
    if expected != "application/json" or schema is None:
        return faults
    try:
        value = json.loads(body)
    except ValueError as fault:
        return [*faults, f"the body is not JSON: {fault}"]
    if status >= 400 and isinstance(value, dict):
        value.pop("details", None)  # the one addition to ApiError (behaviour.md 9)
    for shown in value if isinstance(value, list) else [value]:
        # A room's status that is older than the contract's enum, and still told (behaviour.md 5.4).
        if (
            isinstance(shown, dict)
            and "allocations" in shown
            and shown.get("status") == "suspended"
        ):
            shown["status"] = "scheduling"
    # Fields that only the older contract had, and its clients still need (behaviour.md 4.1).
    if operation_id == "GetStoppedProcesses" and isinstance(value, list):
        schema = {"type": "array", "items": {"$ref": "#/components/schemas/ProcessWithRooms"}}
    checker = Checker(loaded.resolve, strict=True)
    return faults + [f"{f.field} {f.problem}" for f in checker.faults(schema, value, "reply")]


def check_reply(operation_id: str, status: int, headers: Mapping[str, str], body: bytes) -> None:
    """Raise :class:`ContractBroken` unless the contract allows this reply."""
    faults = faults_of(operation_id, status, headers, body)
    if faults:
        shown = body[:500].decode(errors="replace")
        raise ContractBroken(f"{operation_id} {status}: {'; '.join(faults)}\n{shown}")
