"""Org tokens and the org itself (behaviour.md 1.3, 7.2, 7.3, 8.5)."""

from dataclasses import replace
from typing import Any

import pytest

from innkeeper.core.accounts import ADMIN_SCOPES, SCOPES
from innkeeper.core.errors import Invalid, MissingScope, NotFound, Unauthenticated
from innkeeper.core.people import expanded
from innkeeper.usecases import orgs, tokens
from innkeeper.usecases.tokens import NewToken

PRESET = "a preset of 16 or more"


async def test_a_new_token_authenticates_and_only_its_hash_is_kept(desk: Any) -> None:
    org_id = desk.caller.org_id
    made = await desk.ask(tokens.create_token, NewToken(org_id, "ci", ("builds:read-write",)))
    assert made.plain_text.startswith("hathora_org_st_")
    assert made.token.last_four == made.plain_text[-4:]
    assert made.token.created_by == desk.caller.name
    caller = await desk.tx(tokens.authenticate, made.plain_text)
    assert (caller.org_id, caller.scopes) == (org_id, frozenset({"builds:read-write"}))
    row = await desk.store.read(
        lambda tx: tx.one("tokens.by_hash", token_hash=tokens.token_hash(made.plain_text))
    )
    assert made.plain_text not in str(row)
    assert (await desk.ask(tokens.list_tokens, org_id))[0] == made.token


async def test_absent_scopes_mean_admin_which_only_an_admin_can_grant(desk: Any) -> None:
    made = await desk.ask(tokens.create_token, NewToken(desk.caller.org_id, "admin", None))
    assert made.token.scopes is None
    assert (await desk.tx(tokens.authenticate, made.plain_text)).scopes == ADMIN_SCOPES
    lesser = desk.holding("tokens:read-write", "builds:read-write")
    for scopes in (None, ("apps",), ("builds:read", "fleets:read")):
        with pytest.raises((MissingScope, Invalid)) as refused:
            await desk.ask(
                tokens.create_token, NewToken(desk.caller.org_id, "more", scopes), caller=lesser
            )
        assert isinstance(refused.value, Invalid) is (scopes == ("apps",))
    granted = await desk.ask(
        tokens.create_token,
        NewToken(desk.caller.org_id, "less", ("builds:read", "builds:read", "tokens:read")),
        caller=lesser,
    )
    assert granted.token.scopes == ("builds:read", "tokens:read")


async def test_names_are_unique_and_bounded(desk: Any) -> None:
    org_id = desk.caller.org_id
    first = await desk.ask(tokens.create_token, NewToken(org_id, "ci", ()))
    await desk.ask(tokens.revoke_token, (org_id, first.token.org_token_id))
    for name in ("ci", "", "x" * 65):
        with pytest.raises(Invalid, match=r"body\.name"):
            await desk.ask(tokens.create_token, NewToken(org_id, name, None))
    await desk.ask(tokens.create_token, NewToken(org_id, "x" * 64, None))


async def test_a_revoked_token_stops_at_once_and_stays_listed(desk: Any, stranger: Any) -> None:
    org_id = desk.caller.org_id
    made = await desk.ask(tokens.create_token, NewToken(org_id, "ci", None))
    token_id = made.token.org_token_id
    with pytest.raises(NotFound):
        await desk.ask(tokens.revoke_token, (stranger.org_id, token_id), caller=stranger)
    for _ in range(2):
        await desk.ask(tokens.revoke_token, (org_id, token_id))
    with pytest.raises(Unauthenticated) as refused:
        await desk.tx(tokens.authenticate, made.plain_text)
    assert refused.value.message == "Invalid token"
    listed, _ = await desk.ask(tokens.list_tokens, org_id)
    assert listed == replace(made.token, status="revoked")
    with pytest.raises(NotFound):
        await desk.ask(tokens.revoke_token, (org_id, "org-token-none"))


@pytest.mark.parametrize("text", ["", "x", "x" * 5000, "\ud800", "hathora_org_st_"])
async def test_an_unknown_text_is_no_token(desk: Any, text: str) -> None:
    with pytest.raises(Unauthenticated):
        await desk.tx(tokens.authenticate, text)


async def test_another_orgs_tokens_are_not_there(desk: Any) -> None:
    for call in (
        desk.ask(tokens.list_tokens, "org-other"),
        desk.ask(tokens.create_token, NewToken("org-other", "x", None)),
        desk.ask(tokens.revoke_token, ("org-other", desk.caller.name)),
    ):
        with pytest.raises(NotFound, match="Organization"):
            await call


async def test_a_new_preset_replaces_the_old_one(desk: Any) -> None:
    org_id = desk.caller.org_id
    for text in (PRESET, PRESET, "another preset text"):
        await desk.tx(tokens.preset_admin_token, org_id, text, desk.studio.context())
        assert (await desk.tx(tokens.authenticate, text)).scopes == ADMIN_SCOPES
    with pytest.raises(Unauthenticated):
        await desk.tx(tokens.authenticate, PRESET)
    assert len(await desk.ask(tokens.list_tokens, org_id)) == 1
    made = await desk.ask(tokens.create_token, NewToken(org_id, "ci", ()))
    for text in ("short", "with a\nnew line in it", made.plain_text):
        with pytest.raises(Invalid, match="INNKEEPER_ADMIN_TOKEN"):
            await desk.tx(tokens.preset_admin_token, org_id, text, desk.studio.context())


async def test_the_first_org_is_made_once_and_follows_the_settings(desk: Any) -> None:
    desk.studio.policy = replace(desk.studio.policy, memory_mb_max=4096)
    org = await desk.tx(orgs.ensure_first_org, desk.studio.context())
    assert (org.org_id, org.max_requested_memory_mb) == (desk.caller.org_id, 4096)
    assert await desk.ask(orgs.list_orgs, None) == [orgs.OwnOrg(org, desk.caller.scopes)]


def test_scopes_are_shown_with_what_they_include(desk: Any) -> None:
    assert expanded(desk.caller.scopes) == SCOPES
    few = frozenset(("builds:read-write", "orgs:read"))
    assert expanded(few) == ("builds:read", "builds:read-write", "orgs:read")
