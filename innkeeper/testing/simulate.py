"""``python -m innkeeper.testing.simulate --seeds 1000``: seeded histories; exit status 1 where one fails."""

import asyncio
import logging
import sys
import tempfile
import time
from pathlib import Path

import click

from innkeeper.testing.world import World

STEPS = 60


async def run_seed(seed: int, steps: int = STEPS) -> int:
    """One history; returns how many crashes it held. Raises ``AssertionError`` with seed and story."""
    with tempfile.TemporaryDirectory(prefix="innkeeper-world-") as directory:
        world = World(seed, Path(directory))
        await world.run(steps)
        return world.crashes


@click.command()
@click.option("--seeds", default=100, show_default=True, help="How many histories.")
@click.option("--first", default=1, show_default=True, help="The first seed.")
@click.option("--steps", default=STEPS, show_default=True, help="Steps of each before it may rest.")
def main(seeds: int, first: int, steps: int) -> None:
    """Run seeded histories of the whole life cycle; a failing seed replays exactly."""
    logging.disable(logging.CRITICAL)
    began, crashes = time.monotonic(), 0
    for number, seed in enumerate(range(first, first + seeds), start=1):
        try:
            crashes += asyncio.run(run_seed(seed, steps))
        except AssertionError as broken:
            click.echo(f"{broken}\nreplay: --first {seed} --seeds 1 --steps {steps}", err=True)
            sys.exit(1)
        if number % 50 == 0:
            click.echo(f"{number} of {seeds} seeds, {crashes} crashes survived")
    took = time.monotonic() - began
    click.echo(f"{seeds} seeds held, {crashes} crashes survived, {took:.0f} s")


if __name__ == "__main__":
    main()
