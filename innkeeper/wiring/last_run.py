"""What the latest control plane of a data directory was told: ``down`` must find what it started."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from innkeeper.core.errors import Invalid


@dataclass(frozen=True, slots=True)
class LastRun:
    """Kept in ``last-run.json``: the runtime by name, and where store and engine are."""

    runtime: str
    database_url: str
    engine_socket: str | None

    def keep(self, data_dir: Path) -> None:
        """Write it whole or not at all."""
        path = _path(data_dir)
        beside = path.with_name(f"{path.name}.new")
        beside.unlink(missing_ok=True)
        # The URL of the store may hold a password.
        handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(handle, "w", encoding="utf-8") as file:
            json.dump(asdict(self), file)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)


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
