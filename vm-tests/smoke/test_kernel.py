"""The guest is what it claims to be: the kernel asked for, with what Penstock needs there, on the oldest way to attach.

Runs inside the virtual machine, before everything else: when this fails, what follows tests the wrong thing.
"""

import ctypes
import os
import platform
import struct
import subprocess
from pathlib import Path

import pytest

LINE = tuple(int(number) for number in os.environ["PENSTOCK_KERNEL_LINE"].split("."))
FIRST_WITH_TCX = (6, 6)
"""Linux commit e420bed02507 ("bpf: Add fd-based tcx multi-prog infra with link support") is in 6.6."""

SYS_BPF = 321
BPF_PROG_LOAD = 5
BPF_LINK_CREATE = 28
BPF_PROG_TYPE_SCHED_CLS = 3
BPF_TCX_INGRESS = 46


@pytest.fixture
def dummy() -> str:
    name = "vmsmoke0"
    ip("link", "add", name, "type", "dummy")
    yield name
    ip("link", "del", name)


def test_runs_the_kernel_that_was_asked_for():
    major, minor, *_ = platform.release().split(".")
    assert (int(major), int(minor)) == LINE


def test_has_the_kernels_types():
    assert Path("/sys/kernel/btf/vmlinux").stat().st_size > 1 << 20


def test_has_a_bpf_file_system():
    assert subprocess.check_output(["stat", "-f", "-c", "%T", "/sys/fs/bpf"], text=True).strip() == "bpf_fs"


def test_clsact_takes_a_classifier_in_both_directions(dummy):
    subprocess.check_call(["tc", "qdisc", "add", "dev", dummy, "clsact"])
    for direction in ("ingress", "egress"):
        # One classic instruction: return 0, no match.
        subprocess.check_call(["tc", "filter", "add", "dev", dummy, direction, "bpf", "bytecode", "1,6 0 0 0"])
        shown = subprocess.check_output(["tc", "filter", "show", "dev", dummy, direction], text=True)
        assert "bytecode '1,6 0 0 0'" in shown


def test_tcx_is_there_since_6_6_and_not_before(dummy):
    program = load_empty_classifier()
    index = int(Path(f"/sys/class/net/{dummy}/ifindex").read_text())
    try:
        link = bpf(BPF_LINK_CREATE, struct.pack("=IIII", program, index, BPF_TCX_INGRESS, 0))
    except OSError:
        link = None
    finally:
        os.close(program)
    assert (link is not None) == (LINE >= FIRST_WITH_TCX)
    if link is not None:
        os.close(link)


def load_empty_classifier() -> int:
    """A program of two instructions (r0 = 0; exit), by the bare system call: this must depend on nothing of ours."""
    instructions = ctypes.create_string_buffer(bytes.fromhex("b7000000000000009500000000000000"))
    license_name = ctypes.create_string_buffer(b"Dual BSD/GPL")
    attributes = struct.pack(
        "=IIQQ", BPF_PROG_TYPE_SCHED_CLS, 2, ctypes.addressof(instructions), ctypes.addressof(license_name)
    )
    return bpf(BPF_PROG_LOAD, attributes)


def bpf(command: int, attributes: bytes) -> int:
    """bpf(2); the kernel takes attributes shorter than its own as followed by zeros."""
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(attributes, 128)
    result = libc.syscall(SYS_BPF, command, buffer, 128)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return int(result)


def ip(*words: str) -> None:
    subprocess.check_call(["ip", *words])
