"""What a use case gets beside its input: settings, the moment, chance."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from innkeeper.core.billing import Prices
from innkeeper.core.ids import Ids
from innkeeper.core.snapshot import Limits


@dataclass(frozen=True, slots=True)
class Policy:
    """The settings that use cases obey."""

    regions: tuple[str, ...]
    public_host: str
    limits: Limits
    memory_mb_max: int = 8192
    log_retention_hours: int = 72
    event_retention_hours: int = 168
    build_size_max: int = 10 * 1024**3
    chunk_bytes_max: int = 100 * 1024**2
    additional_ports_max: int = 2
    port_rest_s: float = 60.0
    upload_url_ttl_s: int = 24 * 3600
    accept_unenforced: bool = False
    registry_builds: bool = True
    webhook_private_networks: bool = False
    lobbies_per_player_hour: int = 10  # 0: as many as they like
    public_url: str | None = None  # of the API; None: as each request addressed it
    prices: Prices = Prices()
    monthly_vcpu_hours_limit: float | None = None  # of each organization that has none of its own


@dataclass(slots=True)
class Context:
    """What a use case gets beside its input: the moment, chance, the settings, and a way to leave hints.

    ``wake`` collects keys (app id, region) that a pass should look at once the transaction is durable.
    """

    now: datetime
    ids: Ids
    policy: Policy
    wake: list[tuple[str, str]] = field(default_factory=list)


class Clock(Protocol):
    """The present moment: UTC with a zone, whole milliseconds."""

    def __call__(self) -> datetime: ...
