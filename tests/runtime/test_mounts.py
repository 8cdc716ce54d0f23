"""A directory is removed although a program that ends takes files from it meanwhile."""

import os
import shutil
from pathlib import Path

import pytest

from innkeeper.runtime.mounts import remove_tree


def test_a_tree_that_is_gone_is_fine(tmp_path: Path) -> None:
    remove_tree(tmp_path / "none")


def test_files_that_go_by_themselves_do_not_stop_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = tmp_path / "run"
    (tree / "inner").mkdir(parents=True)
    for name in ("a.lock", "b.lock", "c.lock"):
        (tree / "inner" / name).write_text("x")
    real, calls = os.unlink, []

    def taken_first(path: str, *, dir_fd: int | None = None) -> None:
        calls.append(path)
        real(path, dir_fd=dir_fd)
        if len(calls) < 3:
            raise FileNotFoundError(2, "taken by its owner", path)

    monkeypatch.setattr(shutil.os, "unlink", taken_first)
    remove_tree(tree)
    assert not tree.exists()
    assert len(calls) == 3


def test_what_cannot_be_removed_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("x")

    def refused(*_: object, **__: object) -> None:
        raise PermissionError(1, "not permitted")

    monkeypatch.setattr(shutil.os, "unlink", refused)
    with pytest.raises(PermissionError):
        remove_tree(tmp_path)
