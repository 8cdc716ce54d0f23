"""What the journal costs a room: durable allocations a second with its event and without, in turns.

    python -m bench.journal_cost [--rounds 7] [--seconds 2] [--callers 32] [--follow] [--dir DIR]

With ``--follow``, a stream of all events is read meanwhile. Prints both rates and their ratio, and the CPU
time of each, which a busy machine changes less: medians.
"""

import argparse
import asyncio
import contextlib
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import uvloop

from bench.store_writer import CALLER, measure, seed, settle_collector
from innkeeper.store.opening import open_store
from innkeeper.usecases import journal
from innkeeper.usecases.tail import Tail


async def _follow(tail: Tail) -> None:
    async for _ in tail.follow(CALLER.org_id, (0, 0), lambda event: True, 15.0):
        pass


async def main(options: argparse.Namespace) -> None:
    """One new store for both, so that its growth is the same for both."""
    real: Any = journal.of_new_room

    def nothing(*_: object, **__: object) -> None:
        return

    rates: dict[str, list[float]] = {"with": [], "without": []}
    cpu_us: dict[str, list[float]] = {"with": [], "without": []}
    with tempfile.TemporaryDirectory(dir=options.dir) as directory:
        store = await open_store(Path(directory) / "bench.db")
        await store.write(lambda tx: seed(tx, 10_400))
        following = asyncio.create_task(_follow(Tail(store))) if options.follow else None
        settle_collector()
        for number in range(options.rounds * 2):
            name = "with" if number % 2 else "without"
            journal.of_new_room = real if name == "with" else nothing
            began = time.process_time()
            figures = await measure(store, options.callers, options.seconds)
            cpu_s = time.process_time() - began
            rates[name].append(figures.rate)
            cpu_us[name].append(cpu_s * 1e6 / (figures.rate * options.seconds))
        if following is not None:
            following.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await following
        await store.close()
    costs = {name: statistics.median(each) for name, each in cpu_us.items()}
    middle = {name: statistics.median(each) for name, each in rates.items()}
    ratios = [a / b for a, b in zip(rates["with"], rates["without"], strict=True)]
    print(
        f"with the event {middle['with']:,.0f}/s, without {middle['without']:,.0f}/s, "
        f"ratio {statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})\n"
        f"CPU of an allocation: {costs['with']:.1f} us with the event, {costs['without']:.1f} us without, "
        f"{costs['with'] / costs['without'] - 1:+.1%}"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--callers", type=int, default=32)
    parser.add_argument("--follow", action="store_true")
    parser.add_argument("--dir", help="where to make the store; the disk that is to be measured")
    uvloop.run(main(parser.parse_args()))
