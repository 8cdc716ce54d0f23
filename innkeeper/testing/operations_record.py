"""What the conformance suite called and how it ended, as JSON, and the reference page made from that alone.

``python -m innkeeper.testing.operations_record DIR`` prints the table of ``DIR/operations.json`` and writes
``DIR/operations.md``; so the page can claim no more than was run.
"""

import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from innkeeper.api import contract

Verdict = Literal["passed", "failed", "untested"]
RECORD_NAME, PAGE_NAME = "operations.json", "operations.md"
_PREFIX = "hathora."


@dataclass(frozen=True, slots=True)
class SdkOperation:
    """An operation of the contract with the SDK's name for it, such as ``roomsV2.createRoom``."""

    operation_id: str
    call: str
    method: str
    path: str


def sdk_operations() -> list[SdkOperation]:
    """Every operation that the official SDK calls, by family."""
    document = json.loads(contract.document("openapi.json"))
    found = [
        SdkOperation(row["operationId"], row["x-sdk-call"].removeprefix(_PREFIX), method, path)
        for path, item in document["paths"].items()
        for method, row in item.items()
        if isinstance(row, dict) and "x-sdk-call" in row
    ]
    return sorted(found, key=lambda each: each.call)


@dataclass(slots=True)
class Recorder:
    """Listens while the suite runs: ``begin`` a test, ``heard`` its calls, ``ended`` how."""

    outcomes: dict[str, str] = field(default_factory=dict)
    calls: dict[str, dict[str, bool]] = field(default_factory=dict)
    _test: str = ""

    def begin(self, test: str) -> None:
        """What is called from now on, is called by this test or by what it needs."""
        self._test = test

    def heard(self, call: str, succeeded: bool) -> None:
        """A call of the SDK; of a test's calls of one operation, one success counts."""
        tests = self.calls.setdefault(call, {})
        tests[self._test] = tests.get(self._test, False) or succeeded

    def ended(self, test: str, outcome: str) -> None:
        """``passed`` or ``failed``; a test that failed in any part has failed."""
        if self.outcomes.get(test) != "failed":
            self.outcomes[test] = outcome

    def record(self, sdk_version: str, methods: Iterable[str]) -> dict[str, Any]:
        """As JSON: ``tests`` are names with outcomes, operations refer to them by their place.

        ``methods`` are the SDK's own. ``succeeded`` are the tests in which a call was answered with success,
        ``refused`` those that only saw it refused.
        """
        ran = [test for test, outcome in self.outcomes.items() if outcome in ("passed", "failed")]
        places = {test: place for place, test in enumerate(sorted(ran))}
        operations: dict[str, dict[str, list[int]]] = {}
        for method in sorted(methods):
            heard = {t: good for t, good in self.calls.get(method, {}).items() if t in places}
            operations[method] = {
                "succeeded": sorted(places[test] for test, good in heard.items() if good),
                "refused": sorted(places[test] for test, good in heard.items() if not good),
            }
        tests = [[test, self.outcomes[test]] for test in places]
        return {"sdk": sdk_version, "tests": tests, "operations": operations}


def verdict(record: Mapping[str, Any], call: str) -> tuple[Verdict, list[str]]:
    """Of one operation, with the tests that say so.

    It passed where a test that passed saw it succeed, and no test that called it failed.
    """
    row = record["operations"].get(call, {"succeeded": [], "refused": []})
    tests = dict(record["tests"])
    names = [record["tests"][at][0] for at in (*row["succeeded"], *row["refused"])]
    if failed := [name for name in names if tests[name] != "passed"]:
        return "failed", failed
    return ("passed", names) if row["succeeded"] else ("untested", names)


def page(record: Mapping[str, Any]) -> str:
    """The reference page."""
    operations = sdk_operations()
    passed = sum(verdict(record, each.call)[0] == "passed" for each in operations)
    marks = {mark for name, _ in record["tests"] for mark in re.split(r"[\[\]-]", name)[1:]}
    runtimes = " and ".join(sorted(marks & {"container", "process"})) or "no"
    lines = [
        "# Operations",
        "<!-- Made by `make conformance` from what it ran, kept in operations.json. Edit neither. -->",
        "",
        f"**{passed} of {len(operations)} operations** pass their conformance tests, called through the",
        f"official TypeScript SDK {record['sdk']} against a live Innkeeper ({runtimes} runtime). An",
        "operation passes where a test saw it succeed with the effect it should have, and no test that",
        "called it failed.",
    ]
    family = ""
    for each in operations:
        if each.call.partition(".")[0] != family:
            family = each.call.partition(".")[0]
            title = family[0].upper() + family[1:]
            lines += [
                f"\n## {title}",
                "",
                "| operation | call | path | tests | |",
                "|---|---|---|---|---|",
            ]
        lines.append(_page_row(record, each))
    return "\n".join(lines) + "\n"


def _page_row(record: Mapping[str, Any], each: SdkOperation) -> str:
    word, tests = verdict(record, each.call)
    name = each.call.partition(".")[2]
    where = f"{each.method.upper()} `{each.path}`"
    return f"| {each.operation_id} | `{name}` | {where} | {len(tests)} | {word} |"


def table(record: Mapping[str, Any]) -> Iterator[str]:
    """Operation by operation, for a terminal, and the sum."""
    operations = sdk_operations()
    width = max(len(each.call) for each in operations)
    counts = {"passed": 0, "failed": 0, "untested": 0}
    for each in operations:
        word, tests = verdict(record, each.call)
        counts[word] += 1
        story = f"  {', '.join(tests)}" if word == "failed" else ""
        yield f"{each.call:<{width}}  {word:<8} {len(tests):>4} tests{story}"
    parts = (f"{count} {word}" for word, count in counts.items())
    yield f"{len(operations)} operations: {', '.join(parts)}"


def main(folder: Path) -> None:
    """Print the table and write the page."""
    record = json.loads((folder / RECORD_NAME).read_text("utf-8"))
    for line in table(record):
        print(line)
    (folder / PAGE_NAME).write_text(page(record), "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
