"""Shows what takes long: spinners and bars on a terminal, plain lines elsewhere."""

import contextlib
import time
from collections.abc import Callable, Iterator

import click
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

Say = Callable[[str], None]


class Steps:
    """Steps one after the other, each with the time it took."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False)

    @contextlib.contextmanager
    def step(self, title: str) -> Iterator[Say]:
        """A step; the given function says what it is doing just now."""
        begun = time.monotonic()
        if self._console.is_terminal:
            with self._console.status(title) as status:

                def say(text: str) -> None:
                    status.update(f"{title}: {text}")

                yield say
        else:
            click.echo(f"… {title}")
            yield _plain_line
        click.echo(f"✓ {title} ({time.monotonic() - begun:.1f} s)")

    def line(self, text: str) -> None:
        """A line of its own, above a spinner if there is one."""
        if self._console.is_terminal:
            self._console.print(f"  {text}", markup=False, highlight=False, soft_wrap=True)
        else:
            _plain_line(text)

    @contextlib.contextmanager
    def bytes(self, title: str, total: int) -> Iterator[Callable[[int], None]]:
        """A step over ``total`` bytes; the given function says that so many more are done."""
        columns = (TextColumn(title), BarColumn(), DownloadColumn(), TransferSpeedColumn())
        terminal = self._console.is_terminal
        progress = Progress(*columns, console=self._console, transient=True, disable=not terminal)
        begun = time.monotonic()
        with progress:
            task = progress.add_task(title, total=total)
            yield lambda count: progress.update(task, advance=count)
        click.echo(f"✓ {title} ({total:,} bytes, {time.monotonic() - begun:.1f} s)")


def _plain_line(text: str) -> None:
    click.echo(f"  {text}")
