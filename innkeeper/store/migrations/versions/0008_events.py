"""The journal of events, and webhooks."""

from innkeeper.store.migrate import run_script

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Run the script of this revision."""
    run_script("0008_events.sql")
