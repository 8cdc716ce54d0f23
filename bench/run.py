"""What every group gets: a folder on a real disk, progress, and programs that end with the run."""

import json
import os
import select
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from rich.console import Console

T = TypeVar("T")
ROOT = Path(__file__).resolve().parent.parent
MEMORY_FILE_SYSTEMS = ("tmpfs", "ramfs")
START_TIMEOUT_S = 120.0
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(slots=True)
class Run:
    """One run of ``make bench``. ``brief``: the fewest and shortest measurements, to try the harness out."""

    folder: Path
    console: Console
    brief: bool = False
    group: str = ""
    _steps: int = 0
    _begun: float = field(default_factory=time.monotonic)

    def say(self, text: str) -> None:
        """Progress: one line, with the time since the beginning."""
        self._steps += 1
        at = time.monotonic() - self._begun
        self.console.print(f"[dim]{at:6.0f} s[/dim] {self.group}: {text}", highlight=False)

    def rounds(self, usual: int) -> int:
        """How often to repeat."""
        return 1 if self.brief else usual

    def seconds(self, usual: int) -> int:
        """How long one measurement lasts."""
        return 1 if self.brief else usual

    def place(self, name: str) -> Path:
        """A new folder."""
        made = self.folder / name
        made.mkdir(parents=True)
        return made


def file_system_of(path: Path, mounts: str) -> str:
    """The type of the file system that holds ``path``; ``mounts`` is the text of /proc/self/mounts."""
    best, kind = "", "unknown"
    for line in mounts.splitlines():
        point, found = line.split()[1:3]
        inside = point == "/" or path == Path(point) or Path(point) in path.parents
        if inside and len(point) >= len(best):
            best, kind = point, found
    return kind


@dataclass(frozen=True, slots=True)
class Program:
    """A program that was started for a group. ``told`` is the JSON that it printed first."""

    process: "subprocess.Popen[str]"
    told: dict[str, str]

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    def cpu_s(self) -> float:
        """The processor time it has used, all threads, user and kernel."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS_PER_S

    def memory_mb(self) -> tuple[float, float]:
        """Resident memory now, and the most it ever had (MB of 2**20 bytes)."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        found = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        now, most = (int(found[key].split()[0]) / 1024 for key in ("VmRSS", "VmHWM"))
        return now, most


@contextmanager
def program(module: str, arguments: Sequence[str]) -> Iterator[Program]:
    """``python -m module``, until it has printed one line of JSON; ended with SIGTERM, then SIGKILL."""
    process = subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield Program(process, json.loads(_first_line(process)))
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        assert process.stdout is not None
        process.stdout.close()


def _first_line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    if not select.select([process.stdout], [], [], START_TIMEOUT_S)[0]:
        raise RuntimeError(f"{process.args!r} said nothing for {START_TIMEOUT_S:g} s")
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"{process.args!r} ended with {process.wait()}")
    return line


def interleaved(rounds: int, measures: Sequence[tuple[str, Callable[[], T]]]) -> dict[str, list[T]]:
    """Every measure once a round, in turn forwards and backwards: slow drifts weigh on all alike."""
    found: dict[str, list[T]] = {name: [] for name, _ in measures}
    for number in range(rounds):
        for name, measure in measures if number % 2 == 0 else reversed(measures):
            found[name].append(measure())
    return found


def median_ratio(values: Sequence[float], baselines: Sequence[float]) -> float:
    """The median of the ratios of pairs that were measured next to each other."""
    return statistics.median(v / b for v, b in zip(values, baselines, strict=True))
