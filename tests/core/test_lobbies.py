"""What old versions show of a config, and how many lobbies a player may make (behaviour.md 6)."""

from datetime import UTC, datetime, timedelta

import pytest

from innkeeper.core.errors import Exhausted
from innkeeper.core.lobbies import check_creations, initial_config_of

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("room_config", "shown"),
    [
        (None, "{}"),
        ('{"mode": "duel"}', '{"mode": "duel"}'),
        ("5", "5"),
        ("", '""'),
        ("map=dust", '"map=dust"'),
        ("NaN", '"NaN"'),
        ("[" * 5000, '"' + "[" * 5000 + '"'),
    ],
)
def test_a_room_config_as_json(room_config: str | None, shown: str) -> None:
    assert initial_config_of(room_config) == shown


def test_the_hour_slides() -> None:
    check_creations(10, None, NOW)
    check_creations(0, NOW, NOW)
    check_creations(10, NOW - timedelta(hours=1), NOW)
    with pytest.raises(Exhausted) as refused:
        check_creations(10, NOW - timedelta(minutes=59, milliseconds=500), NOW)
    assert refused.value.retry_after_s == 60
    assert "10 in an hour" in refused.value.message
