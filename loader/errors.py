"""What can go wrong between Python and the kernel's BPF, one type per thing a caller can act on.

Rules: the text is one short sentence a person can act on; long evidence (the verifier's log) is an attribute. An errno
that no type names stays on KernelError. Must never: hold an fd or an object of the kernel.
"""

from __future__ import annotations

import errno
import os

# Linux' own "operation not supported", which the kernel lets escape from bpf(2); it is in no header of user space.
ENOTSUPP = 524


class LoaderError(Exception):
    """Base of everything that this package raises on purpose."""


class KernelError(LoaderError):
    """The kernel refused with an errno that has no type of its own."""

    def __init__(self, text: str, number: int) -> None:
        super().__init__(f"{text}: {describe(number)}")
        self.errno = number


class NotSupported(LoaderError):
    """This kernel (or this machine's libbpf) has no such thing."""


class PermissionDenied(LoaderError):
    """The caller may not do this: BPF needs root, or CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON."""


class NoBpffs(LoaderError):
    """A pin was wanted on a path that is not on a BPF filesystem."""


class UnknownName(LoaderError):
    """No program, map, variable or type of that name."""


class LayoutError(LoaderError):
    """A value does not fit the layout that BTF gives for it, or the layout is one we cannot express."""


class Incompatible(LoaderError):
    """What is pinned was made for another layout or size.

    `map` is the map's name, `field` what differs (`max_entries`, `value.state`, ...), `pinned` and `wanted` its two
    descriptions.
    """

    def __init__(self, map_name: str, field: str, pinned: object, wanted: object) -> None:
        super().__init__(f"pinned map {map_name}: {field} is {pinned}, wanted {wanted}")
        self.map = map_name
        self.field = field
        self.pinned = pinned
        self.wanted = wanted


class VerifierRejected(LoaderError):
    """The kernel's verifier refused a program. `summary` is its last word, `log` everything it said."""

    def __init__(self, program: str, summary: str, log: str) -> None:
        super().__init__(f"program {program} was rejected by the verifier: {summary}")
        self.program = program
        self.summary = summary
        self.log = log


class HookTaken(LoaderError):
    """Somebody else's filter, or XDP program, stands where ours would go; it was left alone."""


class DriverRefused(LoaderError):
    """An interface's driver does not take an XDP program; the text is its own."""


class InterfaceGone(LoaderError):
    """No interface has that index (any more)."""


class MapFull(LoaderError):
    """No room for another entry, or an index past the end. `written` entries of the request were stored before."""

    def __init__(self, map_name: str, max_entries: int, written: int) -> None:
        super().__init__(f"map {map_name} is full ({max_entries} entries)")
        self.map = map_name
        self.max_entries = max_entries
        self.written = written


class EntryExists(LoaderError):
    """The key to be created is there already."""


def describe(number: int) -> str:
    """`number` (an errno) in words."""
    return "not supported" if number == ENOTSUPP else os.strerror(number)


def from_errno(number: int, what: str) -> LoaderError:
    """The error for errno `number` (positive) met while doing `what`."""
    if number in (errno.EPERM, errno.EACCES):
        return PermissionDenied(f"{what}: permission denied (root, or CAP_BPF and CAP_NET_ADMIN, is needed)")
    if number in (errno.EOPNOTSUPP, errno.ENOSYS, ENOTSUPP):
        return NotSupported(f"{what}: this kernel does not support it")
    if number == errno.ENODEV:
        return InterfaceGone(f"{what}: no such interface")
    return KernelError(what, number)
