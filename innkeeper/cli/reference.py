"""Writes the generated pages of the reference: ``python -m innkeeper.cli.reference DIR``."""

import inspect
import sys
from dataclasses import fields
from pathlib import Path

import click

from innkeeper.cli.commands import innkeeper
from innkeeper.config import Settings, flag_of, shown_default, variable_of

_NOTE = "<!-- Made by `make docs` from the code; edit that. -->\n"


def settings_page() -> str:
    """Every setting: its flag, its variable, its default, and what it is for."""
    lines = [
        "# Settings",
        _NOTE,
        "Every flag of `innkeeper serve` has a variable; the flag wins. An empty variable counts as absent.",
    ]
    for each in fields(Settings):
        shape = f" {each.metadata['shape']}" if each.metadata["shape"] else ""
        lines += [
            f"\n## `{flag_of(each)}{shape}`",
            each.metadata["doc"],
            f"\n- Variable: `{variable_of(each)}`",
            f"- Default: {shown_default(each)}",
        ]
    return "\n".join(lines) + "\n"


def cli_page() -> str:
    """Every command with its arguments and options, but for what the page of settings has."""
    lines = [
        "# Command line",
        _NOTE,
        "Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 130 interrupted.",
    ]
    for path, command in _commands("innkeeper", innkeeper):
        lines += _command_section(path, command)
    return "\n".join(lines) + "\n"


def _commands(path: str, command: click.Command) -> list[tuple[str, click.Command]]:
    if not isinstance(command, click.Group):
        return [(path, command)]
    found = []
    for name in sorted(command.commands):
        found += _commands(f"{path} {name}", command.commands[name])
    return found


def _command_section(path: str, command: click.Command) -> list[str]:
    context = click.Context(command, info_name=path)
    usage = " ".join(command.collect_usage_pieces(context))
    about = inspect.cleandoc(command.help or "")
    lines = [f"\n## `{path}`", f"```\n{path} {usage}\n```", about]
    if command.name in ("serve", "up"):
        return [*lines, "\nIts options are the [settings](settings.md)."]
    options = [each for each in command.params if isinstance(each, click.Option)]
    rows = [each.get_help_record(context) for each in options]
    cells = [f"| `{row[0]}` | {_cell(row[1])} |" for row in rows if row is not None]
    return [*lines, "\n| option | what it does |", "| --- | --- |", *cells] if cells else lines


def _cell(text: str) -> str:
    return text.strip().replace("|", "\\|") or " "


def main(target: Path) -> None:
    """Write both pages into ``target``."""
    target.mkdir(parents=True, exist_ok=True)
    (target / "settings.md").write_text(settings_page(), "utf-8")
    (target / "cli.md").write_text(cli_page(), "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
