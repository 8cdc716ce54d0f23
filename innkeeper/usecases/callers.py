"""Who calls: an org token's holder, or a user in the one organization that the call is about (0.3, 7.2)."""

from innkeeper.core.accounts import Caller
from innkeeper.core.ids import USER_TOKEN_PREFIX
from innkeeper.core.people import scopes_of
from innkeeper.interfaces import Tx
from innkeeper.usecases import members, tokens, users


def identify(tx: Tx, text: str, org_id: str | None = None, app_id: str | None = None) -> Caller:
    """The holder of a token.

    A user who belongs to several organizations acts in the one that is named; else in that of the app
    that is named; else in the one they have belonged to longest. A name that is none of theirs selects
    nothing, and is refused later, as for everybody. Raises :class:`Unauthenticated` where the token is
    unknown or revoked.
    """
    if text.startswith(USER_TOKEN_PREFIX) and len(text) <= tokens.PLAIN_LENGTH_MAX:
        found = users.holder(tx, text)
        if found is not None:
            user, token_id = found
            theirs = dict(members.memberships(tx, user.user_id))
            chosen = org_id if org_id is not None else _org_of(tx, app_id)
            if chosen not in theirs:
                chosen = next(iter(theirs), None)
            if chosen is None:
                return Caller("", token_id, frozenset(), user)
            return Caller(chosen, token_id, scopes_of(theirs[chosen]), user)
    return tokens.authenticate(tx, text)


def holds_still(tx: Tx, caller: Caller) -> bool:
    """Whether the token of a call that goes on for long has not been revoked since."""
    token_id, user = caller.org_token_id, caller.user
    if user is None:
        row = tx.one("tokens.by_id", org_id=caller.org_id, org_token_id=token_id)
    else:
        row = tx.one("users.token_by_id", user_token_id=token_id, user_id=user.user_id)
    return row is not None and row["status"] == "active"


def _org_of(tx: Tx, app_id: str | None) -> str | None:
    row = None if app_id is None else tx.one("apps.live_anywhere", app_id=app_id)
    return None if row is None else row["org_id"]
