"""``python -m bench``: measures group by group, prints a table, writes ``bench/results.json``."""

import argparse
import shutil
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from rich.console import Console

from bench import (
    allocation,
    containers,
    growth,
    memory,
    processes,
    reconcile,
    servers,
    stores,
    takeover,
    udp,
    write_amplification,
)
from bench.results import Measurement, not_measured, print_table, write_results
from bench.run import MEMORY_FILE_SYSTEMS, ROOT, Run, file_system_of

Group = Callable[[Run], Iterable[Measurement]]

GROUPS: dict[str, Group] = {
    "allocation": allocation.measure,
    "growth": growth.measure,
    "memory": memory.measure,
    "containers": containers.measure,
    "processes": processes.measure,
    "udp": udp.measure,
    "stores": stores.measure,
    "servers": servers.measure,
    "takeover": takeover.measure,
    "reconcile": reconcile.measure,
    "written": write_amplification.measure,
}
RESULTS = ROOT / "bench" / "results.json"


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 1 where a group failed; a goal that was missed is a result, not a failure."""
    options = _options(arguments)
    console = Console(stderr=True)
    with _folder(Path(options.dir), console) as folder:
        run = Run(folder, console, options.brief)
        found, failed = _measured(run, options.only or list(GROUPS))
    print_table(found, Console() if sys.stdout.isatty() else Console(width=160))
    write_results(options.out, found)
    console.print(f"written: {options.out}", highlight=False)
    return 1 if failed else 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "--only", action="append", choices=GROUPS, metavar="GROUP", help=", ".join(GROUPS)
    )
    parser.add_argument("--out", type=Path, default=RESULTS, help="where the results go")
    parser.add_argument("--dir", default="/var/tmp", help="a directory on the disk to measure")
    parser.add_argument(
        "--brief", action="store_true", help="one short round of each: figures mean little"
    )
    return parser.parse_args(arguments)


def _measured(run: Run, names: Sequence[str]) -> tuple[list[Measurement], bool]:
    """Every group; one that fails is a line with the reason, and the next goes on."""
    found: list[Measurement] = []
    failed = False
    for name in names:
        run.group = name
        try:
            for measurement in GROUPS[name](run):
                found.append(measurement)  # what was measured stays, whatever fails later
        except Exception as error:
            failed = True
            run.console.print(traceback.format_exc(), style="red", highlight=False, markup=False)
            found.append(not_measured(name, "", None, f"{type(error).__name__}: {error}"))
    return found, failed


@contextmanager
def _folder(parent: Path, console: Console) -> Iterator[Path]:
    """A folder for everything that is made, gone at the end; SIGTERM ends the run as Ctrl-C does."""

    def end(*_: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, end)
    folder = Path(tempfile.mkdtemp(prefix="innkeeper-bench-", dir=parent))
    kind = file_system_of(folder.resolve(), Path("/proc/self/mounts").read_text())
    if kind in MEMORY_FILE_SYSTEMS:
        console.print(
            f"[bold red]{parent} is a {kind}[/]: nothing is durable there, and the figures of the store "
            "mean nothing. Use --dir DIRECTORY-ON-A-DISK"
        )
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        sys.exit(main())
    sys.exit(128 + signal.SIGINT)
