"""``innkeeper user``: people with tokens of their own, whom organizations invite."""

from datetime import UTC, datetime

import click

from innkeeper.cli.api import Api, Json, api_options, segment
from innkeeper.cli.processes import age, table

_USERS = "/innkeeper/v1/users"


@click.group()
def user() -> None:
    """Make users, and give them tokens."""


@user.command()
@click.argument("email")
@click.option("--org", "org_name", metavar="NAME", help="Make an organization of theirs, too.")
@api_options
def create(api: Api, email: str, org_name: str | None) -> None:
    """Make a user and a first token, which is printed this once."""
    body = {"userEmail": email} if org_name is None else {"userEmail": email, "orgName": org_name}
    made: Json = api.call("POST", _USERS, body)
    click.echo(f"user {made['userEmail']} ({made['userId']})", err=True)
    _print_token(api, email)


@user.command()
@click.argument("email")
@api_options
def token(api: Api, email: str) -> None:
    """Give a user one more token, which is printed this once."""
    _print_token(api, email)


def _print_token(api: Api, email: str) -> None:
    made: Json = api.call("POST", f"{_USERS}/{segment(email)}/tokens")
    click.echo(made["plainTextToken"])


@user.command("list")
@api_options
def list_users(api: Api) -> None:
    """List the users."""
    found: list[Json] = api.call("GET", _USERS)["users"]
    rows: list[tuple[str, ...]] = [("EMAIL", "USER", "AGE", "MADE BY")]
    rows += [(u["userEmail"], u["userId"], _age(u), u["createdBy"]) for u in found]
    click.echo(table(rows))


@user.command()
@click.argument("email")
@api_options
def tokens(api: Api, email: str) -> None:
    """List a user's tokens, newest first, by their last four characters."""
    found: list[Json] = api.call("GET", f"{_USERS}/{segment(email)}")["tokens"]
    rows: list[tuple[str, ...]] = [("TOKEN", "ENDS WITH", "STATUS", "AGE", "MADE BY")]
    rows += [
        (t["userTokenId"], t["lastFourCharsOfKey"], t["status"], _age(t), t["createdBy"])
        for t in found
    ]
    click.echo(table(rows))


def _age(made: Json) -> str:
    return age(datetime.now(UTC) - datetime.fromisoformat(made["createdAt"]))


@user.command()
@click.argument("email")
@click.argument("token_id")
@api_options
def revoke(api: Api, email: str, token_id: str) -> None:
    """Stop one of a user's tokens from working."""
    api.call("POST", f"{_USERS}/{segment(email)}/tokens/{segment(token_id)}/revoke")
    click.echo(f"token {token_id} revoked")
