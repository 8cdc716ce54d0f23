"""What makes a field of the settings: how its text is read, its default, its shape, and its purpose."""

from collections.abc import Callable
from dataclasses import field
from typing import Any


def setting(
    parse: Callable[[str], Any],
    default: Any,
    shape: str,
    doc: str,
    shown: str | None = None,
    *,
    secret: bool = False,
) -> Any:
    """A field. ``shape`` and ``doc`` are for people; ``shown`` is the default in words; a ``secret`` is kept
    out of messages.
    """
    metadata = {"parse": parse, "shape": shape, "doc": doc, "shown": shown}
    return field(default=default, metadata=metadata, repr=not secret)
