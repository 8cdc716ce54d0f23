"""Builds images with the engine, or pulls them from a registry, and keeps them under our own names.

Uploads reach the engine only as an archive that was checked and written anew.
"""

import asyncio
import base64
import binascii
import json
import os
import platform
import re
import shutil
import tarfile
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path

from innkeeper.core.errors import BuildFailed, RuntimeAway
from innkeeper.interfaces import BuiltImage
from innkeeper.runtime.archive import ArchiveLimits, check_archive, normalise
from innkeeper.runtime.build_group import BuildGroup
from innkeeper.runtime.container_spec import (
    CAPABILITIES_DROPPED,
    LABEL_INSTALLATION,
    ContainerSettings,
)
from innkeeper.runtime.dockerfile_flags import check_dockerfile
from innkeeper.runtime.engine import Engine

Log = Callable[[str], None]

_SILENCE_S = 30 * 60.0  # the longest build; the caller bounds it as a whole
_PIECE_BYTES = 256 * 1024
_CPU_SHARES = 128  # an eighth of a whole core's weight: games come first
_DISK_RESERVE_BYTES = 512 * 1024**2
_DISK_CHECK_S = 0.25
_LINE_CHARS_MAX = 4000
_DOCKERFILE_BYTES_MAX = 1024**2
_KEY = re.compile(r"[a-z0-9]+(?:[._-][a-z0-9]+)*")
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}
# A registry's image and nothing else: other forms would read files of this machine.
_HOST = r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?(?::[0-9]{1,5})?/)?"
_PATH = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*"
_REFERENCE = re.compile(
    rf"(?P<name>{_HOST}{_PATH})(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{{0,127}}))?"
    r"(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)
_REFERENCE_CHARS_MAX = 500
# Named always: Podman would take a short name such as "dir:x" for a directory of this machine.
_DEFAULT_REGISTRY = "docker.io"


class ContainerBuilder:
    """:class:`innkeeper.interfaces.Builder` over an engine that its runtime has opened.

    ``own_engine``: nobody else keeps images in it, so that nameless ones can be cleared away, and its
    configuration is known, so that the steps of a build have a control group that ends with them.
    """

    def __init__(
        self,
        engine: Engine,
        settings: ContainerSettings,
        limits: ArchiveLimits | None = None,
        own_engine: bool = False,
    ) -> None:
        self._engine = engine
        self._settings = settings
        self._limits = limits or ArchiveLimits()
        self._own_engine = own_engine
        self._group = BuildGroup(f"{settings.prefix}-build") if own_engine else None
        self._building = False

    async def build(self, build_key: str, archive: Path, log: Log) -> BuiltImage:
        """Check the archive, hand it to the engine, tell its log line by line."""
        ref = self._ref(build_key)
        context = archive.with_name(f".{archive.name}.context")
        try:
            facts = await asyncio.to_thread(check_archive, archive, self._limits)
            for warning in facts.warnings:
                log(warning)
            await asyncio.to_thread(normalise, archive, facts, self._limits, context)
            check_dockerfile(await asyncio.to_thread(_dockerfile, context))
            await self._run_in_group(ref, context, log)
        except OSError as error:
            raise BuildFailed(f"the server could not keep the archive: {error.strerror}") from error
        finally:
            context.unlink(missing_ok=True)
        return await self._built(ref)

    async def _run_in_group(self, ref: str, context: Path, log: Log) -> None:
        """One build at a time: whoever is in the group before or after it is a step that was given up."""
        if self._group is None:
            await self._run_build(ref, context, log)
            return
        await asyncio.to_thread(self._group.end)
        await asyncio.to_thread(self._group.make)
        self._building = True
        guard = asyncio.create_task(_until_disk_is_short(context.parent, self._group))
        try:
            await self._run_build(ref, context, log)
        except BuildFailed as failure:
            if guard.done():
                raise BuildFailed("it was ended because the disk is nearly full") from failure
            raise
        finally:
            guard.cancel()
            self._building = False
            await asyncio.shield(asyncio.to_thread(self._group.end))

    async def end_steps(self) -> None:
        """End steps that outlived their build, as after a control plane that was killed."""
        if self._group is not None and not self._building:
            await asyncio.to_thread(self._group.end)

    async def _run_build(self, ref: str, context: Path, log: Log) -> None:
        memory = _step_memory_bytes()
        params: dict[str, str | int | bool] = {
            "t": ref,
            "rm": True,
            "forcerm": True,
            "cpushares": _CPU_SHARES,
            "memory": memory,
            "memswap": memory,
            **({} if self._group is None else {"cgroupparent": self._group.parent}),
            **self._podmans_own(),
            "labels": json.dumps({LABEL_INSTALLATION: self._settings.installation}),
        }
        lines = self._engine.lines(
            "POST",
            "/build",
            params=params,
            headers={"Content-Type": "application/x-tar"},
            content=_pieces(context),
            read_timeout_s=_SILENCE_S,
        )
        problem: str | None = None
        text = ""
        async with aclosing(lines) as answer:
            async for line in answer:
                if line.get("error"):
                    problem = str(line["error"])
                text = _say(text + str(line.get("stream") or ""), log)
        if text.strip():
            log(text.strip()[:_LINE_CHARS_MAX])
        if problem is not None:
            log(problem.strip()[:_LINE_CHARS_MAX])
            raise BuildFailed(_last_line(problem))

    def _podmans_own(self) -> dict[str, str]:
        """A network namespace: without it, Podman's steps have the host's. And no more rights than games."""
        if not self._engine.is_podman:
            return {}
        namespace = {"Name": "network", "Host": False, "Path": self._settings.prefix}
        return {
            "nsoptions": json.dumps([namespace]),
            "dropcaps": json.dumps([f"CAP_{name}" for name in CAPABILITIES_DROPPED]),
        }

    async def pull(
        self, build_key: str, image: str, registry_url: str | None, auth: str | None, log: Log
    ) -> BuiltImage:
        """Pull an image and tag it as ours; what the registry called it is let go again."""
        ref = self._ref(build_key)
        source = registry_reference(image, registry_url)
        known_before = (await self._engine.call("GET", f"/images/{source}/json")).ok
        headers = {"X-Registry-Auth": registry_auth(auth, source)} if auth else None
        name, tag = _name_and_tag(source)
        lines = self._engine.lines(
            "POST",
            "/images/create",
            params={"fromImage": name, "tag": tag},
            headers=headers,
            read_timeout_s=_SILENCE_S,
        )
        log(f"Pulling {source}")
        problem: str | None = None
        async with aclosing(lines) as answer:
            async for line in answer:
                if line.get("error"):
                    problem = str(line["error"])
                told = " ".join(str(line[k]) for k in ("id", "status", "stream") if line.get(k))
                if told and "progressDetail" not in line:
                    log(told.strip()[:_LINE_CHARS_MAX])
        if problem is not None:
            raise BuildFailed(f"{source} could not be pulled: {_last_line(problem)}")
        await self._keep_as(ref, source, known_before)
        return await self._built(ref)

    async def _keep_as(self, ref: str, source: str, known_before: bool) -> None:
        repo, _, tag = ref.rpartition(":")
        tagged = await self._engine.call(
            "POST", f"/images/{source}/tag", params={"repo": repo, "tag": tag}
        )
        if not tagged.ok:
            raise BuildFailed(f"{source} could not be kept: {tagged.message}")
        if not known_before:
            await self._engine.call("DELETE", f"/images/{source}", params={"force": False})

    async def discard(self, build_key: str) -> None:
        """Remove the image of a build whose end nobody saw, and the step it was at."""
        await self.end_steps()
        await self.delete(self._ref(build_key))

    async def delete(self, image_ref: str) -> None:
        """Remove our name of an image; its layers go as soon as no container uses them."""
        if not image_ref.startswith(f"localhost/{self._settings.prefix}/"):
            raise ValueError(f"{image_ref!r} is not an image of this installation")
        removed = await self._engine.call("DELETE", f"/images/{image_ref}", params={"force": False})
        if not removed.ok and removed.status not in (404, 409) and not _used(removed.message):
            raise RuntimeAway(f"{image_ref} could not be removed: {removed.message}")
        if not removed.ok and removed.status != 404:
            await self._untag(image_ref)
        await self._prune()

    async def _untag(self, image_ref: str) -> None:
        # In use. Docker takes away only the name; Podman's force would remove containers that run.
        if self._engine.is_podman:
            repo, _, tag = image_ref.rpartition(":")
            answer = await self._engine.call(
                "POST", f"/libpod/images/{image_ref}/untag", params={"repo": repo, "tag": tag}
            )
        else:
            answer = await self._engine.call(
                "DELETE", f"/images/{image_ref}", params={"force": True}
            )
        if not answer.ok and answer.status != 404:
            raise RuntimeAway(f"{image_ref} could not be removed: {answer.message}")

    async def _prune(self) -> None:
        """Nameless images that nobody uses: ours by their label, or all where the engine is ours."""
        filters = {"dangling": ["true"]}
        if not self._own_engine:
            filters["label"] = [f"{LABEL_INSTALLATION}={self._settings.installation}"]
        answer = await self._engine.call(
            "POST", "/images/prune", params={"filters": json.dumps(filters)}
        )
        if not answer.ok:
            raise RuntimeAway(f"unused images could not be removed: {answer.message}")

    async def _built(self, ref: str) -> BuiltImage:
        answer = await self._engine.call("GET", f"/images/{ref}/json")
        if not answer.ok:
            raise BuildFailed(f"the engine does not show the image: {answer.message}")
        os_name = str(answer.data.get("Os") or "linux")
        architecture = str(answer.data.get("Architecture") or "")
        wanted = _MACHINES.get(platform.machine(), platform.machine())
        if os_name != "linux" or architecture not in ("", wanted):
            await self.delete(ref)
            raise BuildFailed(
                f"the image is for {os_name}/{architecture or 'unknown'}; "
                f"this server runs linux/{wanted} images"
            )
        return BuiltImage(ref, int(answer.data.get("Size") or 0))

    def _ref(self, build_key: str) -> str:
        if not _KEY.fullmatch(build_key):
            raise ValueError(f"build key {build_key!r} cannot name an image")
        return f"localhost/{self._settings.prefix}/{build_key}:latest"


def registry_reference(image: str, registry_url: str | None) -> str:
    """The full name of a registry's image. Raises ``BuildFailed`` for anything else."""
    host = re.sub(r"\Ahttps?://", "", registry_url or "").strip("/")
    whole = f"{host}/{image}" if host else image
    found = _REFERENCE.fullmatch(whole) if len(whole) <= _REFERENCE_CHARS_MAX else None
    if found is None:
        raise BuildFailed(f"{whole[:_REFERENCE_CHARS_MAX]!r} is not the name of a registry's image")
    first, slash, _ = whole.partition("/")
    if not slash:
        whole = f"{_DEFAULT_REGISTRY}/library/{whole}"
    elif not any(sign in first for sign in ".:"):
        whole = f"{_DEFAULT_REGISTRY}/{whole}"
    return whole if found["tag"] or found["digest"] else f"{whole}:latest"


def registry_auth(auth: str, reference: str) -> str:
    """The X-Registry-Auth header for ``user:password``, its base64, or a bare token."""
    login = auth if ":" in auth else _decoded(auth)
    if login is not None:
        user, _, password = login.partition(":")
        told = {"username": user, "password": password}
    else:
        told = {"identitytoken": auth, "registrytoken": auth}
    first = reference.partition("/")[0]
    told["serveraddress"] = first
    return base64.urlsafe_b64encode(json.dumps(told).encode()).decode("ascii")


def _decoded(text: str) -> str | None:
    """A base64 ``user:password``; ``None`` if it is none."""
    try:
        login = base64.b64decode(text, validate=True).decode("utf-8")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return login if ":" in login and login.isprintable() else None


async def _until_disk_is_short(place: Path, group: BuildGroup) -> None:
    """Storage has no quota for a step: end it before the disk is full and nobody can work."""
    while shutil.disk_usage(place).free > _DISK_RESERVE_BYTES or not group.members():  # noqa: ASYNC110
        await asyncio.sleep(_DISK_CHECK_S)
    await asyncio.to_thread(group.end)


def _step_memory_bytes() -> int:
    """What the steps of a build may use: half of the machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


def _name_and_tag(reference: str) -> tuple[str, str]:
    name, at, digest = reference.partition("@")
    if at:
        return name, digest
    name, _, tag = reference.rpartition(":")
    return name, tag


def _used(message: str) -> bool:
    return "in use" in message or "being used" in message


def _say(text: str, log: Log) -> str:
    """Tell the whole lines of ``text``; returns what is left of it."""
    *lines, rest = re.split(r"\r\n|\r|\n", text)
    for line in lines:
        log(line[:_LINE_CHARS_MAX])
    return rest[-_LINE_CHARS_MAX:]


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:1000] if lines else "the builder gave no reason"


def _dockerfile(context: Path) -> bytes:
    """The Dockerfile of a normalised archive. Blocks. Raises ``BuildFailed``."""
    with tarfile.open(context, "r:") as archive:
        found = None
        for entry in archive:
            if entry.name == "Dockerfile":
                found = entry  # the last one counts
        file = archive.extractfile(found) if found is not None and found.isreg() else None
        if file is None:
            raise BuildFailed("the archive holds no Dockerfile at its root")
        content = file.read(_DOCKERFILE_BYTES_MAX + 1)
    if len(content) > _DOCKERFILE_BYTES_MAX:
        raise BuildFailed("the Dockerfile is larger than 1 MB")
    return content


async def _pieces(path: Path) -> AsyncIterator[bytes]:
    file = await asyncio.to_thread(path.open, "rb")
    try:
        while piece := await asyncio.to_thread(file.read, _PIECE_BYTES):
            yield piece
    finally:
        file.close()
