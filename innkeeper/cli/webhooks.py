"""``innkeeper webhooks``: whom events are sent to."""

from datetime import timedelta

import click

from innkeeper.cli.api import Api, Json, api_options, segment
from innkeeper.cli.processes import age, table

_PATH = "/innkeeper/v1/webhooks"
_HEADINGS = ("WEBHOOK", "STATUS", "BEHIND", "URL", "APP", "KINDS", "LAST ERROR")


@click.group()
def webhooks() -> None:
    """Have events sent to programs of yours, signed as Standard Webhooks are."""


@webhooks.command()
@click.argument("receiver", metavar="URL")
@click.option("--app", metavar="NAME", help="Events of this app only. [default: all apps]")
@click.option(
    "--kind", "kinds", multiple=True, metavar="KIND", help="Only this kind; may be repeated."
)
@api_options
def add(api: Api, receiver: str, app: str | None, kinds: tuple[str, ...]) -> None:
    """Send what happens from now on to URL; prints the secret that its signatures are checked with, once."""
    body: Json = {"url": receiver}
    if app is not None:
        body["appId"] = api.app_id(app)
    if kinds:
        body["kinds"] = list(kinds)
    made: Json = api.call("POST", _PATH, body)
    click.echo(f"webhook {made['webhook']['webhookId']}")
    click.echo(f"secret (shown once): {made['secret']}")


@webhooks.command("list")
@api_options
def list_(api: Api) -> None:
    """List the organization's webhooks, and how their deliveries go."""
    answer: Json = api.call("GET", _PATH)
    if not answer["webhooks"]:
        click.echo("no webhooks", err=True)
        return
    click.echo(table([_HEADINGS, *(_row(hook) for hook in answer["webhooks"])]))


def _row(hook: Json) -> tuple[str, ...]:
    lag = timedelta(seconds=hook["lagSeconds"])
    return (
        hook["webhookId"],
        hook["status"],
        age(lag) if lag else "-",
        hook["url"],
        hook.get("appId", "all"),
        ",".join(hook.get("kinds", ["all"])),
        hook.get("lastError", ""),
    )


@webhooks.command()
@click.argument("webhook")
@api_options
def remove(api: Api, webhook: str) -> None:
    """Send WEBHOOK nothing any more."""
    api.call("DELETE", f"{_PATH}/{segment(webhook)}")
    click.echo(f"webhook {webhook} removed")


@webhooks.command()
@click.argument("webhook")
@api_options
def ping(api: Api, webhook: str) -> None:
    """Send WEBHOOK a test event now; exit code 1 where it does not take it."""
    answer: Json = api.call("POST", f"{_PATH}/{segment(webhook)}/ping")
    if not answer["delivered"]:
        raise click.ClickException(f"not taken: {answer['message']}")
    click.echo(f"taken: {answer['message']}")


@webhooks.command()
@click.argument("webhook")
@api_options
def enable(api: Api, webhook: str) -> None:
    """Send to WEBHOOK again at once, after it was disabled or while it waits for its next try."""
    api.call("POST", f"{_PATH}/{segment(webhook)}/enable")
    click.echo(f"webhook {webhook} enabled")
