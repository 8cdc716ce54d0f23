"""ManagementV1: the verification e-mail that console users ask for (behaviour.md 7.4)."""

import logging

from innkeeper.api.operation import Operation
from innkeeper.api.request import Request
from innkeeper.api.services import Services
from innkeeper.core.errors import Invalid
from innkeeper.interfaces import Context
from innkeeper.usecases import users

log = logging.getLogger(__name__)

USER_ID_LENGTH_MAX = 256


def read_user_id(request: Request) -> str:
    """Whose address is to be verified."""
    user_id: str = request.body.userId
    if len(user_id) > USER_ID_LENGTH_MAX:
        raise Invalid("body.userId", f"must have at most {USER_ID_LENGTH_MAX} characters")
    return user_id


async def run_send(services: Services, caller: None, user_id: str, context: Context) -> None:
    """There is no mail here, so it is logged for the operator.

    Nobody proves who they are: the answer does not tell whether there is such a user, and what they send
    is not logged. Raises ``Exhausted`` above three an hour for one user id.
    """
    services.verification_emails.take(user_id)
    email = await services.store.read(lambda tx: users.email_of(tx, user_id))
    if email is not None:
        log.info("%s asked for a verification e-mail, and no mail is set up to send it", email)


def write_success(_: None) -> str:
    """Always the same."""
    return "success"


OPERATIONS = (Operation("SendVerificationEmail", read_user_id, run_send, write_success, "async"),)
