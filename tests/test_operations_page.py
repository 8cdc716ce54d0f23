"""docs/reference/operations.md claims what `make conformance` last saw, and that is every operation."""

import ast
import json
from pathlib import Path

from innkeeper.api.rows import OPERATIONS
from innkeeper.testing.operations_record import (
    PAGE_NAME,
    RECORD_NAME,
    page,
    sdk_operations,
    verdict,
)

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = ROOT / "docs/reference"
CONFORMANCE = ROOT / "tests/conformance"
RECORD = json.loads((REFERENCE / RECORD_NAME).read_text())


def test_the_page_is_what_the_record_says() -> None:
    assert (REFERENCE / PAGE_NAME).read_text() == page(RECORD)


def test_the_record_is_of_the_locked_sdk_and_counts_its_own_methods() -> None:
    locked = json.loads((CONFORMANCE / "package.json").read_text())["dependencies"]
    assert RECORD["sdk"] == locked["@hathora/cloud-sdk-typescript"]
    assert set(RECORD["operations"]) == {each.call for each in sdk_operations()}
    assert len(RECORD["operations"]) == 134


def test_every_operation_that_is_served_passes() -> None:
    served = {row.operation_id for row in OPERATIONS}
    told = {
        each.call: verdict(RECORD, each.call)[0]
        for each in sdk_operations()
        if each.operation_id in served
    }
    assert {call: word for call, word in told.items() if word != "passed"} == {}


def test_every_recorded_test_is_still_there() -> None:
    there = {
        f"{path.name}::{node.name}"
        for path in CONFORMANCE.glob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef)
    }
    named = {name.partition("[")[0] for name, _ in RECORD["tests"]}
    assert named - there == set(), "run `make conformance`"
