"""The admin token's file: made once, private, replaced by a preset."""

import stat
from pathlib import Path

import pytest

from innkeeper.config import Settings
from innkeeper.config.admin_token import admin_token, read_token, token_path
from innkeeper.core.errors import Invalid


def settings(data_dir: Path, preset: str | None = None) -> Settings:
    return Settings.load({"data_dir": str(data_dir), "admin_token": preset}, {})


def test_the_first_start_makes_it_and_later_ones_keep_it(tmp_path: Path) -> None:
    data_dir = tmp_path / "new"
    first = admin_token(settings(data_dir), lambda: "first-token-of-all")
    second = admin_token(settings(data_dir), lambda: "another-token-now")
    assert (first.text, first.made_now) == ("first-token-of-all", True)
    assert (second.text, second.made_now) == ("first-token-of-all", False)
    assert stat.S_IMODE(first.path.stat().st_mode) == 0o600
    assert "first-token" not in repr(first)


def test_a_preset_replaces_it_and_stays(tmp_path: Path) -> None:
    admin_token(settings(tmp_path), lambda: "first-token-of-all")
    preset = admin_token(settings(tmp_path, "preset-token-by-me"), lambda: "never-made-never")
    assert (preset.text, preset.made_now) == ("preset-token-by-me", False)
    assert admin_token(settings(tmp_path), lambda: "never-made-never").text == "preset-token-by-me"
    assert [path.name for path in tmp_path.iterdir()] == ["admin-token"]


def test_a_file_that_holds_no_token_is_refused(tmp_path: Path) -> None:
    assert read_token(tmp_path) is None
    token_path(tmp_path).write_text("short")
    with pytest.raises(Invalid, match="must be 16 to 512 printable"):
        read_token(tmp_path)
