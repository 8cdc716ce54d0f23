"""Named SQL: every query of ``store/sql/*.sql``, read once, checked, and ready for both databases.

A query is a heading ``-- name: by_id``, at least one ``-- purpose`` line, and one statement with
``:name`` parameters. Its key is ``"<file>.<name>"``. Knows nothing of connections.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

_HEADING = re.compile(r"--\s*name:\s*(.*?)\s*")
_NAME = re.compile(r"[a-z][a-z0-9_]*")
# What may hold a colon, a semicolon or a percent sign that means nothing: strings, quoted names,
# comments, casts. An unclosed string or comment reaches to the end of the text and is refused.
_TOKEN = re.compile(
    r"""(?P<quoted>'(?:[^']|'')*(?:'|\Z)|"(?:[^"]|"")*(?:"|\Z))
      | (?P<comment>--[^\n]*|/\*.*?(?:\*/|\Z))
      | (?P<cast>::)
      | :(?P<param>[A-Za-z_][A-Za-z0-9_]*)
      | (?P<semicolon>;)
    """,
    re.DOTALL | re.VERBOSE,
)
# A list of tables after FROM would hide all but the first: the queries say JOIN.
_TABLE = re.compile(r"\b(?:FROM|JOIN|INTO|UPDATE)\s+([a-z_][a-z0-9_]*)", re.IGNORECASE)
_COMMA_JOIN = re.compile(
    r"\bFROM\s+[a-z_][a-z0-9_]*(?:\s+(?:AS\s+)?[a-z][a-z0-9_]*)?\s*,", re.IGNORECASE
)
_WRITES = re.compile(r"\b(?:INSERT|UPDATE|DELETE|REPLACE)\b", re.IGNORECASE)


class BadQuery(Exception):
    """A file of queries is written wrongly: the package is broken, and must not start."""


@dataclass(frozen=True, slots=True)
class Query:
    """One named statement. ``sql`` is SQLite's text; ``writes``: it may change something, in ``tables``
    or in those that it reads: ``tables`` are all that it names.
    """

    name: str
    purpose: str
    sql: str
    params: frozenset[str]
    writes: bool
    tables: frozenset[str]


def load(directory: Path) -> dict[str, Query]:
    """Every query below ``directory``, by key. Raises :class:`BadQuery` at the first mistake."""
    queries: dict[str, Query] = {}
    for path in sorted(directory.glob("*.sql")):
        for query in _of_file(path.stem, path.read_text("utf-8")):
            if query.name in queries:
                raise BadQuery(f"{query.name}: there are two queries of this name")
            queries[query.name] = query
    return queries


def to_positional(sql: str) -> tuple[str, tuple[str, ...]]:
    """``sql`` with ``$1``, ``$2`` … for ``:name``, as PostgreSQL has it, and the names in that order.

    Casts (``::``), strings, quoted names and comments keep their colons.
    """
    names: list[str] = []

    def convert(token: re.Match[str]) -> str:
        name = token["param"]
        if not name:
            return token[0]
        if name not in names:
            names.append(name)
        return f"${names.index(name) + 1}"

    return _TOKEN.sub(convert, sql), tuple(names)


def with_overrides(queries: Mapping[str, Query], directory: Path) -> dict[str, Query]:
    """``queries``, but for those that ``directory`` says otherwise for one database.

    Raises :class:`BadQuery` for one that has no namesake, or not its parameters.
    """
    merged = dict(queries)
    for key, query in load(directory).items():
        common = queries.get(key)
        if common is None:
            raise BadQuery(f"{key}: there is no query of this name to override")
        if query.params != common.params or query.writes != common.writes:
            raise BadQuery(
                f"{key}: it must take the same parameters, and write as its namesake does"
            )
        merged[key] = query
    return merged


def _of_file(noun: str, text: str) -> Iterator[Query]:
    if not _NAME.fullmatch(noun):
        raise BadQuery(f"{noun}.sql: the file name must be lower-case letters, digits and _")
    name: str | None = None
    lines: list[str] = []
    for line in text.splitlines():
        heading = _HEADING.fullmatch(line)
        if heading is None:
            lines.append(line)
            continue
        if name is not None:
            yield _query(noun, name, lines)
        elif any(line.strip() and not line.startswith("--") for line in lines):
            raise BadQuery(f"{noun}.sql: a statement stands before the first heading")
        name, lines = heading[1], []
    if name is None:
        raise BadQuery(f"{noun}.sql: no heading like '-- name: by_id'")
    yield _query(noun, name, lines)


def _query(noun: str, name: str, lines: list[str]) -> Query:
    key = f"{noun}.{name}"
    if not _NAME.fullmatch(name):
        raise BadQuery(f"{key}: the name must be lower-case letters, digits and _")
    purpose: list[str] = []
    while lines and lines[0].startswith("--"):
        purpose.append(lines.pop(0).lstrip("-").strip())
    if not any(purpose):
        raise BadQuery(f"{key}: no purpose line '-- ...' under the heading")
    sql = "\n".join(lines).strip().removesuffix(";").rstrip()
    if not sql:
        raise BadQuery(f"{key}: no statement")
    params: set[str] = set()
    for token in _TOKEN.finditer(sql):
        if token["param"]:
            params.add(token["param"])
        elif token["semicolon"]:
            raise BadQuery(f"{key}: more than one statement")
        elif not _closed(token):
            raise BadQuery(f"{key}: a string or comment is not closed")
    bare = _TOKEN.sub(lambda token: " " if token["quoted"] or token["comment"] else token[0], sql)
    if _COMMA_JOIN.search(bare):
        raise BadQuery(f"{key}: write JOIN in place of a comma between tables")
    tables = frozenset(name.lower() for name in _TABLE.findall(bare))
    purpose_text = " ".join(filter(None, purpose))
    return Query(key, purpose_text, sql, frozenset(params), _may_write(bare), tables)


def _closed(token: re.Match[str]) -> bool:
    if token["quoted"]:
        return len(token[0]) > 1 and token[0][-1] == token[0][0]
    if token["comment"] and token[0].startswith("/*"):
        return token[0].endswith("*/") and len(token[0]) >= 4
    return True


def _may_write(bare: str) -> bool:
    """Whether it may write; when in doubt it does: the writer then marks the place to undo to."""
    first = bare.split(None, 1)[0].upper()
    if first in ("SELECT", "VALUES"):
        return False
    return first != "WITH" or _WRITES.search(bare) is not None


_SQL = Path(__file__).parent / "sql"
QUERIES: Mapping[str, Query] = load(_SQL)
POSTGRES_QUERIES: Mapping[str, Query] = with_overrides(QUERIES, _SQL / "postgresql")
