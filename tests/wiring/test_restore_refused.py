"""What comes as a backup is not trusted: cut, damaged, hostile or later files change nothing."""

import io
import json
import sqlite3
import tarfile
from contextlib import closing
from pathlib import Path

import pytest

from innkeeper import wiring
from innkeeper.core.errors import InnkeeperError, StateConflict
from innkeeper.store.migrate import revisions
from innkeeper.wiring import backup_file
from innkeeper.wiring.backup_file import About, BackupWriter
from tests.wiring.conftest import Installation, put_back, quiet


async def test_a_cut_file_is_refused_wherever_it_was_cut(backup: Path, tmp_path: Path) -> None:
    whole, cut = backup.read_bytes(), tmp_path / "cut.tar"
    end = whole.rindex(b"SHA256SUMS\0")
    places = [
        *range(0, 3000, 100),
        *range(3000, end, 50_000),
        *range(end, len(whole.rstrip(b"\0")), 100),
    ]
    for size in places:
        cut.write_bytes(whole[:size])
        with pytest.raises(StateConflict, match="no whole backup"):
            wiring.open_backup(cut, quiet)


async def test_a_changed_bit_is_found_wherever_it_is(backup: Path, tmp_path: Path) -> None:
    whole, changed = backup.read_bytes(), tmp_path / "changed.tar"
    end = whole.rindex(b"SHA256SUMS\0")
    for at in range(700, end - 512, 40_961):
        content = bytearray(whole)
        content[at] ^= 1
        changed.write_bytes(content)
        if bytes(content[at - at % 512 :][:512]).strip(b"\0") in (b"", b"\1"):
            continue  # padding says nothing
        with pytest.raises(StateConflict, match="no whole backup"):
            wiring.open_backup(changed, quiet)


ABOUT = About(1, "0.1.0", revisions()[-1], "sqlite", "i", "process", "2026-01-31T12:00:00+00:00")


def packed(target: Path, about: About | str, members: dict[str, bytes]) -> Path:
    """A backup of made-up members, with right checksums."""
    with target.open("wb") as file:
        writer = BackupWriter(file)
        if isinstance(about, str):
            writer.text(backup_file.ABOUT, about)
        else:
            writer.about(about)
        for name, content in members.items():
            with writer.member(name) as sink:
                sink.write(content)
        writer.finish()
    return target


@pytest.mark.parametrize(
    ("members", "why"),
    [
        ({"../outside": b""}, "does not belong in one"),
        ({"/etc/passwd": b""}, "does not belong in one"),
        ({"logs/../../x.log.zst": b""}, "does not belong in one"),
        ({"logs/.log.zst\n": b""}, "does not belong in one"),
        ({"innkeeper.db-wal": b""}, "does not belong in one"),
        ({"admin-token": b"x"}, "holds no database"),
    ],
)
def test_names_that_do_not_belong_are_refused(
    tmp_path: Path, members: dict[str, bytes], why: str
) -> None:
    file = packed(tmp_path / "x.tar", ABOUT, members)
    with pytest.raises(StateConflict, match=why):
        wiring.open_backup(file, quiet)


@pytest.mark.parametrize(
    ("about", "why"),
    [
        ("[]", "does not say what it is"),
        ("{" * 50_000, "does not say what it is"),
        ('{"format": 2}', "has form 2, and this version knows form 1"),
        ('{"format": 1, "else": 1}', "does not say what it should"),
        (json.dumps({"format": 1}) + " " * 70_000, "too large"),
    ],
)
def test_another_form_is_refused(tmp_path: Path, about: str, why: str) -> None:
    with pytest.raises(StateConflict, match=why):
        wiring.open_backup(packed(tmp_path / "x.tar", about, {"database": b""}), quiet)


def test_a_later_schema_is_refused(tmp_path: Path) -> None:
    later = About(1, "9.9", "9999", "sqlite", "i", "process", "2026-01-31T12:00:00+00:00")
    file = packed(tmp_path / "x.tar", later, {"database": b""})
    with pytest.raises(StateConflict, match=r"9999, made by Innkeeper 9\.9; this one knows"):
        wiring.open_backup(file, quiet)


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        (tarfile.SYMTYPE, "a symbolic link"),
        (tarfile.LNKTYPE, "a hard link"),
        (tarfile.CHRTYPE, "a device"),
        (tarfile.BLKTYPE, "a device"),
        (tarfile.FIFOTYPE, "a named pipe"),
        (tarfile.DIRTYPE, "a directory"),
        (tarfile.GNUTYPE_SPARSE, "a sparse file"),
        (tarfile.XHDTYPE, "of the kind b'x'"),
        (tarfile.GNUTYPE_LONGNAME, "of the kind b'L'"),
    ],
)
def test_all_but_plain_files_is_refused(tmp_path: Path, kind: bytes, why: str) -> None:
    info = tarfile.TarInfo("database")
    info.type, info.linkname = kind, "/etc/passwd"
    file = tmp_path / "x.tar"
    file.write_bytes(info.tobuf(tarfile.GNU_FORMAT)[-512:] + bytes(1024))
    with pytest.raises(StateConflict, match=why):
        wiring.open_backup(file, quiet)


def test_a_size_beyond_the_file_is_refused(tmp_path: Path) -> None:
    info = tarfile.TarInfo(backup_file.ABOUT)
    info.size = 2**50
    file = tmp_path / "x.tar"
    file.write_bytes(info.tobuf(tarfile.GNU_FORMAT) + b"{}" + bytes(1022))
    with pytest.raises(StateConflict, match="cut short within"):
        wiring.open_backup(file, quiet)


def hostile(*entries: tuple[str, bytes, str]) -> bytes:
    """A tar of entries: name, kind, and target or content."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name, kind, text in entries:
            info = tarfile.TarInfo(name)
            info.type = kind
            if kind == tarfile.REGTYPE:
                info.size = len(text)
            else:
                info.linkname = text
            tar.addfile(info, io.BytesIO(text.encode()))
    return packed.getvalue()


IMAGE = (("image.json", tarfile.REGTYPE, "{}"), ("rootfs", tarfile.DIRTYPE, ""))


@pytest.mark.parametrize(
    "build",
    [
        hostile(*IMAGE, ("../../x", tarfile.REGTYPE, "x")),
        hostile(*IMAGE, ("/x", tarfile.REGTYPE, "x")),
        hostile(*IMAGE, ("beside", tarfile.REGTYPE, "x")),
        hostile(*IMAGE, ("rootfs/a", tarfile.SYMTYPE, "/etc"), ("rootfs/a/x", b"0", "x")),
        hostile(*IMAGE, ("rootfs/a", tarfile.SYMTYPE, ".."), ("rootfs/a/x", b"0", "x")),
        hostile(*IMAGE, ("rootfs/a", tarfile.LNKTYPE, "../../../etc/passwd")),
        hostile(*IMAGE, ("rootfs/a", tarfile.CHRTYPE, "")),
        hostile(("image.json", tarfile.SYMTYPE, "rootfs/x"), ("rootfs", tarfile.DIRTYPE, "")),
        hostile(IMAGE[0]),
        b"rubbish" * 200,
    ],
)
async def test_a_hostile_build_is_refused(
    installation: Installation, tmp_path: Path, build: bytes
) -> None:
    await installation.studio.store.close()
    database = (installation.data_dir / "innkeeper.db").read_bytes()
    with closing(sqlite3.connect(installation.data_dir / "innkeeper.db")) as ours:
        (whose,) = ours.execute("SELECT installation_id FROM installation").fetchone()
    about = About(1, "0.1.0", revisions()[-1], "sqlite", whose, "process", "2026-01-31T12:00:00Z")
    members = {"database": database, f"builds/{installation.build_key}.tar": build}
    new = tmp_path / "new"
    with pytest.raises(InnkeeperError, match=r"refused"):
        put_back(packed(tmp_path / "x.tar", about, members), new)
    assert list(new.iterdir()) == []
    assert not (tmp_path / "x").exists()
