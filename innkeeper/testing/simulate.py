"""``python -m innkeeper.testing.simulate --seeds 1000``: seeded histories; exit status 1 where one fails."""

import logging
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import click

from innkeeper.testing.world import World

STEPS = 60
SHARE = 10  # seeds that a worker runs at a go
TOLD_EVERY_S = 5.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of some seeds: how many programs ended, and what the first failure told."""

    seeds: int
    crashes: int
    failed_seed: int | None = None
    failure: str = ""


def _place() -> str | None:
    """Where the databases go: into memory, where the machine has such a file system."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108


def run_seed(seed: int, steps: int = STEPS) -> World:
    """One history, which is over. Raises ``AssertionError`` with seed and story."""
    with tempfile.TemporaryDirectory(prefix="innkeeper-world-", dir=_place()) as directory:
        world = World(seed, Path(directory))
        world.run(steps)
        return world


def run_share(first: int, count: int, steps: int) -> Outcome:
    """Some histories, one after the other, up to the first that fails."""
    logging.getLogger().addHandler(logging.NullHandler())  # warnings are a part of what is tried
    crashes = 0
    for number, seed in enumerate(range(first, first + count), start=1):
        try:
            crashes += run_seed(seed, steps).crashes
        except AssertionError as broken:
            return Outcome(number, crashes, seed, str(broken))
    return Outcome(count, crashes)


def run_all(first: int, seeds: int, steps: int, workers: int) -> Iterator[Outcome]:
    """Shares in the order of their seeds, so that the same failure is told first every time."""
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        shares: list[Future[Outcome]] = [
            pool.submit(run_share, begin, min(SHARE, first + seeds - begin), steps)
            for begin in range(first, first + seeds, SHARE)
        ]
        try:
            for share in shares:
                yield share.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


@click.command()
@click.option("--seeds", default=100, show_default=True, help="How many histories.")
@click.option("--first", default=1, show_default=True, help="The first seed.")
@click.option("--steps", default=STEPS, show_default=True, help="Steps of each before it may rest.")
@click.option("--workers", default=os.cpu_count() or 1, help="Processes; usually one a core.")
@click.option("--story", is_flag=True, help="Print the whole story of the first seed, and no more.")
def main(seeds: int, first: int, steps: int, workers: int, story: bool) -> None:
    """Run seeded histories of the whole life cycle; a failing seed replays exactly."""
    if story:
        logging.getLogger().addHandler(logging.NullHandler())
        sys.exit(_tell(first, steps))
    began = told_at = time.monotonic()
    done = crashes = 0
    for outcome in run_all(first, seeds, steps, min(workers, -(-seeds // SHARE))):
        done, crashes = done + outcome.seeds, crashes + outcome.crashes
        if outcome.failed_seed is not None:
            replay = f"--first {outcome.failed_seed} --seeds 1 --steps {steps}"
            click.echo(outcome.failure, err=True)
            click.echo(f"replay: python -m innkeeper.testing.simulate {replay}", err=True)
            click.echo("its whole story: the same with --story", err=True)
            sys.exit(1)
        if time.monotonic() - told_at > TOLD_EVERY_S:
            told_at = time.monotonic()
            click.echo(f"{done} of {seeds} seeds held, {crashes} programs ended and begun anew")
    took_s = time.monotonic() - began
    click.echo(f"{done} seeds held, {crashes} programs ended and begun anew, {took_s:.0f} s")


def _tell(seed: int, steps: int) -> int:
    with tempfile.TemporaryDirectory(prefix="innkeeper-world-", dir=_place()) as directory:
        world = World(seed, Path(directory))
        failure = ""
        try:
            world.run(steps)
        except AssertionError as broken:
            failure = str(broken).partition("\n")[0]
    click.echo("\n".join(world.story.lines))
    if failure:
        click.echo(failure, err=True)
    return 1 if failure else 0


if __name__ == "__main__":
    main()
