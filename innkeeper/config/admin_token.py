"""The admin token between starts: a file of mode 0600 in the data directory."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from innkeeper.config import Settings, values
from innkeeper.core.errors import Invalid
from innkeeper.disk.durable import keep_secret


@dataclass(frozen=True, slots=True)
class AdminToken:
    """The token, and whether this start made it (only then is it printed)."""

    text: str = field(repr=False)
    made_now: bool
    path: Path


def token_path(data_dir: Path) -> Path:
    """Where the admin token is kept."""
    return data_dir / "admin-token"


def admin_token(settings: Settings, make: Callable[[], str]) -> AdminToken:
    """The preset token, else the kept one, else a new one from ``make``; kept for the next start.

    A preset is kept too, so that a later start without it goes on with the same token. Raises
    :class:`Invalid` when the file does not hold a token.
    """
    path = token_path(settings.data_dir)
    kept = read_token(settings.data_dir)
    if settings.admin_token is not None:
        if kept != settings.admin_token:
            _keep(path, settings.admin_token)
        return AdminToken(settings.admin_token, False, path)
    if kept is not None:
        return AdminToken(kept, False, path)
    text = make()
    _keep(path, text)
    return AdminToken(text, True, path)


def read_token(data_dir: Path) -> str | None:
    """The kept token, or ``None`` before the first start. Raises :class:`Invalid` where it is not one."""
    try:
        text = token_path(data_dir).read_text("ascii", "replace").strip()
    except FileNotFoundError:
        return None
    try:
        return values.admin_token(text)
    except ValueError as wrong:
        raise Invalid(str(token_path(data_dir)), str(wrong)) from None


def _keep(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    keep_secret(path, f"{text}\n")
