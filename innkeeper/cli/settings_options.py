"""Command-line options made from the fields of ``Settings``: one source for flags, variables and help."""

import os
from collections.abc import Callable
from dataclasses import Field, fields
from typing import Any, TypeVar

import click

from innkeeper.config import Settings, flag_of, misspelt, shown_default, variable_of
from innkeeper.core.errors import Invalid

F = TypeVar("F", bound=Callable[..., Any])


def settings_options(command: F) -> F:
    """Add an option for each setting; the command gets their texts by field name."""
    for each in reversed(fields(Settings)):
        command = _option(each)(command)
    return command


def _option(each: "Field[Any]") -> Callable[[F], F]:
    text = each.metadata["doc"].replace("`", "")
    text += f" [{variable_of(each)}; default: {shown_default(each).replace('`', '')}]"
    if each.metadata["shape"]:
        return click.option(flag_of(each), each.name, metavar=each.metadata["shape"], help=text)
    # A switch: absent means "not said", so that its variable can still speak.
    return click.option(flag_of(each), each.name, flag_value="on", default=None, help=text)


def read_settings(flags: dict[str, str | None]) -> Settings:
    """The settings of this command; wrong ones end it with exit code 2."""
    try:
        settings = Settings.load(flags, os.environ)
    except Invalid as wrong:
        raise click.UsageError(f"{wrong.field} {wrong.problem}") from None
    for sentence in misspelt(os.environ):
        click.echo(f"innkeeper: {sentence}", err=True)
    return settings
