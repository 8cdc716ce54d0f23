"""System calls that Python lacks, and the way from a fresh fork to an untrusted program.

Part of the zygote too: standard library only, and little of it. What runs after the fork is here in
one place.
"""

import ctypes
import os
import resource
import signal
from typing import Any

_PR_SET_NAME, _PR_SET_CHILD_SUBREAPER, _PR_SET_NO_NEW_PRIVS = 15, 36, 38
_FALLOC_FL_KEEP_SIZE, _FALLOC_FL_PUNCH_HOLE = 1, 2
_NPROC_MAX = 4096
_NOFILE_MAX = 65536

_libc = ctypes.CDLL(None, use_errno=True)
_libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
_libc.prctl.argtypes = [ctypes.c_int] + [ctypes.c_ulong] * 4


def _prctl(option: int, argument: int) -> None:
    if _libc.prctl(option, argument, 0, 0, 0) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def name_process(name: str) -> None:
    """The name that tools show for the calling process: 15 bytes at the most."""
    text = ctypes.create_string_buffer(name.encode("ascii")[:15])
    _libc.prctl(_PR_SET_NAME, ctypes.addressof(text), 0, 0, 0)


def adopt_orphans() -> None:
    """From now on, descendants whose parent ended become children of the calling process."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def punch_hole(fd: int, length: int) -> None:
    """Give back the disk space of the first ``length`` bytes; the size stays. Raises ``OSError``
    where unsupported.
    """
    if _libc.fallocate(fd, _FALLOC_FL_KEEP_SIZE | _FALLOC_FL_PUNCH_HOLE, 0, length) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def become_game(spec: dict[str, Any]) -> None:
    """Turn the calling, freshly forked process into one that may be handed to a game; it has its
    group already.

    Own session, standard streams, bounds, the image as its root and a user of its own (both only
    where we are root), and no way to gain privileges. Raises ``OSError``.
    """
    os.setsid()
    log_fd = os.open(spec["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    null = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    os.dup2(null, 0)
    os.dup2(log_fd, 1)
    os.dup2(log_fd, 2)
    os.umask(0o022)
    _bound_resources(dedicated_user=spec["uid"] is not None)
    if spec["uid"] is not None:
        os.chroot(spec["root"])
        os.chdir(spec["cwd"])
        os.setgroups([])
        os.setresgid(spec["uid"], spec["uid"], spec["uid"])
        os.setresuid(spec["uid"], spec["uid"], spec["uid"])
    else:
        os.chdir(spec["cwd"])
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    # Python ignores these two, and an ignored signal stays so over an exec.
    for number in (
        signal.SIGPIPE,
        signal.SIGXFSZ,
        signal.SIGCHLD,
        signal.SIGHUP,
        signal.SIGINT,
        signal.SIGTERM,
    ):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _bound_resources(dedicated_user: bool) -> None:
    """No core files, and a bounded number of files. Processes are counted for each user, so their
    bound makes sense only where the user has nothing else. The size of files is not bounded: the
    log is one, and is kept small by giving back its oldest part, while its size goes on growing."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _lower(resource.RLIMIT_NOFILE, _NOFILE_MAX)
    if dedicated_user:
        _lower(resource.RLIMIT_NPROC, _NPROC_MAX)


def _lower(what: int, most: int) -> None:
    soft, hard = resource.getrlimit(what)
    hard = most if hard == resource.RLIM_INFINITY else min(hard, most)
    soft = hard if soft == resource.RLIM_INFINITY else min(soft, hard)
    resource.setrlimit(what, (soft, hard))
