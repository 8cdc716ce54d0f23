"""Every error Innkeeper raises on purpose. HTTP is mapped once, in ``api/errors.py``.

InnkeeperError
├── Invalid             a value breaks a type, pattern, bound or invariant; names the field
├── Unauthenticated     no token, or one that is unknown, revoked or malformed
│   └── MissingScope    a valid token without the scope the operation needs
├── NotFound            unknown, deleted, or another organization's (the same answer for all three)
├── StateConflict       the thing's state does not allow what was asked
├── PaymentRequired     refused for payment or monthly hours
├── Exhausted           full or too many, for now; carries ``retry_after_s``
│   └── NoCapacity      no room for one more process; may be waited for
├── Gone                it was here and is past its retention
├── TooLarge            a body or upload is above its limit
├── TimedOut            the request was not received or finished in time
├── Unavailable         we cannot serve now (shutting down, store or engine away)
├── LeaseLost           another server does by now what this one was about to record
├── NotImplementedYet   an operation of the contract without a row yet
├── ConstraintBroken    a write breaks a constraint of the schema: a rule of ours was not kept
└── RuntimeFailure      a driver could not do what it was asked
    ├── StartFailed     the image or command could not be started; the reason is for people
    ├── PortTaken       something outside Innkeeper holds a host port
    ├── BuildFailed     the archive or image could not be built; the reason is for people
    └── RuntimeAway     the engine does not answer; try again later
"""


class InnkeeperError(Exception):
    """Something went wrong that Innkeeper has a word for."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class Invalid(InnkeeperError):
    """A value breaks a type, pattern, bound or invariant (behaviour.md 9).

    ``field`` is the place in the request, such as ``body.region``; ``problem`` completes the sentence
    "<field> ...", such as "must be between 1 and 10000".
    """

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"Validation failed: {field} {problem}")
        self.field = field
        self.problem = problem


class Unauthenticated(InnkeeperError):
    """No token, or one that is unknown, revoked or malformed (behaviour.md 7.2)."""


class MissingScope(Unauthenticated):
    """A valid token without the scope the operation needs: also 401, with the scope named."""

    def __init__(self, scope: str) -> None:
        super().__init__(f"Missing scope: {scope}")
        self.scope = scope


class NotFound(InnkeeperError):
    """Unknown, deleted, or another organization's: one answer, so that nothing can be guessed."""

    def __init__(self, kind: str, name: str, hint: str = "") -> None:
        super().__init__(f'{kind} "{name}" not found{": " + hint if hint else ""}')
        self.kind = kind
        self.name = name


class StateConflict(InnkeeperError):
    """The thing's state does not allow what was asked (400 in this contract)."""


class PaymentRequired(InnkeeperError):
    """Refused for payment or monthly hours (behaviour.md 4.7)."""


class Exhausted(InnkeeperError):
    """Full, or too many, for now. ``retry_after_s`` goes into Retry-After."""

    def __init__(self, message: str, retry_after_s: int = 5) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class NoCapacity(Exhausted):
    """There is no room for one more process now, which may be waited for.

    ``machine``: this machine's capacity is short, so that it helps when anybody's process ends.
    """

    def __init__(self, message: str, retry_after_s: int = 10, *, machine: bool = False) -> None:
        super().__init__(message, retry_after_s)
        self.machine = machine


class Gone(InnkeeperError):
    """It was here and is past its retention (behaviour.md 8.3)."""


class TooLarge(InnkeeperError):
    """A body or upload is above its limit."""


class TimedOut(InnkeeperError):
    """The request was not received, or not finished, in time."""


class Unavailable(InnkeeperError):
    """We cannot serve now: shutting down, or the store or the engine is away."""

    def __init__(self, message: str, retry_after_s: int = 2) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class LeaseLost(InnkeeperError):
    """Another server does by now what this one was about to record: its write is refused."""


class NotImplementedYet(InnkeeperError):
    """An operation of the contract that has no row yet."""


class ConstraintBroken(InnkeeperError):
    """A write breaks a CHECK, UNIQUE or other constraint of the schema, which the message names.

    A mistake of ours unless the use case expects it; what the write's transaction did is undone.
    """


class RuntimeFailure(InnkeeperError):
    """A driver could not do what it was asked."""


class StartFailed(RuntimeFailure):
    """The image or command could not be started; the message completes "Image could not be started: "."""


class PortTaken(RuntimeFailure):
    """Something outside Innkeeper holds a host port that we gave out."""

    def __init__(self, port: int, owner: str = "another program") -> None:
        super().__init__(f"host port {port} is held by {owner}")
        self.port = port
        self.owner = owner


class BuildFailed(RuntimeFailure):
    """The archive or image could not be built; the message completes "Build failed: "."""


class RuntimeAway(RuntimeFailure):
    """The engine does not answer; nothing is known about what runs until it does."""
