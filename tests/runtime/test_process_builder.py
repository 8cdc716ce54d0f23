"""Images of the process runtime: what a Dockerfile makes of an archive, and what it may not."""

import asyncio
import gzip
import io
import os
import tarfile
from pathlib import Path

import pytest

from innkeeper.core.errors import BuildFailed
from innkeeper.runtime import images
from innkeeper.runtime.archive import ArchiveLimits
from innkeeper.runtime.process_builder import ProcessBuilder

ELF = b"\x7fELF" + bytes(60)


def archive(
    path: Path, dockerfile: str, files: dict[str, bytes], links: dict[str, str] | None = None
) -> Path:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w:") as tar:
        for name, content in {"Dockerfile": dockerfile.encode(), **files}.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(content), 0o755 if content[:4] == ELF[:4] else 0o600
            tar.addfile(info, io.BytesIO(content))
        for name, target in (links or {}).items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            tar.addfile(info)
    path.write_bytes(gzip.compress(raw.getvalue(), 1))
    return path


class Bench:
    """A builder on a directory of its own."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.lines: list[str] = []
        self.builder = ProcessBuilder(place / "d", ArchiveLimits(bytes_max=1024**2))
        (place / "d" / "images").mkdir(parents=True)
        (place / "d" / "processes").mkdir()

    async def build(
        self, dockerfile: str, files: dict[str, bytes], links: dict[str, str] | None = None
    ) -> images.Image:
        path = archive(self.place / "a.tgz", dockerfile, files, links)
        built = await self.builder.build("bld-1", path, self.lines.append)
        found = images.load(self.place / "d", built.image_ref)
        assert found is not None
        return found

    async def refuses(
        self,
        dockerfile: str,
        files: dict[str, bytes] | None = None,
        links: dict[str, str] | None = None,
    ) -> str:
        with pytest.raises(BuildFailed) as caught:
            await self.build(dockerfile, files or {"game": ELF}, links)
        assert os.listdir(self.place / "d" / "images") == []
        return caught.value.message


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


async def test_a_whole_dockerfile(bench: Bench) -> None:
    image = await bench.build(
        """FROM scratch
ENV MODE=quick DIR=/srv
WORKDIR $DIR/game
COPY game data/* ./
COPY --chmod=700 --chown=1:1 data /data
EXPOSE 4000/udp
ENTRYPOINT ["./game", "--mode"]
CMD ["quick"]
""",
        {"game": ELF, "data/a.txt": b"a", "data/deep/b.txt": b"b"},
        {"data/deep/link": "b.txt"},
    )
    assert image.argv == ("./game", "--mode", "quick")
    assert image.env == {"MODE": "quick", "DIR": "/srv"}
    assert image.workdir == "/srv/game"
    root = image.rootfs
    assert (root / "srv/game/game").stat().st_mode & 0o777 == 0o755
    assert (root / "srv/game/a.txt").stat().st_mode & 0o777 == 0o644
    assert (root / "srv/game/b.txt").read_bytes() == b"b"  # a directory's content is copied
    assert (root / "data/deep/b.txt").stat().st_mode & 0o777 == 0o700
    assert os.readlink(root / "data/deep/link") == "b.txt"
    assert images.find_program(image, None) == "/srv/game/./game"
    assert any("--chown is not applied" in line for line in bench.lines)
    assert bench.lines[0] == "Step 1/8 : FROM scratch"
    assert os.listdir(bench.place / "d/images/bld-1") != []
    assert not (root.parent / "context").exists()


async def test_what_an_engine_would_add_is_added_and_nothing_replaced(bench: Bench) -> None:
    image = await bench.build(
        'FROM scratch\nCOPY etc /etc\nCOPY game /\nCMD ["/game"]',
        {"game": ELF, "etc/hosts": b"mine"},
    )
    assert (image.rootfs / "etc/hosts").read_bytes() == b"mine"
    assert (image.rootfs / "etc/resolv.conf").exists() == Path("/etc/resolv.conf").exists()
    if os.geteuid() == 0:
        assert (image.rootfs / "dev/null").is_char_device()


async def test_building_again_finds_the_image(bench: Bench) -> None:
    first = await bench.build('FROM scratch\nCOPY game /\nCMD ["/game"]', {"game": ELF})
    again = await bench.build('FROM scratch\nCOPY game /\nCMD ["/game"]', {"game": ELF})
    assert first == again


async def test_the_size_is_that_of_the_files(bench: Bench) -> None:
    path = archive(
        bench.place / "a.tgz",
        'FROM scratch\nCOPY game a /\nCMD ["/game"]',
        {"game": ELF, "a": b"12345"},
    )
    built = await bench.builder.build("bld-1", path, bench.lines.append)
    assert built.size_bytes == len(ELF) + 5


async def test_program_is_found_by_path(bench: Bench) -> None:
    image = await bench.build('FROM scratch\nCOPY game /usr/bin/\nCMD ["game"]', {"game": ELF})
    assert images.find_program(image, None) == "/usr/bin/game"
    assert images.find_program(image, "/nowhere") == "/game"


async def test_a_top_directory_is_taken_as_root_with_a_warning(bench: Bench) -> None:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w:gz") as tar:
        for name, content in {
            "mine/Dockerfile": b'FROM scratch\nCOPY game /\nCMD ["/game"]',
            "mine/game": ELF,
        }.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    path = bench.place / "top.tgz"
    path.write_bytes(raw.getvalue())
    await bench.builder.build("bld-2", path, bench.lines.append)
    assert bench.lines[0].startswith("warning: the Dockerfile is in the top directory mine/")


@pytest.mark.parametrize(
    ("dockerfile", "why"),
    [
        ("FROM scratch\nRUN true", "Dockerfile line 2: RUN needs a container engine"),
        ("FROM scratch\nCOPY game /", "neither CMD nor ENTRYPOINT"),
        ("FROM scratch\nCOPY game /\nCMD /game", "line 3: CMD in this form is run by /bin/sh"),
        ("FROM scratch\nCOPY nothing /", "line 2: COPY finds nothing in the archive: nothing"),
        ("FROM scratch\nCOPY *.none /", "line 2: COPY finds nothing in the archive: *.none"),
        ("FROM scratch\nCOPY --from=x a /", "line 2: COPY --from needs a container engine"),
        (
            "FROM scratch\nADD https://a/b /",
            "line 2: ADD from the network needs a container engine",
        ),
        ("FROM scratch\nCOPY game", "needs at least a source and a destination"),
        ("FROM scratch\nCOPY game Dockerfile /a", "its destination must end with a slash"),
        ("FROM scratch\nCOPY --chmod=u+x game /", "--chmod with anything but octal digits"),
        ("FROM scratch\nCOPY game /a\nCOPY game /a/b", "needs a directory where a file is: /a"),
        ("FROM scratch\nENTRYPOINT []\nCMD []", "neither CMD nor ENTRYPOINT"),
    ],
)
async def test_what_is_refused(bench: Bench, dockerfile: str, why: str) -> None:
    assert why in await bench.refuses(dockerfile)


async def test_add_does_not_unpack(bench: Bench) -> None:
    files = {"a.tgz": gzip.compress(b"x")}
    message = await bench.refuses("FROM scratch\nADD a.tgz /", files)
    assert "line 2: ADD would unpack /a.tgz, which needs a container engine" in message


async def test_copying_again_and_again_is_bounded(bench: Bench) -> None:
    lines = "\n".join(f"COPY big /{n}" for n in range(20))
    assert "makes the image larger than" in await bench.refuses(
        f"FROM scratch\n{lines}", {"big": bytes(90_000)}
    )


async def test_a_link_cannot_lead_a_copy_outside(bench: Bench) -> None:
    """In the archive the link stays inside; copied to the image's root it would lead above it."""
    outside = bench.place / "d" / "images" / "escaped"
    image = await bench.build(
        'FROM scratch\nCOPY sub/ /\nCOPY game /up/escaped\nCOPY game /up/up/up/up/e2\nCMD ["/escaped"]',
        {"game": ELF},
        {"sub/up": "../"},
    )
    assert not outside.exists()
    assert (image.rootfs / "escaped").read_bytes() == ELF
    assert (image.rootfs / "e2").read_bytes() == ELF


async def test_a_source_link_is_followed_inside_the_archive(bench: Bench) -> None:
    image = await bench.build(
        'FROM scratch\nCOPY latest /bin/\nCMD ["/bin/latest"]',
        {"v1/game": ELF},
        {"latest": "v1/game"},
    )
    assert (image.rootfs / "bin/latest").read_bytes() == ELF
    assert not (image.rootfs / "bin/latest").is_symlink()


async def test_registry_images_name_the_engine(bench: Bench) -> None:
    with pytest.raises(BuildFailed, match="needs a container engine"):
        await bench.builder.pull("bld-1", "a/b", None, None, bench.lines.append)


async def test_delete_gives_the_space_back(bench: Bench) -> None:
    await bench.build('FROM scratch\nCOPY game /\nCMD ["/game"]', {"game": ELF})
    await bench.builder.delete("bld-1")
    await bench.builder.delete("bld-1")
    assert images.load(bench.place / "d", "bld-1") is None
    assert os.listdir(bench.place / "d" / "trash") == []


async def test_a_build_that_is_stopped_ends_first_and_leaves_nothing(bench: Bench) -> None:
    path = archive(bench.place / "a.tgz", 'FROM scratch\nCOPY game /\nCMD ["/game"]', {"game": ELF})
    build = asyncio.create_task(bench.builder.build("bld-1", path, bench.lines.append))
    await asyncio.sleep(0)
    build.cancel()
    with pytest.raises(asyncio.CancelledError):
        await build
    assert os.listdir(bench.place / "d" / "images") == []


async def test_what_a_crash_left_of_a_build_is_discarded(bench: Bench) -> None:
    await bench.build('FROM scratch\nCOPY game /\nCMD ["/game"]', {"game": ELF})
    (bench.place / "d" / "images" / ".building-bld-1" / "rootfs").mkdir(parents=True)
    for _ in range(2):
        await bench.builder.discard("bld-1")
    assert os.listdir(bench.place / "d" / "images") == []
