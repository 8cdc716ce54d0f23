"""Reads a ``multipart/form-data`` body piece by piece: short fields into memory, one file as a stream.

What comes in is hostile: fields, headers and what follows the file are bounded; nothing is read ahead.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Literal

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from innkeeper.core.errors import Invalid, TimedOut

FIELDS_MAX = 32
FIELD_BYTES_MAX = 4096
HEADERS_MAX = 8
HEADER_BYTES_MAX = 2048
# After the file: its closing boundary, and whatever fields a client still adds.
TAIL_BYTES_MAX = 64 * 1024
# Drop by drop is no way to send a form: what is not the file is a few kilobytes.
FIELDS_LIMIT_S = 60.0
_ENCODINGS = frozenset({"", "7bit", "8bit", "binary"})

# Every mistake of a client would be a warning; the client is told, and must not fill our log.
logging.getLogger("python_multipart").setLevel(logging.ERROR)


@dataclass(frozen=True, slots=True)
class _Event:
    """What the parser saw: a part's headers, some of its bytes, its end, or the form's end."""

    kind: Literal["part", "data", "part end", "end"]
    data: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


def is_form(content_type: str | None) -> bool:
    """Whether a Content-Type header announces a form with parts."""
    return parse_options_header(content_type)[0] == b"multipart/form-data"


class FormData:
    """One form. ``fields`` holds what came before the file, by name; of two alike, the last."""

    def __init__(
        self,
        content_type: str | None,
        body: AsyncIterator[bytes],
        fields_limit_s: float = FIELDS_LIMIT_S,
    ) -> None:
        """Raises :class:`Invalid` where ``content_type`` is not a form's, or has no usable boundary.

        ``fields_limit_s`` is for all that comes before the file, and for what follows it.
        """
        kind, options = parse_options_header(content_type)
        if kind != b"multipart/form-data":
            raise Invalid("body", "must be multipart/form-data")
        self.fields: dict[str, str] = {}
        self._body = body
        self._fields_limit_s = fields_limit_s
        self._events: deque[_Event] = deque()
        self._headers: dict[str, str] = {}
        self._header = ["", ""]
        self._parts = 0
        self._received = 0
        self._over = False
        try:
            self._parser = MultipartParser(
                options.get(b"boundary", b""),
                {
                    "on_part_begin": self._on_part_begin,
                    "on_header_field": self._on_header_field,
                    "on_header_value": self._on_header_value,
                    "on_header_end": self._on_header_end,
                    "on_headers_finished": self._on_headers_finished,
                    "on_part_data": self._on_part_data,
                    "on_part_end": lambda: self._events.append(_Event("part end")),
                    "on_end": lambda: self._events.append(_Event("end")),
                },
                max_header_count=HEADERS_MAX,
                max_header_size=HEADER_BYTES_MAX,
            )
        except FormParserError as fault:
            raise Invalid("body", f"has a boundary that cannot be used: {fault}") from fault
        if not options.get(b"boundary"):
            raise Invalid("body", "must be multipart/form-data with a boundary")

    async def file(self, name: str) -> AsyncIterator[bytes] | None:
        """Read on to the file of this name: its bytes, which must be read to their end.

        ``None`` where the form has no such part. Raises :class:`Invalid` for what is not a form, or too
        much of one; so does the stream, where the form ends in the middle. Raises :class:`TimedOut`.
        """
        async with self._in_time():
            while (event := await self._event()).kind == "part":
                part = self._part_name(event.headers)
                if part == name:
                    return self._file()
                self.fields[part] = await self._value(part)
        return None

    async def finish(self) -> None:
        """Read what follows the file, and forget it. Raises :class:`Invalid` where it is too much,
        and :class:`TimedOut`.
        """
        most = self._received + TAIL_BYTES_MAX
        async with self._in_time():
            while not self._over:
                await self._event()
                if self._received > most:
                    raise Invalid("body", f"has more than {TAIL_BYTES_MAX} bytes after its file")

    @asynccontextmanager
    async def _in_time(self) -> AsyncIterator[None]:
        limit = asyncio.timeout(self._fields_limit_s)
        try:
            async with limit:
                yield
        except TimeoutError as late:
            if not limit.expired():
                raise
            raise TimedOut("The form did not come in time") from late

    async def _file(self) -> AsyncIterator[bytes]:
        while (event := await self._event()).kind == "data":
            yield event.data

    async def _value(self, part: str) -> str:
        value = bytearray()
        while (event := await self._event()).kind == "data":
            value += event.data
            if len(value) > FIELD_BYTES_MAX:
                raise Invalid(f"body.{part[:100]}", f"must have at most {FIELD_BYTES_MAX} bytes")
        return value.decode("utf-8", "replace")

    def _part_name(self, headers: Mapping[str, str]) -> str:
        """The name of a part, whose headers are checked here."""
        self._parts += 1
        if self._parts > FIELDS_MAX:
            raise Invalid("body", f"must have at most {FIELDS_MAX} parts")
        kind, options = parse_options_header(headers.get("content-disposition"))
        if kind != b"form-data" or not options.get(b"name"):
            raise Invalid("body", "has a part without a name")
        if headers.get("content-transfer-encoding", "").strip().lower() not in _ENCODINGS:
            raise Invalid("body", "must have its parts as they are, without a transfer encoding")
        return options[b"name"].decode("utf-8", "replace")

    async def _event(self) -> _Event:
        """The next event; at the end of the form always the same."""
        while not self._events:
            if self._over:
                return _Event("end")
            piece = await anext(self._body, None)
            if piece is None:
                raise Invalid("body", "ends in the middle of the form")
            self._received += len(piece)
            try:
                self._parser.write(piece)
            except FormParserError as fault:
                raise Invalid("body", f"is not a form as it should be: {fault}") from fault
        event = self._events.popleft()
        self._over = self._over or event.kind == "end"
        return event

    def _on_part_begin(self) -> None:
        self._headers = {}
        self._header = ["", ""]

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header[0] += data[start:end].decode("latin-1")

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header[1] += data[start:end].decode("latin-1")

    def _on_header_end(self) -> None:
        self._headers[self._header[0].strip().lower()] = self._header[1]
        self._header = ["", ""]

    def _on_headers_finished(self) -> None:
        self._events.append(_Event("part", headers=self._headers))

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        if end > start:
            self._events.append(_Event("data", data[start:end]))
