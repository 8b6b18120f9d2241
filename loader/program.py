"""A loaded program: who it is, and running it on a packet without any interface (BPF_PROG_TEST_RUN).

Must never: attach (attach.py does).
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass

from loader.errors import NotSupported
from loader.libbpf import checked, ffi, info, lib, scratch

# linux/bpf.h: the packet gets ip_summed = CHECKSUM_COMPLETE with the right sum, and a program that leaves the sum
# wrong fails with EBADMSG.
TEST_SKB_CHECKSUM_COMPLETE = 1 << 2

# A packet may grow: an ICMP error around it, a tunnel header.
_GROWTH = 64 << 10


@dataclass(frozen=True, slots=True)
class RunResult:
    """What a program did: its return value, the packet and the context after it, nanoseconds per run (mean)."""

    retval: int
    data: bytes
    ctx: bytes
    duration_ns: int


class Program:
    """A program of an open Object; valid while that is open."""

    def __init__(self, fd: int, name: str) -> None:
        self.fd = fd
        self.name = name

    @property
    def id(self) -> int:
        """The kernel's number for it."""
        return int(info("prog_info", self.fd).id)

    @property
    def verified_insns(self) -> int:
        """Instructions the verifier walked (kernel 5.16); the limit is 1,000,000."""
        return int(info("prog_info", self.fd).verified_insns)

    def test_run(
        self, data: bytes, *, repeat: int = 1, ctx: bytes | None = None, flags: int = 0, cpu: int | None = None
    ) -> RunResult:
        """Runs the program on the frame `data` (from the Ethernet header on) `repeat` times, on this or on CPU `cpu`.

        `ctx`: a struct __sk_buff to begin with; of a TC program the kernel takes mark, priority, ifindex,
        ingress_ifindex, cb, tstamp, wire_len, gso_segs, gso_size and hwtstamp from it, the others must be 0.
        NotSupported if the kernel does not know a flag; KernelError (EINVAL) if it does not accept data or context.
        """
        out, ctx_in = scratch(len(data) + _GROWTH), ctx or b""
        ctx_out = ffi.new("char[]", len(ctx_in)) if ctx_in else ffi.NULL
        data_in = ffi.from_buffer(data)
        ctx_buffer = ffi.from_buffer(ctx_in) if ctx_in else ffi.NULL
        opts = ffi.new(
            "struct test_run_opts *",
            {
                "sz": ffi.sizeof("struct test_run_opts"),
                "data_in": data_in,
                "data_size_in": len(data),
                "data_out": out,
                "data_size_out": len(data) + _GROWTH,
                "ctx_in": ctx_buffer,
                "ctx_size_in": len(ctx_in),
                "ctx_out": ctx_out,
                "ctx_size_out": len(ctx_in),
                "repeat": repeat,
                "flags": flags,
            },
        )
        with _on_cpu(cpu):
            result = lib().bpf_prog_test_run_opts(self.fd, opts)
        if result == -errno.EINVAL and flags:
            raise NotSupported(f"running {self.name}: this kernel does not know run flags {flags:#x}")
        checked(result, f"running {self.name}")
        return RunResult(
            retval=int(opts.retval),
            data=bytes(ffi.buffer(out, opts.data_size_out)),
            ctx=bytes(ffi.buffer(ctx_out, opts.ctx_size_out)) if ctx_in else b"",
            duration_ns=int(opts.duration),
        )


@contextlib.contextmanager
def _on_cpu(cpu: int | None) -> Iterator[None]:
    """Pins this thread: the kernel takes a CPU only for tracing programs."""
    if cpu is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {cpu})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
