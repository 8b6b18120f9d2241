"""What came back from a guest, and what it means.

The guest's last act is one tar archive: `exit-code` of the job, `junit.xml` if the job was pytest, `release`, `uptime`
(seconds since boot at the end), `dmesg.txt`.

Rules:
  - No archive, or part of one: the guest died, whatever it printed before. That is a failure, never a verdict.
  - The exit code is the job's own. 124 and 137 are `timeout`'s: the job was ended.
  - A run without a single test that passed has tested nothing, and failed.
"""

import tarfile
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path

from .errors import VmError

TIMED_OUT = (124, 137)


@dataclass(frozen=True, slots=True)
class Result:
    """The outcome of one job."""

    exit_code: int
    release: str
    uptime_s: float
    passed: int
    failed: int
    """Failures and errors."""
    skipped: int

    @property
    def good(self) -> bool:
        """Did every test that ran pass, and at least one run?"""
        return self.exit_code == 0 and self.failed == 0 and self.passed > 0


def read(archive: Path, folder: Path) -> Result:
    """Unpack the archive into `folder` and judge it. Raises VmError when it is missing, cut, or lacks a verdict."""
    try:
        _unpack(archive, folder)
        exit_code = int((folder / "exit-code").read_text())
        release = (folder / "release").read_text().strip()
        uptime_s = float((folder / "uptime").read_text())
    except (OSError, ValueError, tarfile.TarError) as error:
        raise VmError("the machine ended without a result") from error
    if exit_code in TIMED_OUT:
        raise VmError("the tests did not end in the time they were given; the output above shows how far they came")
    try:
        suites = list(ET.parse(folder / "junit.xml").getroot().iter("testsuite"))
    except (OSError, ET.ParseError) as error:
        raise VmError(f"the job ended with {exit_code} and left no test report") from error

    def total(*kinds: str) -> int:
        return sum(int(suite.get(kind, 0)) for suite in suites for kind in kinds)

    failed, skipped = total("failures", "errors"), total("skipped")
    return Result(exit_code, release, uptime_s, total("tests") - failed - skipped, failed, skipped)


def _unpack(archive: Path, folder: Path) -> None:
    """Plain files of the archive's first level, nothing else: the guest is not asked where to write."""
    with tarfile.open(archive, "r:") as tar:
        for member in tar:
            content = tar.extractfile(member)
            if content is not None:
                (folder / Path(member.name).name).write_bytes(content.read())
