"""Size and shape: files of at most 400 lines, functions of at most 50, lines of at most 110 columns."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 50
COLUMNS_MAX = 110
FOLDERS = ("innkeeper", "tests", "tools", "bench", "scripts", "samples")


def python_files() -> Iterator[Path]:
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            if "node_modules" not in path.parts and not path.stem.endswith("_generated"):
                yield path


def story(paths: Iterator[str]) -> None:
    found = list(paths)
    if found:
        pytest.fail("\n".join(found), pytrace=False)


def test_files_are_short() -> None:
    story(
        f"{path.relative_to(ROOT)}: {lines} lines"
        for path in python_files()
        if (lines := len(path.read_text().splitlines())) > FILE_LINES_MAX
    )


def test_lines_are_short() -> None:
    story(
        f"{path.relative_to(ROOT)}:{number}: {len(line)} columns"
        for path in python_files()
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if len(line) > COLUMNS_MAX
    )


def test_functions_are_short() -> None:
    story(
        f"{path.relative_to(ROOT)}:{node.lineno}: {node.name} has {lines} lines"
        for path in python_files()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (lines := (node.end_lineno or node.lineno) - node.lineno + 1) > FUNCTION_LINES_MAX
    )


def test_modules_say_what_they_are_for() -> None:
    story(
        f"{path.relative_to(ROOT)}: no docstring"
        for path in python_files()
        if path.is_relative_to(ROOT / "innkeeper")
        and path.read_text().strip()
        and not ast.get_docstring(ast.parse(path.read_text()))
    )


def test_no_grab_bags() -> None:
    banned = {"utils", "util", "helpers", "helper", "manager", "misc", "common"}
    story(str(path.relative_to(ROOT)) for path in python_files() if path.stem in banned)
