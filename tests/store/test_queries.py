"""The query files: read strictly, right against the schema, and convertible for psycopg."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from innkeeper.store.migrate import migrate
from innkeeper.store.queries import QUERIES, BadQuery, Query, load, to_psycopg

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
    ("sql", "converted"),
    [
        ("SELECT :a, :b_2 WHERE x=:a", "SELECT %(a)s, %(b_2)s WHERE x=%(a)s"),
        ("SELECT :a::bigint, b::text", "SELECT %(a)s::bigint, b::text"),
        ("SELECT ':a', 'it''s :b', \":c\"", "SELECT ':a', 'it''s :b', \":c\""),
        ("SELECT 1 -- :a\n, :b", "SELECT 1 -- :a\n, %(b)s"),
        ("SELECT 1 /* :a\n */, :b", "SELECT 1 /* :a\n */, %(b)s"),
        ("SELECT 7 % 2, x LIKE 'a%' -- 5%", "SELECT 7 %% 2, x LIKE 'a%%' -- 5%%"),
        ("SELECT a[1:2]", "SELECT a[1:2]"),
    ],
)
def test_a_statement_is_converted_for_psycopg(sql: str, converted: str) -> None:
    assert to_psycopg(sql) == converted


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES.keys())
def test_what_is_converted_holds_every_parameter(query: Query) -> None:
    assert to_psycopg(query.sql) % dict.fromkeys(query.params, "1")


@pytest.fixture(scope="module")
def schema(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("schema") / "innkeeper.db"
    migrate(path)
    return path


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES.keys())
def test_every_query_fits_the_schema(schema: Path, query: Query) -> None:
    with closing(sqlite3.connect(schema)) as connection:
        connection.execute(f"EXPLAIN {query.sql}", dict.fromkeys(query.params))
