"""What the latest control plane of a data directory was told: ``down`` must find what it started."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from innkeeper.core.errors import Invalid
from innkeeper.disk.durable import keep_secret


@dataclass(frozen=True, slots=True)
class LastRun:
    """Kept in ``last-run.json``: the runtime by name, and where store and engine are."""

    runtime: str
    database_url: str
    engine_socket: str | None

    def keep(self, data_dir: Path) -> None:
        """Write it whole or not at all."""
        # The URL of the store may hold a password.
        keep_secret(_path(data_dir), json.dumps(asdict(self)))


def last_run(data_dir: Path) -> LastRun | None:
    """The latest one, or ``None`` before the first. Raises :class:`Invalid` for a damaged file."""
    path = _path(data_dir)
    try:
        return LastRun(**json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise Invalid(str(path), f"is damaged ({error}); remove it if nothing runs") from error


def _path(data_dir: Path) -> Path:
    return data_dir / "last-run.json"
