"""Lobbies: a room with a creator, a visibility, a short code and a state."""

from innkeeper.store.migrate import run_script

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Run the script of this revision."""
    run_script("0003_lobbies.sql")
