"""Builds the object graph and runs it: the only place that names concrete parts."""

from innkeeper.wiring.down import down
from innkeeper.wiring.serving import serve

__all__ = ["down", "serve"]
