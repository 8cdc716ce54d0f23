"""Hostile archives are refused with a reason, and honest ones of every usual make are taken."""

import contextlib
import gzip
import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from innkeeper.core.errors import BuildFailed
from innkeeper.runtime.archive import ArchiveLimits, check_archive, normalise
from innkeeper.runtime.process_builder import unpack

LIMITS = ArchiveLimits(
    entries_max=1000, bytes_max=4 * 1024**2, ratio_max=50, ratio_free_bytes=1024**2
)
Add = Callable[[tarfile.TarFile], None]


def entry(name: str, content: bytes = b"x", **fields: object) -> Add:
    """One entry; ``fields`` go into its header as they are."""

    def add(tar: tarfile.TarFile) -> None:
        info = tarfile.TarInfo(name)
        for key, value in fields.items():
            setattr(info, key, value)
        if info.type == tarfile.REGTYPE:
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        else:
            tar.addfile(info)

    return add


def link(name: str, target: str) -> Add:
    return entry(name, type=tarfile.SYMTYPE, linkname=target)


def hardlink(name: str, target: str) -> Add:
    return entry(name, type=tarfile.LNKTYPE, linkname=target)


def packed(*adds: Add, tar_format: int = tarfile.PAX_FORMAT) -> bytes:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w:", format=tar_format) as tar:
        for add in adds:
            add(tar)
    return raw.getvalue()


DOCKERFILE = entry("Dockerfile", b"FROM scratch\n")


def write(path: Path, raw: bytes, *, plain: bool = False) -> Path:
    path.write_bytes(raw if plain else gzip.compress(raw, 1))
    return path


HOSTILE = {
    "absolute path": ([entry("/etc/passwd")], "absolute path"),
    "parent": ([entry("../outside")], '".." in its path'),
    "parent inside": ([entry("a/../../outside")], '".." in its path'),
    "symlink to an absolute path": ([link("a", "/etc")], "leaves the root"),
    "symlink to a parent": ([link("a", "..")], "leaves the root"),
    "symlink out by a detour": ([link("d/a", "../../x")], "leaves the root"),
    "symlink out through another": (
        [link("d/e/up", "../.."), link("out", "d/e/up/..")],
        "leaves the root",
    ),
    "symlink out through a later one": (
        [link("out", "d/e/up/../.."), link("d/e/up", "..")],
        "leaves the root",
    ),
    "links in a circle": ([link("a", "b"), link("b", "a")], "circle"),
    "file through a link": ([link("a", "b"), entry("a/file")], "through the link"),
    "file over a link": ([link("a", "b"), entry("a")], "appears twice"),
    "link over a file": ([entry("a"), link("a", "b")], "appears twice"),
    "link over a directory": ([entry("a/f"), link("a", "b")], "appears twice"),
    "below a file": ([entry("a"), entry("a/b")], "which is a file"),
    "hard link out": ([hardlink("a", "../../etc/passwd")], "leaves the root"),
    "hard link to an absolute path": ([hardlink("a", "/etc/passwd")], "leaves the root"),
    "hard link to nothing": ([hardlink("a", "b")], "no file before it"),
    "hard link to a link": ([link("b", "c"), hardlink("a", "b")], "no file before it"),
    "device": ([entry("a", type=tarfile.BLKTYPE, devmajor=8)], "device node"),
    "character device": ([entry("a", type=tarfile.CHRTYPE, devmajor=1)], "device node"),
    "pipe": ([entry("a", type=tarfile.FIFOTYPE)], "named pipe"),
    "unknown kind": ([entry("a", type=b"Z")], "unknown kind"),
    "long part": ([entry("a" * 256)], "too long"),
    "deep": ([entry("a/" * 200 + "b")], "directories deep"),
    "NUL in the name": ([entry("n", pax_headers={"path": "a\0b"})], "NUL"),
    "sparse by extended header": (
        [entry("n", pax_headers={"GNU.sparse.size": "1", "GNU.sparse.numblocks": "0"})],
        "refused",
    ),
    "large extended header": ([entry("n", pax_headers={"comment": "x" * 100_000})], "too large"),
    "root replaced": ([entry(".", b"x")], "replace the root"),
}


@pytest.mark.parametrize("case", HOSTILE, ids=str)
def test_hostile_entries_are_refused_by_name(case: str, tmp_path: Path) -> None:
    adds, why = HOSTILE[case]
    path = write(tmp_path / "a.tgz", packed(DOCKERFILE, *adds))
    with pytest.raises(BuildFailed, match=why):
        check_archive(path, LIMITS)
    assert os.listdir(tmp_path) == ["a.tgz"]


def test_the_message_names_the_entry(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tgz", packed(DOCKERFILE, entry("safe/../../out\n")))
    with pytest.raises(BuildFailed) as caught:
        check_archive(path, LIMITS)
    assert 'entry "safe/../../out\\n" has ".." in its path' in caught.value.message


def test_too_many_entries(tmp_path: Path) -> None:
    adds = [entry(f"f{n}", b"") for n in range(1001)]
    path = write(tmp_path / "a.tgz", packed(DOCKERFILE, *adds))
    with pytest.raises(BuildFailed, match="more than 1000 entries"):
        check_archive(path, LIMITS)


def test_implied_directories_count(tmp_path: Path) -> None:
    adds = [entry("/".join(f"d{n}-{m}" for m in range(100)) + "/f", b"") for n in range(30)]
    path = write(tmp_path / "a.tgz", packed(DOCKERFILE, *adds))
    with pytest.raises(BuildFailed, match="too many directories"):
        check_archive(path, LIMITS)


def test_expansion_beyond_the_limit(tmp_path: Path) -> None:
    noise = os.urandom(5 * 1024**2)
    path = write(tmp_path / "a.tgz", packed(DOCKERFILE, entry("big", noise)))
    with pytest.raises(BuildFailed, match="unpacks to more than 4194304 bytes"):
        check_archive(path, LIMITS)


def test_expansion_out_of_proportion(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tgz", packed(DOCKERFILE, entry("zeros", bytes(3 * 1024**2))))
    with pytest.raises(BuildFailed, match="more than 50 times"):
        check_archive(path, LIMITS)


def test_a_header_that_promises_too_much(tmp_path: Path) -> None:
    raw = bytearray(packed(DOCKERFILE, entry("f", b"x")))
    info = tarfile.TarInfo("huge")
    info.size = 1 << 40
    raw[-10240:] = info.tobuf(tarfile.GNU_FORMAT) + bytes(512)
    with pytest.raises(BuildFailed, match="refused"):
        check_archive(write(tmp_path / "a.tgz", bytes(raw)), LIMITS)


def test_a_chain_of_long_names_is_bounded(tmp_path: Path) -> None:
    info = tarfile.TarInfo("././@LongLink")
    info.type = tarfile.GNUTYPE_LONGNAME
    raw = info.tobuf(tarfile.GNU_FORMAT) * 5000 + packed(DOCKERFILE)
    with pytest.raises(BuildFailed, match="refused"):
        check_archive(write(tmp_path / "a.tgz", raw), LIMITS)


@pytest.mark.parametrize("tail", [b"garbage", b"\0", b"\x1f", b"\x1f\x8bno"])
def test_what_follows_the_gzip_data_is_refused(tail: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.tgz"
    path.write_bytes(gzip.compress(packed(DOCKERFILE)) + tail)
    with pytest.raises(BuildFailed, match="refused"):
        check_archive(path, LIMITS)


def test_a_second_archive_behind_the_first_is_refused(tmp_path: Path) -> None:
    raw = packed(DOCKERFILE) + packed(entry("/etc/passwd"))
    with pytest.raises(BuildFailed, match="data after its end"):
        check_archive(write(tmp_path / "a.tgz", raw), LIMITS)


def test_a_file_of_two_gzip_members_is_one_stream(tmp_path: Path) -> None:
    raw = packed(DOCKERFILE)
    path = tmp_path / "a.tgz"
    path.write_bytes(gzip.compress(raw[:700]) + gzip.compress(raw[700:]))
    assert check_archive(path, LIMITS).entries == 1


@pytest.mark.parametrize("size", [0, 1, 300, 2000])
def test_a_cut_archive_is_refused(size: int, tmp_path: Path) -> None:
    whole = gzip.compress(packed(DOCKERFILE, entry("noise", os.urandom(3000))))
    path = tmp_path / "a.tgz"
    path.write_bytes(whole[:size])
    with pytest.raises(BuildFailed, match="refused"):
        check_archive(path, LIMITS)


def test_no_dockerfile(tmp_path: Path) -> None:
    with pytest.raises(BuildFailed, match="no Dockerfile at its root"):
        check_archive(write(tmp_path / "a.tgz", packed(entry("game"))), LIMITS)
    two_tops = packed(entry("a/Dockerfile"), entry("b/x"))
    with pytest.raises(BuildFailed, match="no Dockerfile at its root"):
        check_archive(write(tmp_path / "b.tgz", two_tops), LIMITS)


@pytest.mark.parametrize(
    "tar_format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]
)
@pytest.mark.parametrize("prefix", ["", "./"])
@pytest.mark.parametrize("plain", [True, False])
def test_usual_archives_are_taken(
    tar_format: int, prefix: str, plain: bool, tmp_path: Path
) -> None:
    raw = packed(
        entry(f"{prefix}Dockerfile", b"FROM scratch\n"),
        entry(f"{prefix}bin", type=tarfile.DIRTYPE),
        entry(f"{prefix}bin/game", b"game", mode=0o4755),
        entry(f"{prefix}bin/{'n' * 90}", b"long"),
        link(f"{prefix}bin/latest", "game"),
        link(f"{prefix}bin/up", "../bin/game"),
        hardlink(f"{prefix}bin/same", f"{prefix}bin/game"),
        tar_format=tar_format,
    )
    path = write(tmp_path / "a.tgz", raw, plain=plain)
    facts = check_archive(path, LIMITS)
    assert (facts.top, facts.warnings, facts.entries) == ("", (), 7)
    unpack(path, facts, LIMITS, tmp_path / "out")
    assert (tmp_path / "out/bin/latest").read_bytes() == b"game"
    assert (tmp_path / "out/bin/same").read_bytes() == b"game"
    assert (tmp_path / "out/bin/game").stat().st_mode & 0o7777 == 0o755


def test_a_single_top_directory_becomes_the_root(tmp_path: Path) -> None:
    raw = packed(
        entry("mygame/Dockerfile", b"FROM scratch\n"),
        entry("mygame/bin/game", b"game", mode=0o755),
        hardlink("mygame/bin/same", "mygame/bin/game"),
        link("mygame/link", "bin/game"),
        entry("._mygame", b"left by a desktop"),
    )
    path = write(tmp_path / "a.tgz", raw)
    facts = check_archive(path, LIMITS)
    assert facts.top == "mygame"
    assert "mygame/" in facts.warnings[0]
    normalise(path, facts, LIMITS, tmp_path / "b.tar")
    again = check_archive(tmp_path / "b.tar", LIMITS)
    assert (again.top, again.entries) == ("", 4)
    unpack(tmp_path / "b.tar", again, LIMITS, tmp_path / "out")
    assert (tmp_path / "out/link").read_bytes() == b"game"
    assert (tmp_path / "out/bin/same").read_bytes() == b"game"


def test_a_link_may_not_leave_the_single_top_directory(tmp_path: Path) -> None:
    raw = packed(entry("g/Dockerfile"), link("g/a", "../g/Dockerfile"))
    with pytest.raises(BuildFailed, match="leaves the root"):
        check_archive(write(tmp_path / "a.tgz", raw), LIMITS)


def test_normalise_leaves_nothing_when_it_fails(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tgz", packed(entry("g/Dockerfile"), entry("g/x", os.urandom(9000))))
    facts = check_archive(path, LIMITS)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(BuildFailed):
        normalise(path, facts, LIMITS, tmp_path / "b.tar")
    assert os.listdir(tmp_path) == ["a.tgz"]


def test_global_headers_of_git_are_taken(tmp_path: Path) -> None:
    raw = io.BytesIO()
    with tarfile.open(
        fileobj=raw, mode="w:", format=tarfile.PAX_FORMAT, pax_headers={"comment": "a" * 40}
    ) as tar:
        DOCKERFILE(tar)
    assert check_archive(write(tmp_path / "a.tgz", raw.getvalue()), LIMITS).entries == 1


names = st.lists(st.sampled_from(["a", "b", "..", ".", "", "link"]), min_size=1, max_size=5)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(
            names.map("/".join),
            st.sampled_from(["file", "dir", "sym", "hard"]),
            names.map("/".join),
        ),
        max_size=8,
    )
)
def test_what_is_accepted_never_writes_outside(
    tmp_path_factory: pytest.TempPathFactory, entries: list[tuple[str, str, str]]
) -> None:
    """Whatever passes the check unpacks inside, and no link that it made leads outside."""
    tmp_path = tmp_path_factory.mktemp("archive")
    adds: list[Add] = [DOCKERFILE]
    for name, kind, target in entries:
        if kind == "file":
            adds.append(entry(name or "x", b"data"))
        elif kind == "dir":
            adds.append(entry(name or "x", type=tarfile.DIRTYPE))
        else:
            adds.append(
                link(name or "x", target) if kind == "sym" else hardlink(name or "x", target)
            )
    path = write(tmp_path / "a.tgz", packed(*adds))
    root = tmp_path / "in" / "root"
    root.parent.mkdir()
    try:
        facts = check_archive(path, LIMITS)
    except BuildFailed:
        return
    unpack(path, facts, LIMITS, root)
    assert os.listdir(root.parent) == ["root"]
    for directory, names_, files in os.walk(root):
        for name in names_ + files:
            real = os.path.realpath(os.path.join(directory, name))
            assert real == str(root) or real.startswith(f"{root}/")


@settings(max_examples=200)
@given(position=st.integers(0, 4095), value=st.integers(0, 255))
def test_a_flipped_byte_is_refused_or_harmless(
    tmp_path_factory: pytest.TempPathFactory, position: int, value: int
) -> None:
    raw = bytearray(packed(DOCKERFILE, entry("a/b", b"data" * 300), link("l", "a")))
    raw[position % len(raw)] = value
    path = write(tmp_path_factory.mktemp("flip") / "a.tar", bytes(raw), plain=True)
    with contextlib.suppress(BuildFailed):
        check_archive(path, LIMITS)
