"""Memory of a control plane that looks after 1,000 live processes of the mock runtime."""

import time

from bench.allocation import CONTROL_PLANE, ask
from bench.results import Measurement, at_most
from bench.run import Run, program

LIVE = 1000
GOAL = at_most("value", 150)
PASSES_S = 7  # some three listings, each followed by a pass


def measure(run: Run) -> list[Measurement]:
    """Resident memory after passes and requests; beside it that of one without processes."""
    settled = {}
    for count in (0, LIVE):
        run.say(f"{count} live processes, {PASSES_S} s of passes, then requests")
        data_dir = run.place(f"memory-{count}")
        with program(CONTROL_PLANE, [str(data_dir), "--processes", str(count)]) as server:
            time.sleep(PASSES_S)
            before = server.cpu_s()
            time.sleep(PASSES_S)
            idle = (server.cpu_s() - before) / PASSES_S
            ask(server, 32, run.seconds(2)) if count else None
            settled[count] = (*server.memory_mb(), idle)
    now, most, idle = settled[LIVE]
    detail = (
        f"at most {most:.0f} MB; passes alone take {100 * idle:.1f} % of a core; "
        "the baseline looks after none. The mock runtime's own records are in it"
    )
    return [
        Measurement(
            f"memory with {LIVE:,} live processes", "MB", now, settled[0][0], GOAL, detail=detail
        )
    ]
