"""What the API's operations reach the world through; ``wiring`` fills it."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry

from innkeeper.api.rate_limits import RateLimit, RateLimits
from innkeeper.api.stream_bounds import EventStreams
from innkeeper.api.waiters import Waiters
from innkeeper.core.ids import Ids
from innkeeper.interfaces import (
    BuildRunner,
    Clock,
    Context,
    GoogleIdentities,
    Logs,
    Outcome,
    Policy,
    Store,
    Uploads,
    WebhookSender,
)
from innkeeper.usecases.tail import Tail


async def _nothing() -> None:
    return


class _NoSender:
    """Where none is given."""

    async def send(self, url: str, headers: Mapping[str, str], body: bytes) -> Outcome:
        return Outcome(False, "this server sends nothing to webhooks")

    async def close(self) -> None:
        return


def _verification_emails() -> RateLimit:
    """Three an hour for one user (behaviour.md 7.4)."""
    return RateLimit("verification e-mails for this user", 3, 3600.0, callers_max=10_000)


@dataclass(slots=True, kw_only=True)
class Services:
    """The parts that operations use.

    ``wake`` takes a key (app id, region) that a pass should look at soon. ``ready`` answers why we cannot
    serve, or ``None`` when the store is migrated and took a durable write; ``/readyz`` asks it.
    ``registry`` is where other parts put their gauges for ``/metrics``; ``refresh_gauges`` brings them up to
    date when somebody asks. ``rate_limits`` are none unless given. ``tail`` tells those who wait for a room
    that something happened to it.
    """

    store: Store
    clock: Clock
    ids: Ids
    policy: Policy
    build_runner: BuildRunner
    uploads: Uploads
    logs: Logs
    google: GoogleIdentities
    wake: Callable[[tuple[str, str]], None]
    ready: Callable[[], Awaitable[str | None]]
    registry: CollectorRegistry
    refresh_gauges: Callable[[], Awaitable[None]] = _nothing
    rate_limits: RateLimits = field(default_factory=RateLimits)
    verification_emails: RateLimit = field(default_factory=_verification_emails)
    webhook_sender: WebhookSender = field(default_factory=_NoSender)
    event_streams: EventStreams = field(default_factory=EventStreams)
    waiters: Waiters = field(default_factory=Waiters)
    tail: Tail = field(init=False)

    def __post_init__(self) -> None:
        self.tail = Tail(self.store)

    def wake_for(self, context: Context) -> None:
        """Hand on what a use case has left there: after its commit, for before it nothing is to be seen."""
        for key in context.wake:
            self.wake(key)
        context.wake.clear()

    def context(self) -> Context:
        """The surroundings of one use case, as of now."""
        return Context(now=self.clock(), ids=self.ids, policy=self.policy)
