"""Programs of this machine: are they here, and run them quietly.

Rules:
  - A program that is missing is named together with the Debian package that has it.
  - Output is shown only when the program failed.
  - Every call is bounded in time; of what is cut short nothing stays running.
Must never: install anything (`make` does, through tools/deps.sh).
"""

import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from .errors import VmError

TOOLS: Mapping[str, str] = {
    "qemu-system-x86_64": "qemu-system-x86",
    "busybox": "busybox-static",
    "mmdebstrap": "mmdebstrap",
    "mksquashfs": "squashfs-tools",
    "depmod": "kmod",
    "zstd": "zstd",
    "apt-get": "apt",
    "setpriv": "util-linux",
    "unshare": "util-linux",
    "ip": "iproute2",
}
"""Program -> the Debian package that has it."""

SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Where programs are looked for; a person's PATH often lacks the sbin folders."""


def require_tools(search_path: str = SEARCH_PATH) -> None:
    """Raise VmError, naming every missing program and the command that installs them, unless all of TOOLS are here."""
    missing = {tool: package for tool, package in TOOLS.items() if shutil.which(tool, path=search_path) is None}
    if missing:
        raise VmError(
            f"missing: {', '.join(missing)}. As root: "
            f"apt-get install --no-install-recommends {' '.join(sorted(set(missing.values())))}"
        )


def require_taps(device: Path = Path("/dev/net/tun")) -> None:
    """Raise VmError unless this machine can make taps, which guests' network cards end in."""
    try:
        device.open("r+b", buffering=0).close()
    except OSError as error:
        raise VmError(
            f"guests' network cards need {device}: {error.strerror}. As root: modprobe tun; a container must be given "
            "the device"
        ) from error


def run(command: Sequence[str | Path], *, cwd: Path | None = None, seconds: float = 600) -> str:
    """Run a command to its end and return its standard output.

    Raises VmError with the command and the last lines it wrote when it fails, or when it takes longer than `seconds`.
    """
    words = [str(word) for word in command]
    with subprocess.Popen(
        words,
        cwd=cwd,
        env={"PATH": SEARCH_PATH, "LC_ALL": "C.UTF-8", "HOME": str(Path.home())},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        # A group of its own, so that what it started ends with it.
        start_new_session=True,
    ) as process:
        try:
            out, err = process.communicate(timeout=seconds)
        except BaseException as error:
            os.killpg(process.pid, signal.SIGKILL)
            if isinstance(error, subprocess.TimeoutExpired):
                raise VmError(f"`{' '.join(words)}` had not ended after {seconds:.0f} s") from error
            raise
    if process.returncode:
        last = "\n".join((out + err).strip().splitlines()[-15:])
        raise VmError(f"`{' '.join(words)}` failed ({process.returncode}):\n{last}")
    return out
