"""Runs a program as on a kernel without TCX (before 6.6): `python without_tcx.py PROGRAM WORDS...`.

Rules: a seccomp filter, which the program and all that it starts have for good, answers EINVAL when a link is to be
made (bpf(2), BPF_LINK_CREATE), which is what such a kernel says. Nothing else is asked about.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import sys
from typing import Final

_PR_SET_SECCOMP: Final = 22
_SECCOMP_MODE_FILTER: Final = 2
_ALLOW, _ERROR_EINVAL = 0x7FFF0000, 0x00050000 | 22  # linux/seccomp.h
_NR_BPF: Final = {"x86_64": 321, "aarch64": 280}
_BPF_LINK_CREATE: Final = 28
_NUMBER_AT, _FIRST_ARGUMENT_AT = 0, 16  # in struct seccomp_data; the argument's lower half, on a little-endian machine
_LOAD, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x15, 0x06  # linux/filter.h


def _instruction(code: int, value: int, if_not: int = 0) -> bytes:
    return struct.pack("=HBBI", code, 0, if_not, value)


def forbid_links() -> None:
    """For this process, from now on. Raises OSError."""
    code = b"".join(
        (
            _instruction(_LOAD, _NUMBER_AT),
            _instruction(_JUMP_IF_EQUAL, _NR_BPF[platform.machine()], if_not=3),
            _instruction(_LOAD, _FIRST_ARGUMENT_AT),
            _instruction(_JUMP_IF_EQUAL, _BPF_LINK_CREATE, if_not=1),
            _instruction(_RETURN, _ERROR_EINVAL),
            _instruction(_RETURN, _ALLOW),
        )
    )
    text = ctypes.create_string_buffer(code, len(code))
    program = ctypes.create_string_buffer(struct.pack("@HP", len(code) // 8, ctypes.addressof(text)))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, program, 0, 0):
        raise OSError(ctypes.get_errno(), "seccomp")


if __name__ == "__main__":
    forbid_links()
    os.execv(sys.argv[1], sys.argv[1:])
