"""The XML that uploading clients speak: S3's, as far as they look at it (behaviour.md 2.4)."""

from collections.abc import Mapping
from xml.parsers import expat
from xml.sax.saxutils import escape

from innkeeper.api.operation import Raw

MEDIA_TYPE = "application/xml"
# 10,000 parts with their tags and white space.
LIST_BYTES_MAX = 4 * 1024**2
PARTS_MAX = 10_000
_DEPTH_MAX = 8
_TEXT_MAX = 256
_HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n'
_NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"


class BadList(Exception):
    """The client's list of parts is not what it should be; ``code`` is S3's word for why."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def error(status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> Raw:
    """An error as S3 would say it."""
    body = f"{_HEAD}<Error><Code>{escape(code)}</Code><Message>{escape(message)}</Message></Error>"
    return Raw(body.encode(), MEDIA_TYPE, status, headers or {})


def completed(location: str, key: str, etag: str) -> Raw:
    """The answer to a list that was complete. ``etag`` without quotes."""
    body = (
        f'{_HEAD}<CompleteMultipartUploadResult xmlns="{_NAMESPACE}">'
        f"<Location>{escape(location)}</Location><Bucket>builds</Bucket>"
        f"<Key>{escape(key)}</Key><ETag>&quot;{escape(etag)}&quot;</ETag>"
        "</CompleteMultipartUploadResult>"
    )
    return Raw(body.encode(), MEDIA_TYPE)


def read_parts(body: bytes) -> list[tuple[int, str]]:
    """(number, ETag) of each part, in the order they came.

    Raises :class:`BadList` for anything else than a plain list: no entity, no document type is read.
    """
    reader = _ListReader()
    try:
        reader.parser.Parse(body, True)
    except expat.ExpatError as fault:
        raise BadList("MalformedXML", f"The list of parts is not XML: {fault}") from fault
    except (LookupError, ValueError) as fault:  # an encoding that is unknown or not kept to
        raise BadList("MalformedXML", "The list of parts is not XML in UTF-8") from fault
    numbers = [number for number, _ in reader.parts]
    if not numbers:
        raise BadList("MalformedXML", "The list names no part")
    if numbers != sorted(set(numbers)):
        raise BadList("InvalidPartOrder", "The parts must be in ascending order, each once")
    return reader.parts


class _ListReader:
    """Collects ``<Part><PartNumber/><ETag/></Part>``; bounded in depth, text and count."""

    def __init__(self) -> None:
        self.parts: list[tuple[int, str]] = []
        self.parser = expat.ParserCreate()
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._text
        self.parser.StartDoctypeDeclHandler = self._refuse
        self.parser.EntityDeclHandler = self._refuse
        self._path: list[str] = []
        self._fields: dict[str, str] = {}

    def _start(self, name: str, _: object) -> None:
        name = name.rsplit(":", 1)[-1]
        if not self._path and name != "CompleteMultipartUpload":
            raise BadList("MalformedXML", "The list must be a CompleteMultipartUpload")
        self._path.append(name)
        if len(self._path) > _DEPTH_MAX:
            raise BadList("MalformedXML", "The list is nested too deeply")
        if self._path[1:] == ["Part"]:
            self._fields = {}

    def _text(self, text: str) -> None:
        if len(self._path) == 3 and self._path[1] == "Part":
            whole = self._fields.get(self._path[2], "") + text
            if len(whole) > _TEXT_MAX:
                raise BadList("MalformedXML", "A number or ETag is too long")
            self._fields[self._path[2]] = whole

    def _end(self, _: str) -> None:
        if self._path[1:] == ["Part"]:
            self._keep()
        self._path.pop()

    def _keep(self) -> None:
        number = self._fields.get("PartNumber", "").strip()
        etag = self._fields.get("ETag", "").strip()
        if not (number.isascii() and number.isdigit() and len(number) <= 5 and etag):
            raise BadList("MalformedXML", "Every Part needs a PartNumber and an ETag")
        if not 1 <= int(number) <= PARTS_MAX or len(self.parts) >= PARTS_MAX:
            raise BadList("InvalidArgument", f"A PartNumber must be between 1 and {PARTS_MAX}")
        self.parts.append((int(number), etag))

    def _refuse(self, *_: object) -> None:
        raise BadList("MalformedXML", "The list must not have a document type or entities")
