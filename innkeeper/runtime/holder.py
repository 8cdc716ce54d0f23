"""The image of a network sandbox: one static program of a few instructions that sleeps for ever.

It is assembled here, so that no compiler and no download is needed. It holds a network namespace
open; it never wakes, so it takes no signal but SIGKILL.
"""

import io
import platform
import struct
import tarfile

_BASE = 0x400000
_HEADERS = 64 + 56  # one ELF header, one program header

# x86-64: again: mov eax, 34 (pause); syscall; jmp again
_X86_64 = bytes.fromhex("b822000000 0f05 ebf7")
# AArch64 has no pause: again: ppoll(0, 0, 0, 0) (73) waits for ever; b again
_AARCH64 = struct.pack(
    "<7L",
    0xD2800000,  # again: mov x0, 0
    0xD2800001,  # mov x1, 0
    0xD2800002,  # mov x2, 0
    0xD2800003,  # mov x3, 0
    0xD2800928,  # mov x8, 73
    0xD4000001,  # svc 0
    0x17FFFFFA,  # b again
)
_CODE = {"x86_64": (62, _X86_64), "aarch64": (183, _AARCH64)}  # by ELF machine number

DOCKERFILE = b'FROM scratch\nCOPY hold /hold\nENTRYPOINT ["/hold"]\n'


def program(machine: str | None = None) -> bytes:
    """The static ELF program for ``machine`` (by default, this one). Raises ``ValueError``."""
    name = machine or platform.machine()
    if name not in _CODE:
        raise ValueError(f"no holder program for machine {name!r}")
    number, code = _CODE[name]
    size = _HEADERS + len(code)
    identity = b"\x7fELF" + bytes([2, 1, 1]) + bytes(9)  # 64 bit, little endian, version 1
    header = struct.pack(
        "<HHLQQQLHHHHHH", 2, number, 1, _BASE + _HEADERS, 64, 0, 0, 64, 56, 1, 0, 0, 0
    )
    segment = struct.pack("<LLQQQQQQ", 1, 5, 0, _BASE, _BASE, size, size, 0x1000)
    return identity + header + segment + code


def context() -> bytes:
    """The build context, a tar archive: a Dockerfile and the program."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        for name, content, mode in (
            ("Dockerfile", DOCKERFILE, 0o644),
            ("hold", program(), 0o755),
        ):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), mode
            archive.addfile(entry, io.BytesIO(content))
    return target.getvalue()
