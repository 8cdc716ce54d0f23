"""What a measurement says: its value beside a baseline, the goal, and whether it was met."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.table import Table

Of = Literal["value", "ratio", "added"]


@dataclass(frozen=True, slots=True)
class Goal:
    """A bound on the value, on its ratio to the baseline, or on what it adds to the baseline."""

    of: Of
    bound: float
    at_most: bool

    def text(self, unit: str) -> str:
        """For people: ``ratio <= 1.15``, ``value >= 8000 1/s``, ``added <= 5 ms``."""
        shown = "" if self.of == "ratio" else f" {unit}"
        return f"{self.of} {'<=' if self.at_most else '>='} {self.bound:.4g}{shown}"

    def met(self, value: float, baseline: float | None) -> bool:
        """Raises ``ValueError`` where the goal needs a baseline and there is none."""
        judged = value
        if self.of != "value":
            if baseline is None:
                raise ValueError(f"a goal for the {self.of} needs a baseline")
            judged = value - baseline if self.of == "added" else ratio_of(value, baseline)
        return judged <= self.bound if self.at_most else judged >= self.bound


def at_most(of: Of, bound: float) -> Goal:
    """The lower the better."""
    return Goal(of, bound, True)


def at_least(of: Of, bound: float) -> Goal:
    """The higher the better."""
    return Goal(of, bound, False)


def ratio_of(value: float, baseline: float) -> float:
    """How many times the baseline. Raises ``ValueError`` for a baseline that is no measurement."""
    if baseline <= 0:
        raise ValueError(f"the baseline must be positive, not {baseline}")
    return value / baseline


@dataclass(frozen=True, slots=True)
class Measurement:
    """One line of the results. ``value`` and ``met`` are ``None`` where ``reason`` says why not.

    ``ratio`` overrides value / baseline: the median over pairs that were measured next to each other.
    """

    name: str
    unit: str
    value: float | None = None
    baseline: float | None = None
    goal: Goal | None = None
    ratio: float | None = None
    detail: str = ""
    reason: str = ""

    def as_json(self) -> dict[str, Any]:
        """As it stands in ``results.json``."""
        shown: dict[str, Any] = {
            "name": self.name,
            "value": _rounded(self.value),
            "unit": self.unit,
            "baseline": _rounded(self.baseline),
            "ratio": _rounded(self._ratio()),
            "goal": None if self.goal is None else self.goal.text(self.unit),
            "met": self.met,
        }
        for name, text in (("detail", self.detail), ("reason", self.reason)):
            if text:
                shown[name] = text
        return shown

    @property
    def met(self) -> bool | None:
        """Whether the goal was met; ``None`` without a goal or a value."""
        if self.goal is None or self.value is None:
            return None
        if self.goal.of == "ratio" and self.ratio is not None:
            return self.goal.met(self.ratio, 1.0)
        return self.goal.met(self.value, self.baseline)

    def _ratio(self) -> float | None:
        if self.ratio is not None:
            return self.ratio
        if self.value is None or self.baseline is None:
            return None
        return ratio_of(self.value, self.baseline)


def not_measured(name: str, unit: str, goal: Goal | None, reason: str) -> Measurement:
    """A line that says why there is no figure."""
    return Measurement(name, unit, goal=goal, reason=reason)


def write_results(path: Path, measurements: Sequence[Measurement]) -> None:
    """Replace the file at once: a reader sees the old results or the new ones."""
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_suffix(".new")
    half.write_text(json.dumps([m.as_json() for m in measurements], indent=1) + "\n")
    half.replace(path)


def print_table(measurements: Sequence[Measurement], console: Console) -> None:
    """All figures, and below them what stands behind each."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("measurement", "value", "baseline", "ratio", "goal", "met"):
        left = column in ("measurement", "goal")
        table.add_column(column, justify="left" if left else "right", no_wrap=True)
    for each in measurements:
        ratio = each.as_json()["ratio"]
        table.add_row(
            each.name,
            _shown(each.value, each.unit),
            _shown(each.baseline, each.unit),
            "" if ratio is None else f"{ratio:.2f}",
            "" if each.goal is None else each.goal.text(each.unit),
            {True: "yes", False: "NO", None: "-"}[each.met],
        )
    console.print(table)
    for each in measurements:
        for text in (each.detail, each.reason and f"NOT MEASURED: {each.reason}"):
            if text:
                console.print(f"{each.name}: {text}", highlight=False, markup=False)


def _rounded(number: float | None) -> float | None:
    return None if number is None else float(f"{number:.4g}")


def _shown(number: float | None, unit: str) -> str:
    if number is None:
        return ""
    return f"{number:,.0f} {unit}" if abs(number) >= 1000 else f"{number:.4g} {unit}"
