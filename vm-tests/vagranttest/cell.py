"""Namespaces in which libvirt and Vagrant may do as they like: bridges, addresses, firewall, files, processes.

Rules:
  - All of it is in one network, mount and process namespace. When its first process ends, however it ends, the kernel
    kills the rest and takes the interfaces and mounts away; the files are under one folder, which the caller removes.
  - There is no interface to the outside but loopback.
Must never: write where the host's own libvirt keeps its things.
"""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from vmtest import host
from vmtest.errors import VmError

KEPT = ("/var/lib/libvirt", "/var/cache/libvirt", "/var/log/libvirt", "/etc/libvirt")
"""Where libvirt keeps things: in the cell, empty folders of this run's."""
TOOLS = ("vagrant", "libvirtd", "virsh", "qemu-system-x86_64", "qemu-img", "dnsmasq", "iptables", "rsync")
QEMU_CONF = """user = "root"
group = "root"
security_driver = "none"
cgroup_controllers = [ ]
namespaces = [ ]
stdio_handler = "file"
remember_owner = 0
dynamic_ownership = 0
"""
LIBVIRTD_CONF = """auth_unix_rw = "none"
auth_unix_ro = "none"
"""
INSIDE = "vagranttest.inside"


def require(search_path: str = host.SEARCH_PATH) -> None:
    """Raise VmError unless one can be made here."""
    if os.geteuid() != 0:
        raise VmError("this needs root")
    if missing := [tool for tool in TOOLS if shutil.which(tool, path=search_path) is None]:
        raise VmError(f"missing: {', '.join(missing)}; `make vagrant-deps` installs what has them")
    host.require_taps()


def run(scratch: Path, words: Sequence[str], *, seconds: float) -> int:
    """`python -m vagranttest.inside SCRATCH WORD...` in a cell; its exit code. Raises VmError when time is up."""
    namespaces = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
    process = subprocess.Popen(
        ["setpriv", "--pdeathsig", "KILL", *namespaces, sys.executable, "-m", INSIDE, str(scratch), *words]
    )
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired as error:
        raise VmError(f"it had not ended after {seconds:.0f} s and was killed") from error
    finally:
        _end(process)


def _end(unshare: subprocess.Popen[bytes]) -> None:
    """Kill the cell's first process; `unshare` ends when that has ended, and that ends when all others have."""
    if unshare.poll() is None:
        children = Path(f"/proc/{unshare.pid}/task/{unshare.pid}/children").read_text()
        for process in [int(word) for word in children.split()] or [unshare.pid]:
            os.kill(process, signal.SIGKILL)
    unshare.wait()


def as_first_process(work: Callable[[], int]) -> int:
    """Once inside: do the work in a child, and meanwhile what is the first process's to do: to bury what others leave.

    Without, each QEMU that ended would stay, dead, and libvirt wait for it to be gone.
    """
    worker = os.fork()
    if worker == 0:
        return work()
    while True:
        ended, status = os.wait()
        if ended == worker:
            return os.waitstatus_to_exitcode(status)


def furnish(scratch: Path) -> None:
    """Once inside: mounts over what is the host's, and loopback."""
    for number, place in enumerate(KEPT):
        folder = scratch / f"libvirt{number}"
        folder.mkdir()
        host.run(["mount", "--bind", folder, place])
    Path("/etc/libvirt/qemu.conf").write_text(QEMU_CONF)
    Path("/etc/libvirt/libvirtd.conf").write_text(LIBVIRTD_CONF)
    host.run(["mount", "-t", "tmpfs", "tmpfs", "/run"])
    # The interfaces in /sys are those of the namespace that it was mounted in.
    host.run(["mount", "-t", "sysfs", "sysfs", "/sys"])
    host.run(["ip", "link", "set", "lo", "up"])
