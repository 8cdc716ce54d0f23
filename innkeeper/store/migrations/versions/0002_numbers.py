"""Build numbers of an app, for the versions that count."""

from innkeeper.store.migrate import run_script

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Run the script of this revision."""
    run_script("0002_numbers.sql")
