"""From a ``ProcessSpec`` and an image to what the supervisor needs: program, arguments,
environment, user, limits.

As root the image becomes the process's root directory (chroot), so absolute paths mean what they
mean in a container, and the process gets a user of its own. Without root it sees the host's files
with our own user's rights; then the program's path, and arguments that name files of the image, are
mapped into the image's directory.
"""

import os
from pathlib import Path
from typing import Any

from innkeeper.interfaces import ProcessSpec
from innkeeper.runtime.images import Image, find_program, on_host, resolve

# Above what systemd's table of users and groups gives to containers; below 2^31. One user for each
# host port: a port has one owner at a time, so processes cannot signal or trace one another, and
# RLIMIT_NPROC counts one process.
UID_BASE = 1_879_048_192
_NOBODY = 65534
_BASE_ENV = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/",
    "LANG": "C.UTF-8",
}


def choose_uid(host_port: int) -> int | None:
    """The user for a process: its own as root, ``nobody`` where such users are not mapped, ``None``
    without root.
    """
    if os.geteuid() != 0:
        return None
    with open("/proc/self/uid_map", encoding="ascii") as file:
        for line in file:
            first, _outside, count = (int(word) for word in line.split())
            if first <= UID_BASE and first + count > UID_BASE + 65535:
                return UID_BASE + host_port
    return _NOBODY


def host_env(spec: ProcessSpec, image: Image, api_url: str, private_ip: str) -> dict[str, str]:
    """The whole environment: the image's, the deployment's and the platform's, each winning over
    the one before.

    Nothing of the control plane's own environment is in it. ``PORT`` and the platform's port
    variables are the external ports, which in a shared network are the ports to bind
    (clarifications, Ports and environment).
    """
    env = {**_BASE_ENV, **image.env, **spec.env}
    env["HATHORA_SERVER_URL"] = api_url
    env["HATHORA_PRIVATE_IP"] = private_ip
    env["PORT"] = str(spec.ports[0].host_port)
    return env


def supervisor_spec(
    spec: ProcessSpec, image: Image, env: dict[str, str], installation_id: str
) -> dict[str, Any]:
    """What ``spec.json`` holds. ``cgroup`` is the version of the control groups, where there are
    any.
    """
    uid = choose_uid(spec.ports[0].host_port)
    program = find_program(image, env.get("PATH"))
    argv = list(image.argv)
    root = str(image.rootfs)
    cwd, exe = image.workdir, program
    if uid is None:
        found = resolve(image.rootfs, program)
        cwd = str(resolve(image.rootfs, image.workdir) or Path(root))
        exe = str(found) if found is not None else f"{root}/{program.lstrip('/')}"
        argv = [exe, *on_host(image, argv[1:])]
    return {
        "process_id": spec.process_id,
        "installation_id": installation_id,
        "image_ref": spec.image_ref,
        "program": program,
        "exe": exe,
        "argv": argv,
        "env": env,
        "root": root,
        "cwd": cwd,
        "uid": uid,
        "memory_mb": spec.memory_mb,
        "cpu_millis": spec.cpu_millis,
        "ports": [[p.name, p.container_port, p.host_port, p.protocol] for p in spec.ports],
    }
