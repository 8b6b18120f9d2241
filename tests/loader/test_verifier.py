"""From libbpf's words to an error."""

from __future__ import annotations

import errno

import pytest

from loader.errors import KernelError, LoaderError, NotSupported, PermissionDenied, VerifierRejected
from loader.verifier import load_error

LOG = "0: R1=ctx()\n1: (61) r0 = *(u32 *)(r1 +76)\nR0 invalid mem access 'scalar'\n"
SAID = [
    "libbpf: prog 'uplink_ingress': BPF program load failed: Permission denied\n",
    f"libbpf: prog 'uplink_ingress': -- BEGIN PROG LOAD LOG --\n{LOG}processed 2 insns (limit 1000000)\n"
    "-- END PROG LOAD LOG --\n",
]


def test_a_verifiers_log_becomes_a_short_text_and_the_whole_log() -> None:
    error = load_error(errno.EACCES, "tc.bpf.o", SAID)
    assert isinstance(error, VerifierRejected)
    assert str(error) == "program uplink_ingress was rejected by the verifier: R0 invalid mem access 'scalar'"
    assert error.log == LOG + "processed 2 insns (limit 1000000)\n"


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.EPERM, PermissionDenied),
        (errno.EOPNOTSUPP, NotSupported),
        (524, NotSupported),
        (errno.E2BIG, KernelError),
    ],
)
def test_without_a_log_the_errno_decides_and_libbpfs_words_are_kept(number: int, kind: type[LoaderError]) -> None:
    error = load_error(number, "tc.bpf.o", ["libbpf: failed to create map\n"])
    assert type(error) is kind
    assert error.__notes__ == ["failed to create map"]
