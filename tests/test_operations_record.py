"""The page of operations says what the conformance suite saw, and no more."""

from innkeeper.testing.operations_record import (
    Recorder,
    page,
    sdk_operations,
    table,
    verdict,
)

CREATE, GET, STOP = "roomsV2.createRoom", "roomsV2.getRoomInfo", "processesV3.stopProcess"


def recorded(*outcomes: tuple[str, str, str, bool]) -> dict[str, object]:
    """A record of (test, its outcome, what it called, whether that succeeded)."""
    recorder = Recorder()
    for test, outcome, call, succeeded in outcomes:
        recorder.begin(test)
        recorder.heard(call, succeeded)
        recorder.ended(test, outcome)
    return recorder.record("2.25.6", [CREATE, GET, STOP])


def test_a_success_in_a_test_that_passed_counts() -> None:
    record = recorded(("a", "passed", CREATE, True), ("b", "passed", CREATE, False))
    assert verdict(record, CREATE) == ("passed", ["a", "b"])
    assert verdict(record, GET) == ("untested", [])


def test_what_was_only_refused_is_not_shown_to_work() -> None:
    assert verdict(recorded(("a", "passed", CREATE, False)), CREATE)[0] == "untested"


def test_one_test_that_failed_is_enough() -> None:
    record = recorded(("a", "passed", CREATE, True), ("b", "failed", CREATE, True))
    assert verdict(record, CREATE) == ("failed", ["b"])


def test_a_skipped_test_shows_nothing() -> None:
    record = recorded(("a", "skipped", CREATE, True))
    assert verdict(record, CREATE) == ("untested", [])
    assert record["tests"] == []


def test_a_test_whose_end_fails_has_failed() -> None:
    recorder = Recorder()
    recorder.begin("a")
    recorder.heard(CREATE, True)
    recorder.ended("a", "failed")
    recorder.ended("a", "passed")
    assert verdict(recorder.record("2.25.6", [CREATE]), CREATE)[0] == "failed"


def test_the_page_and_the_table_count_what_passed() -> None:
    record = recorded(("t.py::a[process]", "passed", CREATE, True), ("b", "failed", GET, True))
    shown = page(record)
    assert f"**1 of {len(sdk_operations())} operations**" in shown
    assert "| CreateRoom | `createRoom` | POST `/rooms/v2/{appId}/create` | 1 | passed |" in shown
    assert (
        "| GetRoomInfo | `getRoomInfo` | GET `/rooms/v2/{appId}/info/{roomId}` | 1 | failed |"
        in shown
    )
    assert "| StopProcess |" in shown
    *_, last = table(record)
    assert last == "134 operations: 1 passed, 1 failed, 132 untested"
