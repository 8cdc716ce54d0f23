"""Errors become the statuses that an operation declares, in one shape."""

import json
from typing import Any

import pytest

from innkeeper.api import contract, errors
from innkeeper.core import errors as core


def every(error: type[core.InnkeeperError]) -> set[type[core.InnkeeperError]]:
    return {error}.union(*(every(below) for below in error.__subclasses__()))


def test_every_error_has_a_status_of_its_own() -> None:
    assert every(core.InnkeeperError) == set(errors.STATUSES)


def test_a_bad_field_is_named_and_shown() -> None:
    wrong = errors.answer(
        core.Invalid("body.region", "must be one of Tokyo"), frozenset({422}), "", "Mars"
    )
    assert wrong.status == 422
    assert json.loads(wrong.body) == {
        "message": "Validation failed: body.region must be one of Tokyo",
        "details": {"body.region": {"message": "must be one of Tokyo", "value": "Mars"}},
    }


def test_the_full_and_the_unavailable_say_when_to_come_back() -> None:
    assert errors.answer(core.Exhausted("full", 7)).headers == {"retry-after": "7"}
    assert errors.answer(core.Unavailable("away", 3)).headers == {"retry-after": "3"}
    assert errors.answer(core.RuntimeAway("away")).headers["retry-after"].isdigit()


def test_what_nobody_meant_is_logged_and_not_told(caplog: pytest.LogCaptureFixture) -> None:
    secret = ValueError("the secret of the house")
    wrong = errors.answer(secret, frozenset({500}), "abc123")
    assert wrong.status == 500
    assert json.loads(wrong.body) == {"message": "Internal error (id abc123)"}
    assert "abc123" in caplog.text
    assert "the secret of the house" in caplog.text


@pytest.mark.parametrize(
    ("status", "declared", "answered"),
    [
        (422, {400, 401, 404}, 400),
        (422, {401, 404}, 404),
        (422, {401, 404, 422}, 422),
        (404, {401, 429}, 401),
        (404, {401, 404}, 404),
        (413, {401}, 413),
        (503, {401}, 503),
        (501, {401}, 501),
    ],
)
def test_undeclared_statuses_give_way(status: int, declared: set[int], answered: int) -> None:
    assert errors.declared(status, frozenset(declared)) == answered


def test_no_operation_with_a_token_answers_an_undeclared_401_404_or_422() -> None:
    for declaration in contract.load().operations.values():
        if declaration.security == "org" and not declaration.extension:
            for status in (401, 404, 422):
                answered = errors.declared(status, declaration.errors)
                assert answered in declaration.errors, declaration.operation_id


def test_an_error_does_not_need_the_operation() -> None:
    made: Any = errors.answer(core.NotFound("App", "app-1"))
    assert (made.status, json.loads(made.body)) == (404, {"message": 'App "app-1" not found'})
