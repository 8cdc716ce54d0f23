"""Apps: what a studio's builds, deployments, processes and rooms hang on (behaviour.md 1, 8.7)."""

import json
from functools import lru_cache
from typing import Any

from innkeeper.core.catalog import App
from innkeeper.core.errors import NotFound
from innkeeper.core.moments import from_ms, maybe_from_ms
from innkeeper.interfaces import Row, Tx


def require_app(tx: Tx, org_id: str, app_id: str) -> App:
    """An app of this org. Raises :class:`NotFound` where it is unknown, deleted or another org's."""
    row = tx.one("apps.live_by_id", app_id=app_id, org_id=org_id)
    if row is None:
        raise NotFound("App", app_id)
    return app_from(row)


def require_app_anywhere(tx: Tx, app_id: str) -> App:
    """An app of any org, for calls without an org token. Raises :class:`NotFound`."""
    row = tx.one("apps.live_anywhere", app_id=app_id)
    if row is None:
        raise NotFound("App", app_id)
    return app_from(row)


def app_from(row: Row) -> App:
    """The app in a row of the table. Its two configurations are shared between reads: change a copy."""
    config = row["service_config"]
    return App(
        app_id=row["app_id"],
        org_id=row["org_id"],
        app_name=row["app_name"],
        app_secret=row["app_secret"],
        auth_configuration=_object(row["auth_configuration"]),
        service_config=None if config is None else _object(config),
        created_at=from_ms(row["created_at"]),
        created_by=row["created_by"],
        deleted_at=maybe_from_ms(row["deleted_at"]),
        deleted_by=row["deleted_by"],
        latest_deployment_id=row["latest_deployment_id"],
    )


# Every new room reads its app: the same text is decoded once.
@lru_cache(maxsize=1024)
def _object(text: str) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(text)
    return value
