"""How often an org token may call."""

from innkeeper.store.migrate import run_script

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Run the script of this revision."""
    run_script("0007_token_rates.sql")
