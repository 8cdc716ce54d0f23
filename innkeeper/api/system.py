"""The pages about the server itself, without a token: /healthz, /readyz, /metrics, /openapi.json."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

from innkeeper.api import contract, errors
from innkeeper.api.dispatch import Reply
from innkeeper.api.meters import Meters
from innkeeper.api.services import Services
from innkeeper.core.errors import InnkeeperError

log = logging.getLogger(__name__)

# Anybody may ask, and each answer costs a durable write: within this time the last one is given again.
READY_KEPT = timedelta(seconds=1)


class SystemPages:
    """Answers GET on its paths."""

    def __init__(self, services: Services, meters: Meters) -> None:
        self._services = services
        self._registry = CollectorRegistry()
        self._registry.register(meters)
        self._ready: tuple[datetime, str | None] | None = None
        self._contract = contract.document("openapi.json")
        self.pages: Mapping[bytes, Callable[[], Awaitable[Reply]]] = {
            b"/healthz": self._healthz,
            b"/readyz": self._readyz,
            b"/metrics": self._metrics,
            b"/openapi.json": self._openapi,
        }

    async def _healthz(self) -> Reply:
        return Reply(200, "application/json", b'{"status":"ok"}')

    async def _readyz(self) -> Reply:
        """200 when the store is migrated and took a durable write; else 503 with why."""
        now = self._services.clock()
        if self._ready is None or not timedelta(0) <= now - self._ready[0] < READY_KEPT:
            self._ready = (now, await self._asked())
        reason = self._ready[1]
        if reason is None:
            return Reply(200, "application/json", b'{"status":"ready"}')
        headers = {"retry-after": str(errors.RETRY_AFTER_S)}
        return Reply(503, "application/json", errors.body_of(f"Not ready: {reason}"), headers)

    async def _asked(self) -> str | None:
        try:
            return await self._services.ready()
        except Exception as fault:
            log.exception("the check of readiness failed")
            return f"the check failed: {type(fault).__name__}"

    async def _metrics(self) -> Reply:
        try:
            await self._services.refresh_gauges()
        except InnkeeperError as fault:
            # What was counted here is told all the same: it is wanted most when the store is away.
            log.warning("gauges could not be read: %s", fault)
        text = generate_latest(self._registry) + generate_latest(self._services.registry)
        return Reply(200, CONTENT_TYPE_PLAIN_0_0_4, text)

    async def _openapi(self) -> Reply:
        return Reply(200, "application/json", self._contract)
