"""What ends badly ends soon, says why, and leaves nothing running. Real machines, with nothing in them but busybox.

Needs QEMU and a kernel, and so is no part of tests/: `make vm-selftest`.
"""

import dataclasses
import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from vmtest import accelerator, debian, initramfs, machine, result
from vmtest.cache import Cache, default_folder
from vmtest.errors import VmError
from vmtest.kernels import Kernel
from vmtest.machine import Machine

HEAD = """#!/bin/busybox sh
/bin/busybox mkdir /proc /sys /dev
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sysfs /sys
/bin/busybox mount -t devtmpfs devtmpfs /dev
for module in /modules/*.ko; do /bin/busybox insmod $module; done
"""
VM_TESTS = Path(__file__).parents[1]
OFF = "/bin/busybox poweroff -f\n"


@pytest.fixture(scope="session")
def kernel() -> Kernel:
    cache = Cache(default_folder(), print)
    with cache.locked():
        return debian.fetch("6.1", cache)


@pytest.fixture
def guest(kernel: Kernel, tmp_path: Path) -> Callable[[str], Machine]:
    """A machine whose first program is HEAD and then this script."""

    def make(script: str) -> Machine:
        archive = tmp_path / "initramfs"
        archive.write_bytes(initramfs.cpio(initramfs.base(kernel) | {"init": (HEAD + script).encode()}))
        return Machine(kernel.image, archive)

    return make


def test_output_arrives_and_the_result_is_what_the_guest_wrote(guest, tmp_path):
    output = io.BytesIO()
    machine.run(guest("echo hello >/dev/vport0p1; echo archive >/dev/vport0p2\n" + OFF), tmp_path, output, seconds=60)
    assert output.getvalue() == b"hello\n"
    assert (tmp_path / "result.tar").read_bytes() == b"archive\n"


@pytest.mark.parametrize(
    ("script", "console"),
    [
        pytest.param(OFF, "Power down", id="turned off"),
        pytest.param("echo c >/proc/sysrq-trigger\n", "Kernel panic", id="panic"),
        pytest.param("exit 1\n", "Attempted to kill init", id="first program ended"),
        pytest.param("echo half >/dev/vport0p2\n" + OFF, "Power down", id="half an archive"),
    ],
)
def test_an_end_without_a_result_is_no_verdict(guest, tmp_path, script, console):
    machine.run(guest(script), tmp_path, io.BytesIO(), seconds=60)
    with pytest.raises(VmError, match="ended without a result"):
        result.read(tmp_path / "result.tar", tmp_path)
    assert console in machine.tail(tmp_path / "console.log")


@pytest.mark.parametrize(
    ("first", "limits", "said"),
    [
        ("echo hello >/dev/vport0p1", {"seconds": 15, "silent_seconds": 10}, "not ended after 15 s and was killed"),
        (":", {"seconds": 3600, "silent_seconds": 10}, "not said a word after 10 s and was killed"),
        (":", {"seconds": 10, "silent_seconds": 3600}, "not said a word after 10 s and was killed"),
    ],
)
def test_a_machine_that_hangs_is_killed_and_its_console_shown(guest, tmp_path, first, limits, said):
    hangs = guest(f"{first}; echo the last words >/dev/console; while :; do :; done\n")
    start = time.monotonic()
    with pytest.raises(VmError, match=f"{said}(?s:.*)the last words"):
        machine.run(hangs, tmp_path, io.BytesIO(), **limits)
    assert time.monotonic() - start < 60
    assert machines_in(tmp_path) == []


def test_what_qemu_complains_about_is_said(tmp_path):
    (tmp_path / "image").write_bytes(b"half a download")
    (tmp_path / "initramfs").write_bytes(b"")
    with pytest.raises(VmError, match="QEMU ended with 1"):
        machine.run(Machine(tmp_path / "image", tmp_path / "initramfs"), tmp_path, io.BytesIO(), seconds=60)


def test_kvm_is_tried_once_and_taken_if_a_guest_spoke(kernel, guest, tmp_path):
    cache, said = Cache(tmp_path / "cache", print), []
    with cache.locked():
        chosen = [accelerator.choose(kernel, cache, said.append) for _ in range(2)]
    assert chosen[0] == chosen[1]
    assert sum("trying /dev/kvm" in x for x in said) == accelerator.DEVICE.exists()
    assert any("of no use" in x for x in said) == (accelerator.DEVICE.exists() and chosen[0] is machine.SOFTWARE)
    output = io.BytesIO()
    chosen_guest = dataclasses.replace(guest("echo hello >/dev/vport0p1\n" + OFF), accelerator=chosen[0])
    machine.run(chosen_guest, tmp_path, output, seconds=60)
    assert output.getvalue() == b"hello\n"


def test_a_machine_dies_with_the_process_that_started_it(guest, tmp_path):
    guest("while :; do :; done\n")
    kernel_image = next(iter(default_folder().glob("kernel-6.1.*/vmlinuz")))
    script = (
        "import sys; from pathlib import Path; from vmtest import machine\n"
        f"folder = Path({str(tmp_path)!r})\n"
        f"vm = machine.Machine(Path({str(kernel_image)!r}), folder / 'initramfs')\n"
        "machine.run(vm, folder, sys.stdout.buffer, seconds=60)\n"
    )
    runner = subprocess.Popen([sys.executable, "-c", script], env={**os.environ, "PYTHONPATH": str(VM_TESTS)})
    try:
        until(lambda: machines_in(tmp_path) != [])
    finally:
        runner.send_signal(signal.SIGKILL)
        runner.wait()
    until(lambda: machines_in(tmp_path) == [])


def machines_in(folder: Path) -> list[int]:
    """Process ids of QEMUs that were given this folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"qemu-system" in words[0] and any(os.fsencode(folder) in word for word in words):
            found.append(int(process.name))
    return found


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
