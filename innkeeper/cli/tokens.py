"""``innkeeper token-limit``: how often programs may call with a token."""

import click

from innkeeper.cli.api import Api, Json, api_options, segment

_DIGITS_MAX = 9


def _calls(text: str) -> int | None:
    """A whole number of calls; 0 for ``off``, ``None`` for ``default``; else a usage error."""
    if text == "default":
        return None
    if text == "off":
        return 0
    if text.isascii() and text.isdigit() and len(text) <= _DIGITS_MAX:
        return int(text)
    raise click.BadParameter(f"{text!r} is not a number of calls, off or default", param_hint="N")


@click.command("token-limit")
@click.argument("org_token_id")
@click.argument("rate", metavar="N|off|default")
@api_options
def token_limit(api: Api, org_token_id: str, rate: str) -> None:
    """Let an organization's token call N times in a second.

    "off" is no limit, "default" the installation's setting.
    """
    body = {"callsPerSecond": _calls(rate)}
    now: Json = api.call("POST", f"/innkeeper/v1/tokens/{segment(org_token_id)}/limit", body)
    calls = now["callsPerSecond"]
    said = {None: "as the installation's setting says", 0: "without a limit"}
    how_often = said.get(calls, f"{calls} times in a second")
    click.echo(f"token {now['orgTokenId']} may call {how_often}")
