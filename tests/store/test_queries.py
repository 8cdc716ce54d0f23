"""The query files: read strictly, right against the schema, and convertible for psycopg."""

import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from innkeeper.store.migrate import migrate
from innkeeper.store.queries import (
    POSTGRES_QUERIES,
    QUERIES,
    BadQuery,
    Query,
    load,
    to_positional,
    with_overrides,
)

GOOD = """
-- Everything about rooms.

-- name: by_id
-- One room.
-- Whatever its state.
SELECT * FROM rooms WHERE room_id = :room_id;

-- name: add
-- A new one.
INSERT INTO rooms (room_id, note) -- :not_a_parameter
VALUES (:room_id, 'a; b :c ''quoted''')
"""


def loaded(directory: Path, text: str, file: str = "rooms.sql") -> dict[str, Query]:
    """The queries of one file of this text."""
    (directory / file).write_text(text)
    return load(directory)


def test_a_query_has_a_name_a_purpose_and_parameters(tmp_path: Path) -> None:
    queries = loaded(tmp_path, GOOD)
    assert list(queries) == ["rooms.by_id", "rooms.add"]
    by_id = queries["rooms.by_id"]
    assert by_id.purpose == "One room. Whatever its state."
    assert by_id.sql == "SELECT * FROM rooms WHERE room_id = :room_id"
    assert by_id.params == frozenset({"room_id"})
    assert not by_id.writes
    assert queries["rooms.add"].params == frozenset({"room_id"})
    assert queries["rooms.add"].writes


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("SELECT 1", "no heading"),
        ("SELECT 1\n-- name: a\n-- A.\nSELECT 1", "before the first heading"),
        ("-- name: a\nSELECT 1", "no purpose"),
        ("-- name: a\n--\nSELECT 1", "no purpose"),
        ("-- name: a\n-- A.\n", "no statement"),
        ("-- name: a\n-- A.\n;", "no statement"),
        ("-- name: a\n-- A.\nSELECT 1; SELECT 2", "more than one statement"),
        ("-- name: A\n-- A.\nSELECT 1", "lower-case"),
        ("-- name: a b\n-- A.\nSELECT 1", "lower-case"),
        ("-- name:\n-- A.\nSELECT 1", "lower-case"),
        ("-- name: a\n-- A.\nSELECT 'x", "not closed"),
        ("-- name: a\n-- A.\nSELECT '", "not closed"),
        ("-- name: a\n-- A.\nSELECT 1 /* x", "not closed"),
        ("-- name: a\n-- A.\nSELECT 1 /*/", "not closed"),
        ("-- name: a\n-- A.\nSELECT 1\n-- name: a\n-- B.\nSELECT 2", "two queries"),
    ],
)
def test_a_badly_written_file_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(BadQuery, match=problem):
        loaded(tmp_path, text)


def test_a_file_name_is_part_of_the_key_and_must_be_fit_for_it(tmp_path: Path) -> None:
    with pytest.raises(BadQuery, match="file name"):
        loaded(tmp_path, GOOD, "My Rooms.sql")


@pytest.mark.parametrize(
    ("sql", "writes"),
    [
        ("SELECT 'INSERT'", False),
        ("select 1", False),
        ("VALUES (1)", False),
        ("WITH a AS (SELECT 'DELETE' AS \"update\") SELECT * FROM a -- REPLACE", False),
        ("WITH a AS (SELECT 1) INSERT INTO b SELECT * FROM a", True),
        ("/* SELECT */ DELETE FROM a", True),
        ("UPDATE a SET b = 1 RETURNING b", True),
        ("CREATE TABLE a (b)", True),
    ],
)
def test_what_may_write_is_known(tmp_path: Path, sql: str, writes: bool) -> None:
    assert loaded(tmp_path, f"-- name: a\n-- A.\n{sql}")["rooms.a"].writes is writes


@pytest.mark.parametrize(
    ("sql", "converted", "names"),
    [
        ("SELECT :a, :b_2 WHERE x=:a", "SELECT $1, $2 WHERE x=$1", ("a", "b_2")),
        ("SELECT :a::bigint, b::text", "SELECT $1::bigint, b::text", ("a",)),
        ("SELECT ':a', 'it''s :b', \":c\"", "SELECT ':a', 'it''s :b', \":c\"", ()),
        ("SELECT 1 -- :a\n, :b", "SELECT 1 -- :a\n, $1", ("b",)),
        ("SELECT 1 /* :a\n */, :b", "SELECT 1 /* :a\n */, $1", ("b",)),
        ("SELECT 7 % 2, x LIKE 'a%' -- 5%", "SELECT 7 % 2, x LIKE 'a%' -- 5%", ()),
        ("SELECT a[1:2]", "SELECT a[1:2]", ()),
    ],
)
def test_a_statement_is_converted_for_postgresql(
    sql: str, converted: str, names: tuple[str, ...]
) -> None:
    assert to_positional(sql) == (converted, names)


@pytest.mark.parametrize("query", POSTGRES_QUERIES.values(), ids=POSTGRES_QUERIES.keys())
def test_what_is_converted_holds_every_parameter(query: Query) -> None:
    text, names = to_positional(query.sql)
    assert frozenset(names) == query.params
    assert ":" not in re.sub(r"'[^']*'|::", "", text)


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("-- name: none\n-- A.\nSELECT 1", "no query of this name"),
        ("-- name: by_id\n-- A.\nSELECT 1", "same parameters"),
        ("-- name: by_id\n-- A.\nDELETE FROM rooms WHERE room_id = :room_id", "write as"),
    ],
)
def test_an_override_must_fit_its_namesake(tmp_path: Path, override: str, problem: str) -> None:
    common = loaded(tmp_path, GOOD)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "rooms.sql").write_text(override)
    with pytest.raises(BadQuery, match=problem):
        with_overrides(common, tmp_path / "other")


def test_an_override_replaces_its_namesake_and_nothing_else(tmp_path: Path) -> None:
    common = loaded(tmp_path, GOOD)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "rooms.sql").write_text("-- name: by_id\n-- A.\nSELECT :room_id")
    merged = with_overrides(common, tmp_path / "other")
    assert merged["rooms.by_id"].sql == "SELECT :room_id"
    assert merged["rooms.add"] is common["rooms.add"]


@pytest.fixture(scope="module")
def schema(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("schema") / "innkeeper.db"
    migrate(path)
    return path


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES.keys())
def test_every_query_fits_the_schema(schema: Path, query: Query) -> None:
    with closing(sqlite3.connect(schema)) as connection:
        connection.execute(f"EXPLAIN {query.sql}", dict.fromkeys(query.params))
