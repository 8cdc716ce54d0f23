"""What an operation's ``read`` sees of a request: everything decoded and checked against the contract."""

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any

RawHeaders = list[tuple[bytes, bytes]]


@dataclass(slots=True)
class Request:
    """One request.

    ``path`` has every path parameter; ``query`` has those that were given or have a default, by their wire
    names, arrays as lists; ``body`` is the decoded struct, or ``None`` where the operation has no JSON body.
    ``scheme`` (``http`` or ``https``) and ``local_port`` tell which of our listeners it came to.
    """

    operation_id: str
    path: Mapping[str, Any]
    query: Mapping[str, Any]
    body: Any
    raw_headers: RawHeaders
    client: str
    scheme: str
    local_port: int
    stream: Callable[[], AsyncIterator[bytes]]

    def header(self, name: str) -> str | None:
        """The first header of this name (any case), or ``None``."""
        wanted = name.lower().encode("latin-1")
        for key, value in self.raw_headers:
            if key == wanted:
                return value.decode("latin-1")
        return None
