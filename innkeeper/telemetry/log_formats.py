"""From what a runtime writes to what people read: whole lines of UTF-8, each shorter than 64 KiB.

Formats: ``raw`` (the game's own bytes), ``k8s-file`` (Podman: time, stream, F or P, text) and
``json-file`` (Docker: one JSON object a record). Output goes on in the order in which it was
written.
"""

import codecs
from typing import Protocol

import msgspec

# Line readers of clients stop at 65,536 bytes (behaviour.md 1); the rest is for a prefix.
LINE_BYTES_MAX = 65_000
DROPPED = b"[innkeeper] older output was dropped here\n"


class Lines:
    """Cuts bytes into lines: invalid UTF-8 replaced, what is too long cut into several."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that are whole by now, each with its newline."""
        return self._cut(self._decoder.decode(data))

    def finish(self) -> list[bytes]:
        """What is left: a last line without a newline of its own gets one."""
        lines = self._cut(self._decoder.decode(b"", final=True))
        if self._rest:
            lines.append(self._rest + b"\n")
            self._rest = b""
        return lines

    def _cut(self, text: str) -> list[bytes]:
        *whole, rest = (self._rest + text.encode()).split(b"\n")
        lines: list[bytes] = []
        for line in whole:
            *pieces, last = _pieces(line)
            lines += pieces
            lines.append(last + b"\n")
        *pieces, self._rest = _pieces(rest)
        return lines + pieces


def _pieces(line: bytes) -> list[bytes]:
    """A line as pieces, all but the last with a newline; no character is cut in two."""
    pieces = []
    while len(line) >= LINE_BYTES_MAX:
        at = LINE_BYTES_MAX - 1
        while line[at] & 0xC0 == 0x80:
            at -= 1
        pieces.append(line[:at] + b"\n")
        line = line[at:]
    return [*pieces, line]


class Decoder(Protocol):
    """Turns a runtime's file into lines; is fed blocks of any size, in order."""

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that are whole by now."""
        ...

    def finish(self) -> list[bytes]:
        """What is left at the end."""
        ...


class Records:
    """For formats of one record a line: finds the records, and keeps one line under way for each
    stream.
    """

    def __init__(self, parse: "ParseRecord", midway: bool) -> None:
        self._parse = parse
        self._midway = midway
        self._rest = b""
        self._streams: dict[bytes, Lines] = {}

    def feed(self, data: bytes) -> list[bytes]:
        """See :class:`Decoder`."""
        *records, self._rest = (self._rest + data).split(b"\n")
        lines: list[bytes] = []
        for record in records:
            found = self._parse(record)
            if found is None:
                continue
            stream, text = found
            if stream in self._streams:
                lines += self._streams[stream].feed(text)
            elif not self._midway:
                self._streams[stream] = Lines()
                lines += self._streams[stream].feed(text)
            elif text.endswith(b"\n"):
                # Its first line may have begun earlier; from the next one on all are whole.
                self._streams[stream] = Lines()
        return lines

    def finish(self) -> list[bytes]:
        """A record that was cut off is not shown; a line whose last part did not come is."""
        return [line for stream in self._streams.values() for line in stream.finish()]


class ParseRecord(Protocol):
    """One record: its stream and its text, with a newline where the line ends; ``None`` if it is
    none.
    """

    def __call__(self, record: bytes) -> tuple[bytes, bytes] | None: ...


def k8s_record(record: bytes) -> tuple[bytes, bytes] | None:
    """``2026-11-24T11:35:16.123456789+00:00 stdout F text``; ``P`` where the line goes on."""
    parts = record.split(b" ", 3)
    if len(parts) < 3 or parts[2] not in (b"F", b"P"):
        return None
    text = parts[3] if len(parts) == 4 else b""
    return parts[1], text + (b"\n" if parts[2] == b"F" else b"")


class _JsonRecord(msgspec.Struct):
    log: str = ""
    stream: str = "stdout"


_json_decoder = msgspec.json.Decoder(_JsonRecord)


def json_record(record: bytes) -> tuple[bytes, bytes] | None:
    """``{"log":"text\\n","stream":"stdout","time":"…"}``; without the newline the line goes on."""
    try:
        found = _json_decoder.decode(record)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return found.stream.encode(), found.log.encode()


def decoder(format_: str, midway: bool = False) -> Decoder:
    """A fresh decoder for ``raw``, ``k8s-file`` or ``json-file``, fed from where a line of the file begins.

    ``midway``: that is not where the log begins, so a record may be the rest of a line: those are left out.
    """
    if format_ == "raw":
        return Lines()
    return Records({"k8s-file": k8s_record, "json-file": json_record}[format_], midway)
