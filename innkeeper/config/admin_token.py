"""The admin token between starts: a file of mode 0600 in the data directory."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from innkeeper.config import Settings, values
from innkeeper.core.errors import Invalid


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
    # Written beside and renamed, so that a crash leaves a whole token or none; 0600 from the start.
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.new")
    beside.unlink(missing_ok=True)
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(handle, "w", encoding="ascii") as file:
        file.write(f"{text}\n")
        file.flush()
        os.fsync(handle)
    beside.replace(path)
