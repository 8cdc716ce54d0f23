"""What the rules and use cases ask of the world. (Never "ports": here a port is a number.)

Concrete parts live in ``store``, ``runtime``, ``edge`` and ``telemetry``; only ``wiring`` chooses among them.
"""

from innkeeper.interfaces.builds import Builder, BuildRunner, BuiltImage, ReceivedArchive, Uploads
from innkeeper.interfaces.neighbours import Neighbours
from innkeeper.interfaces.runtime import (
    Capabilities,
    Listing,
    LogSource,
    PortSpec,
    ProcessSpec,
    Runtime,
    SandboxSpec,
)
from innkeeper.interfaces.services import GoogleIdentities, Logs
from innkeeper.interfaces.store import LockKey, Row, Store, Tx
from innkeeper.interfaces.surroundings import Clock, Context, Policy
from innkeeper.interfaces.webhooks import Outcome, WebhookSender

__all__ = [
    "LockKey",
    "BuildRunner",
    "Builder",
    "BuiltImage",
    "Capabilities",
    "Clock",
    "Context",
    "GoogleIdentities",
    "Listing",
    "LogSource",
    "Logs",
    "Neighbours",
    "Outcome",
    "Policy",
    "PortSpec",
    "ProcessSpec",
    "ReceivedArchive",
    "Row",
    "Runtime",
    "SandboxSpec",
    "Store",
    "Tx",
    "Uploads",
    "WebhookSender",
]
