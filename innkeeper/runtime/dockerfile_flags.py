"""Refuses what a Dockerfile could use to reach past its build: flags of RUN, images that are local files.

``RUN --network=host`` would run as the host's network, ``RUN --mount`` has let builds out of their
container in several releases of Podman, and ``FROM dir:/...`` reads this machine's files.
"""

import re

from innkeeper.core.errors import BuildFailed

_COMMENT = re.compile(r"(?m)^[ \t]*#.*\n?")
# The escape character may be set to a backtick; joining at both can only refuse too much.
_JOINED = re.compile(r"[\\`][ \t]*\r?\n")
_RUN_FLAG = re.compile(r"(?im)^[ \t]*(?:ONBUILD[ \t]+)?RUN[ \t]+--([a-z]+)")
_LOCAL_IMAGE = re.compile(
    r"(?im)(?:^[ \t]*FROM[ \t]+(?:--\S+[ \t]+)*|--from=)[\"']?"
    r"((?:dir|oci|oci-archive|docker-archive|docker-daemon|containers-storage|ostree|sif|tarball):\S*)"
)


def check_dockerfile(content: bytes) -> None:
    """Raises ``BuildFailed`` that says which instruction has to change."""
    text = _JOINED.sub("", _COMMENT.sub("", content.decode("utf-8", "replace")))
    flag = _RUN_FLAG.search(text)
    if flag is not None:
        raise BuildFailed(
            f"the Dockerfile has RUN --{flag[1].lower()}, and this server allows no flags after RUN"
        )
    image = _LOCAL_IMAGE.search(text)
    if image is not None:
        raise BuildFailed(f"the Dockerfile takes {image[1][:200]!r}, which is no registry's image")
