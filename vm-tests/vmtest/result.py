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
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, field
from pathlib import Path

from .errors import VmError

TIMED_OUT = (124, 137)
REFUSED = "refused"
"""The property in which a test says why Penstock does not start on that kernel (vm-tests/smoke/test_kernel.py)."""


@dataclass(frozen=True, slots=True)
class Counts:
    """Of the tests of one file."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0


@dataclass(frozen=True, slots=True)
class Result:
    """The outcome of one run of pytest."""

    exit_code: int
    release: str
    uptime_s: float
    passed: int
    failed: int
    """Failures and errors."""
    skipped: int
    files: Mapping[str, Counts] = field(default_factory=dict)
    """By the path of the test's file."""
    failures: tuple[str, ...] = ()
    """Tests that failed or broke, as pytest names them."""
    properties: Mapping[str, str] = field(default_factory=dict)
    """What tests said of the kernel beyond their verdict (record_property)."""
    day: str = ""
    """On which the tests ran, as 2026-11-26."""
    commit: str = ""
    """Of which the tests were; several, if parts were of others."""

    @property
    def good(self) -> bool:
        """Did every test that ran pass, and at least one run?"""
        return self.exit_code == 0 and self.failed == 0 and self.passed > 0

    @property
    def refusal(self) -> str:
        """Why Penstock does not start on that kernel; empty if it does."""
        return self.properties.get(REFUSED, "")


@dataclass(frozen=True, slots=True)
class Ended:
    """How a job ended, whatever it was."""

    exit_code: int
    release: str
    uptime_s: float


def ended(archive: Path, folder: Path) -> Ended:
    """Unpack the archive into `folder`, and how the job ended. Raises VmError when that is not known."""
    try:
        _unpack(archive, folder)
    except (OSError, tarfile.TarError) as error:
        raise VmError("the machine ended without a result") from error
    return _ended(folder)


def _ended(folder: Path) -> Ended:
    try:
        exit_code = int((folder / "exit-code").read_text())
        release = (folder / "release").read_text().strip()
        uptime_s = float((folder / "uptime").read_text())
    except (OSError, ValueError) as error:
        raise VmError("the machine ended without a result") from error
    if exit_code in TIMED_OUT:
        raise VmError("the job did not end in the time it was given; the output above shows how far it came")
    return Ended(exit_code, release, uptime_s)


def read(archive: Path, folder: Path) -> Result:
    """Unpack the archive into `folder` and judge it. Raises VmError when it is missing, cut, or lacks a verdict."""
    ended(archive, folder)
    return judged(folder)


def judged(folder: Path) -> Result:
    """What an archive of pytest's that was unpacked there says. Raises VmError when it lacks a verdict."""
    job = _ended(folder)
    try:
        suites = list(ET.parse(folder / "junit.xml").getroot().iter("testsuite"))
    except (OSError, ET.ParseError) as error:
        raise VmError(f"the job ended with {job.exit_code} and left no test report") from error

    def total(*kinds: str) -> int:
        return sum(int(suite.get(kind, 0)) for suite in suites for kind in kinds)

    failed, skipped = total("failures", "errors"), total("skipped")
    passed = total("tests") - failed - skipped
    cases = [case for suite in suites for case in suite.iter("testcase")]
    return Result(
        job.exit_code,
        job.release,
        job.uptime_s,
        passed,
        failed,
        skipped,
        _by_file(cases),
        tuple(dict.fromkeys(_name(case) for case in cases if _outcome(case) == "failed")),
        {item.get("name", ""): item.get("value", "") for case in cases for item in case.iter("property")},
        suites[0].get("timestamp", "")[:10] if suites else "",
    )


def together(results: Sequence[Result]) -> Result:
    """What parts of the tests came to, each on the same kernel; at least one."""
    files: dict[str, Counts] = {}
    for path, counts in (item for x in results for item in x.files.items()):
        before = files.get(path, Counts())
        files[path] = Counts(*map(sum, zip(astuple(before), astuple(counts), strict=True)))
    return Result(
        max(x.exit_code for x in results),
        results[0].release,
        sum(x.uptime_s for x in results),
        sum(x.passed for x in results),
        sum(x.failed for x in results),
        sum(x.skipped for x in results),
        files,
        tuple(dict.fromkeys(name for x in results for name in x.failures)),
        {name: value for x in results for name, value in x.properties.items()},
        min(x.day for x in results),
        ", ".join(dict.fromkeys(x.commit for x in results if x.commit)),
    )


def _outcome(case: ET.Element) -> str:
    kinds = {child.tag for child in case}
    return "failed" if kinds & {"failure", "error"} else "skipped" if "skipped" in kinds else "passed"


def _name(case: ET.Element) -> str:
    return f"{case.get('file', '?')}::{case.get('name', '?')}"


def _by_file(cases: Iterable[ET.Element]) -> Mapping[str, Counts]:
    found: dict[str, Counter[str]] = {}
    for case in cases:
        found.setdefault(case.get("file", "?"), Counter())[_outcome(case)] += 1
    return {path: Counts(**counts) for path, counts in found.items()}


def _unpack(archive: Path, folder: Path) -> None:
    """Plain files of the archive's first level, nothing else: the guest is not asked where to write."""
    with tarfile.open(archive, "r:") as tar:
        for member in tar:
            content = tar.extractfile(member)
            if content is not None:
                (folder / Path(member.name).name).write_bytes(content.read())
