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


def prepare_game() -> None:
    """Ahead of time, in the fork that will become a game: all that is the same for every game.

    Own session, no input, bounds, no way to gain privileges. Raises ``OSError``.
    """
    os.setsid()
    os.umask(0o022)
    null = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    os.dup2(null, 0)
    os.close(null)
    _bound_resources()
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    # Python and the supervisor ignore these, and an ignored signal stays so over an exec.
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


def become_game(spec: dict[str, Any]) -> None:
    """Then: output to its log, and (where we are root) the image as its root and a user of its own.

    Raises ``OSError``.
    """
    log_fd = os.open(spec["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    os.dup2(log_fd, 1)
    os.dup2(log_fd, 2)
    uid = spec["uid"]
    if uid is None:
        os.chdir(spec["cwd"])
        return
    # Processes are counted for each user, so their bound makes sense only where it has no others.
    _lower(resource.RLIMIT_NPROC, _NPROC_MAX)
    os.chroot(spec["root"])
    os.chdir(spec["cwd"])
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)


def _bound_resources() -> None:
    """No core files, and a bounded number of files. The size of files is not bounded: the log is
    one, and is kept small by giving back its oldest part, while its size goes on growing."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _lower(resource.RLIMIT_NOFILE, _NOFILE_MAX)


def _lower(what: int, most: int) -> None:
    soft, hard = resource.getrlimit(what)
    hard = most if hard == resource.RLIM_INFINITY else min(hard, most)
    soft = hard if soft == resource.RLIM_INFINITY else min(soft, hard)
    resource.setrlimit(what, (soft, hard))
