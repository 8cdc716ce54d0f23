"""Hostile uploads: refused with a clear error, and no file is left behind."""

import io
import os
import struct
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from innkeeper.testing.live import LiveServer
from innkeeper.testing.live_studio import LiveStudio, archive, zipped

RECIPE = b'FROM scratch\nCOPY . /\nCMD ["/game"]\n'
# These change by themselves: the engine's storage, the store, the logs of games. A build's log is kept.
ASIDE = {"engine", "storage", "logs"}
KEPT = (".log", ".db", ".db-wal", ".db-shm", "trash")


def tarball(*members: tarfile.TarInfo, content: bytes = b"", recipe: bytes = RECIPE) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz", compresslevel=1) as tar:
        described = tarfile.TarInfo("Dockerfile")
        described.size = len(recipe)
        tar.addfile(described, io.BytesIO(recipe))
        for member in members:
            tar.addfile(member, io.BytesIO(content) if member.size else None)
    return packed.getvalue()


def member(
    name: str, kind: bytes = tarfile.REGTYPE, link: str = "", size: int = 0
) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname, made.size = kind, link, size
    if kind in (tarfile.CHRTYPE, tarfile.BLKTYPE):
        made.devmajor, made.devminor = 1, 3
    return made


def bomb() -> bytes:
    """Zeros far beyond the limit: small on the wire."""
    zeros = 64 * 1024**2
    return tarball(member("zeros", size=zeros), content=b"\0" * zeros)


def lying_size() -> bytes:
    """A header that promises more than the archive holds."""
    header = bytearray(tarfile.TarInfo("game").tobuf())
    header[124:136] = b"00000777777\0"
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return zipped(bytes(header) + b"short")


HOSTILE: dict[str, Callable[[], bytes]] = {
    "climbs out": lambda: tarball(member("../evil", size=4), content=b"evil"),
    "climbs out inside": lambda: tarball(member("a/../../evil", size=4), content=b"evil"),
    "absolute": lambda: tarball(member("/tmp/evil-of-a-test", size=4), content=b"evil"),
    "link out": lambda: tarball(member("way", tarfile.SYMTYPE, "../../../../etc")),
    "absolute link out": lambda: tarball(member("way", tarfile.SYMTYPE, "/etc/passwd")),
    "through a link": lambda: tarball(
        member("way", tarfile.SYMTYPE, ".."), member("way/evil", size=4), content=b"evil"
    ),
    "hard link out": lambda: tarball(member("way", tarfile.LNKTYPE, "../../../../etc/passwd")),
    "character device": lambda: tarball(member("null", tarfile.CHRTYPE)),
    "block device": lambda: tarball(member("disk", tarfile.BLKTYPE)),
    "pipe": lambda: tarball(member("pipe", tarfile.FIFOTYPE)),
    "bomb": bomb,
    "lying size": lying_size,
    "not gzip": lambda: b"this is no archive at all" * 10,
    "not tar": lambda: zipped(b"neither is this" * 1000),
    "cut short": lambda: tarball(member("x", size=9000), content=b"x" * 9000)[:-20],
    "no recipe": lambda: archive({"game": b"x"}),
    "empty": lambda: archive({}),
    "recipe is a link": lambda: archive({}, {"Dockerfile": "/etc/passwd"}),
    "wrong checksum": lambda: tarball()[:-8] + struct.pack("<II", 1, 2),
}


def names_below(folder: Path) -> set[str]:
    """What lies there; a folder that an engine takes away meanwhile is none."""
    return {name for _, folders, files in os.walk(folder) for name in (*folders, *files)}


def files_of(folder: Path) -> set[Path]:
    found = set()
    for at, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name not in ASIDE]
        found |= {Path(at, name) for name in (*folders, *names) if not name.endswith(KEPT)}
    return found


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_archive_fails_its_build_and_leaves_nothing(
    studio: LiveStudio, live: LiveServer, name: str
) -> None:
    before = files_of(live.data_dir)
    build = studio.build(HOSTILE[name]())
    assert build["status"] == "failed", build["log"]
    reason = build["log"].splitlines()[-1]
    assert reason.startswith("Build failed: ")
    assert len(reason) > len("Build failed: ") + 5
    assert "Traceback" not in build["log"]
    assert files_of(live.data_dir) - before == set()
    assert not Path("/tmp/evil-of-a-test").exists()
    assert "evil" not in names_below(live.data_dir.parent)


@pytest.mark.parametrize("sent", [0, 9, 11, 500_000], ids=str)
def test_a_part_of_the_wrong_size_is_refused_and_not_kept(
    studio: LiveStudio, live: LiveServer, sent: int
) -> None:
    made = studio.sdk("buildsV3.createBuild", {"buildSizeInBytes": 10})
    before = files_of(live.data_dir)
    answer = httpx.put(
        made["uploadParts"][0]["putRequestUrl"], content=b"x" * sent, trust_env=False
    )
    assert 400 <= answer.status_code < 500
    assert "<Code>" in answer.text
    assert not {p for p in files_of(live.data_dir) - before if p.is_file()}


def test_a_part_cut_off_in_the_middle_is_not_kept(studio: LiveStudio, live: LiveServer) -> None:
    made = studio.sdk("buildsV3.createBuild", {"buildSizeInBytes": 300_000})
    before = files_of(live.data_dir)

    def body() -> Iterator[bytes]:
        yield b"x" * 100_000
        raise ConnectionAbortedError("the client gives up")

    with pytest.raises(ConnectionAbortedError):
        httpx.put(
            made["uploadParts"][0]["putRequestUrl"],
            content=body(),
            headers={"Content-Length": "300000"},
            trust_env=False,
        )
    assert studio.sdk("buildsV3.getBuild", made["buildId"])["status"] == "created"
    assert not {p for p in files_of(live.data_dir) - before if p.is_file()}


def test_links_that_stay_inside_are_fine(studio: LiveStudio, game: bytes) -> None:
    with tarfile.open(fileobj=io.BytesIO(game)) as tar:
        tag = tar.extractfile("tag")
        assert tag is not None
        files = {"Dockerfile": RECIPE, "bin/real": tag.read()}
    content = archive(files, {"game": "bin/real", "deep/way": "../bin/real"})
    app_id = studio.app()
    build = studio.build(content)
    assert build["status"] == "succeeded", build["log"]
    studio.deploy(app_id, build["buildId"])
    studio.active(app_id, studio.room(app_id)["roomId"])


def test_a_leading_dot_and_a_single_folder_are_accepted(studio: LiveStudio, game: bytes) -> None:
    with tarfile.open(fileobj=io.BytesIO(game)) as tar:
        files = {m.name: handle.read() for m in tar if (handle := tar.extractfile(m))}
    dotted = archive({f"./{name}": content for name, content in files.items()})
    assert studio.build(dotted)["status"] == "succeeded"
    inside = studio.build(archive({f"top/{name}": content for name, content in files.items()}))
    assert inside["status"] == "succeeded", inside["log"]
    assert "top" in inside["log"], "the folder is told"
