"""Packing a folder: the same bytes for the same files, and nothing that was not meant."""

import os
import tarfile
from pathlib import Path

import click
import pytest

from innkeeper.cli.archive import Archive, pack


def folder_of(root: Path, **files: str) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    for name, text in {"Dockerfile": "FROM scratch\n", **files}.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def names(archive: Archive) -> list[str]:
    with tarfile.open(archive.path) as tar:
        return tar.getnames()


def test_a_folder_needs_a_dockerfile(tmp_path: Path) -> None:
    with pytest.raises(click.ClickException, match="has no Dockerfile"):
        pack(tmp_path, tmp_path / "out")


def test_the_same_files_make_the_same_bytes(tmp_path: Path) -> None:
    one = folder_of(tmp_path / "one", game="x", a__b="y")
    two = folder_of(tmp_path / "two", a__b="y", game="x")
    os.utime(two / "game", (1, 1))
    first, second = pack(one, tmp_path / "1"), pack(two, tmp_path / "2")
    assert first.sha256 == second.sha256
    assert names(first) == ["Dockerfile", "a/b", "game"]
    assert (first.files, first.size) == (3, first.path.stat().st_size)


def test_another_content_or_mode_makes_other_bytes(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "f", game="x")
    first = pack(folder, tmp_path / "1").sha256
    (folder / "game").chmod(0o755)
    second = pack(folder, tmp_path / "2").sha256
    (folder / "game").write_text("y")
    assert len({first, second, pack(folder, tmp_path / "3").sha256}) == 3


def test_owners_and_git_stay_at_home(tmp_path: Path) -> None:
    archive = pack(folder_of(tmp_path / "f", **{".git__config": "x"}), tmp_path / "out")
    assert names(archive) == ["Dockerfile"]
    with tarfile.open(archive.path) as tar:
        assert {(m.uid, m.gid, m.uname, m.mtime) for m in tar} == {(0, 0, "", 0)}


def test_hard_links_carry_their_content_and_soft_links_stay_links(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "f", game="content")
    os.link(folder / "game", folder / "same")
    (folder / "link").symlink_to("game")
    os.mkfifo(folder / "pipe")
    with tarfile.open(pack(folder, tmp_path / "out").path) as tar:
        assert tar.getnames() == ["Dockerfile", "game", "link", "same"]
        assert tar.getmember("same").isreg()
        same = tar.extractfile("same")
        assert same is not None
        assert same.read() == b"content"
        assert tar.getmember("link").linkname == "game"


@pytest.mark.parametrize(
    ("rules", "kept"),
    [
        ("*.o", ["Dockerfile", "a/b.o", "a/c", "game"]),
        ("**/*.o", ["Dockerfile", "a/c", "game"]),
        ("a", ["Dockerfile", "game", "x.o"]),
        ("*\n!game", ["Dockerfile", "game"]),
        ("*\n!a/c", ["Dockerfile", "a/c"]),
        ("# a\n\n/a/\nDockerfile", ["Dockerfile", "game", "x.o"]),
        ("a/?", ["Dockerfile", "a/b.o", "game", "x.o"]),
    ],
)
def test_dockerignore_is_obeyed(tmp_path: Path, rules: str, kept: list[str]) -> None:
    folder = folder_of(tmp_path / "f", game="", a__c="", **{"x.o": "", "a__b.o": ""})
    (folder / ".dockerignore").write_text(rules)
    found = names(pack(folder, tmp_path / "out"))
    assert [name for name in found if name != ".dockerignore"] == kept


def test_the_sample_packs_to_what_its_dockerfile_needs(tmp_path: Path) -> None:
    sample = Path(__file__).parents[2] / "samples" / "tag"
    copy = folder_of(tmp_path / "tag", **{"tag": "binary", "tag.c": "source"})
    (copy / ".dockerignore").write_text((sample / ".dockerignore").read_text())
    assert names(pack(copy, tmp_path / "out")) == ["Dockerfile", "tag"]
