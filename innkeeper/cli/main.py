"""Runs the command line: its endings and exit codes are here, its commands in ``commands``.

Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 130 interrupted.
"""

import io
import signal
import sys


def main() -> None:
    """Run the command line; no traceback for what a person did or a machine refused."""
    try:
        sys.exit(_run())
    except KeyboardInterrupt:
        # A second Ctrl-C while the interpreter winds down would print a traceback.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        sys.exit(130)


def _run() -> int:
    # Imported here, so that a Ctrl-C during the import is caught as well.
    import click

    from innkeeper.cli.commands import innkeeper
    from innkeeper.core.errors import InnkeeperError

    for stream in (sys.stdout, sys.stderr):
        # A game may print anything, and a terminal may not know every character.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        innkeeper.main(standalone_mode=False)
    except click.exceptions.Exit as ending:
        return ending.exit_code
    except click.ClickException as problem:
        problem.show()
        return problem.exit_code
    except InnkeeperError as problem:
        click.echo(f"Error: {problem.message}", err=True)
        return 1
    except BrokenPipeError:
        # Whoever read us has gone (`innkeeper ps | head`); nothing is left to say to them.
        sys.stderr.close()
        return 1
    except click.Abort:
        raise KeyboardInterrupt from None
    return 0
