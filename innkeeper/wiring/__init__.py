"""Builds the object graph and runs it: the only place that names concrete parts."""

from innkeeper.wiring.backup import backup
from innkeeper.wiring.down import down
from innkeeper.wiring.restore import open_backup, restore
from innkeeper.wiring.serving import serve

__all__ = ["backup", "down", "open_backup", "restore", "serve"]
