"""On a kernel that the agent does not start on the run ends at once, and what comes back says why."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from vmtest import result
from vmtest.matrix import Outcome

ROOT = Path(__file__).parents[2]
SMOKE = ("vm-tests/smoke/test_kernel.py", "vm-tests/smoke/test_tracer.py")


def tried(folder: Path, before: str) -> result.Result:
    """What the guest's first tests say where that was done before, in namespaces of their own."""
    pytest = f'exec "$0" -m pytest -p no:cacheprovider -o junit_family=xunit1 --junitxml={folder}/junit.xml "$@"'
    done = subprocess.run(
        ["unshare", "--mount", "--net", "sh", "-ec", f"{before}; {pytest}", sys.executable, *SMOKE],
        cwd=ROOT,
        env={**os.environ, "PENSTOCK_KERNEL": os.uname().release},
        check=False,
        stdout=subprocess.DEVNULL,
    )
    for name, text in {"exit-code": done.returncode, "release": os.uname().release, "uptime": 1}.items():
        (folder / name).write_text(f"{text}\n")
    return result.judged(folder)


def test_without_the_kernels_types(tmp_path):
    found = tried(tmp_path, "mount -t tmpfs tmpfs /sys/kernel/btf")
    outcome = Outcome("6.1", found)
    assert not outcome.good
    assert outcome.verdict.startswith("refused: /sys/kernel/btf/vmlinux is missing: ")
    assert (found.passed, found.failed) == (1, 1)


def test_a_kernel_with_all_that_is_needed_goes_on(tmp_path):
    found = tried(tmp_path, "true")
    assert found.refusal == ""
    assert found.files.keys() == set(SMOKE)
