"""What comes back from a guest: a verdict, or the reason why there is none."""

import io
import tarfile
from pathlib import Path

import pytest
from vmtest import result
from vmtest.errors import VmError


def junit(*, tests: int, failures: int = 0, errors: int = 0, skipped: int = 0) -> str:
    return (
        "<testsuites><testsuite "
        f'tests="{tests}" failures="{failures}" errors="{errors}" skipped="{skipped}"/></testsuites>'
    )


def archive(files: dict[str, str]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text.encode())
            tar.addfile(member, io.BytesIO(text.encode()))
    return out.getvalue()


def came_back(exit_code: str = "0", **junit_counts: int) -> dict[str, str]:
    return {
        "./exit-code": f"{exit_code}\n",
        "./release": "6.1.0-56-cloud-amd64\n",
        "./uptime": "12.34\n",
        "./junit.xml": junit(**junit_counts),
    }


def read(tmp_path: Path, data: bytes) -> result.Result:
    (tmp_path / "result.tar").write_bytes(data)
    (tmp_path / "unpacked").mkdir()
    return result.read(tmp_path / "result.tar", tmp_path / "unpacked")


@pytest.mark.parametrize(
    ("exit_code", "counts", "good"),
    [
        pytest.param("0", {"tests": 5}, True, id="all passed"),
        pytest.param("0", {"tests": 5, "skipped": 1}, True, id="one skipped"),
        pytest.param("1", {"tests": 5, "failures": 1}, False, id="one failed"),
        pytest.param("1", {"tests": 5, "errors": 1}, False, id="one broke"),
        pytest.param("0", {"tests": 5, "failures": 1}, False, id="report and exit code disagree"),
        pytest.param("3", {"tests": 5}, False, id="pytest itself broke"),
        pytest.param("5", {"tests": 0}, False, id="no tests"),
        pytest.param("0", {"tests": 2, "skipped": 2}, False, id="all skipped"),
    ],
)
def test_a_run_is_good_when_some_tests_passed_and_none_failed(tmp_path, exit_code, counts, good):
    assert read(tmp_path, archive(came_back(exit_code, **counts))).good is good


def test_counts_and_kernel_are_read(tmp_path):
    outcome = read(tmp_path, archive(came_back("1", tests=9, failures=1, errors=2, skipped=1)))
    assert outcome == result.Result(
        exit_code=1, release="6.1.0-56-cloud-amd64", uptime_s=12.34, passed=5, failed=3, skipped=1
    )


XML = """<testsuites><testsuite tests="4" failures="1" errors="1" skipped="1" timestamp="2026-11-26T22:10:05.5+00:00">
<testcase file="tests/bpf/test_a.py" name="test_1"><properties><property name="feature tcx" value="no"/></properties>
</testcase>
<testcase file="tests/bpf/test_a.py" name="test_2[x]"><failure/></testcase>
<testcase file="tests/net/test_b.py" name="test_3"><error/></testcase>
<testcase file="tests/net/test_b.py" name="test_4"><skipped/></testcase>
</testsuite></testsuites>"""


def test_files_failures_and_properties_are_read(tmp_path):
    outcome = read(tmp_path, archive({**came_back("1", tests=0), "./junit.xml": XML}))
    assert outcome.files == {
        "tests/bpf/test_a.py": result.Counts(passed=1, failed=1),
        "tests/net/test_b.py": result.Counts(failed=1, skipped=1),
    }
    assert outcome.failures == ("tests/bpf/test_a.py::test_2[x]", "tests/net/test_b.py::test_3")
    assert outcome.properties == {"feature tcx": "no"}
    assert outcome.day == "2026-11-26"


WHOLE = archive(came_back(tests=5))


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(WHOLE[:100], id="cut in the first header"),
        pytest.param(WHOLE[:700], id="cut after the first file"),
        pytest.param(archive({"./dmesg.txt": "x"}), id="no exit code"),
        pytest.param(archive({**came_back(tests=5), "./exit-code": ""}), id="empty exit code"),
    ],
)
def test_without_a_whole_archive_there_is_no_verdict(tmp_path, data):
    with pytest.raises(VmError, match="ended without a result"):
        read(tmp_path, data)


def test_without_an_archive_there_is_no_verdict(tmp_path):
    with pytest.raises(VmError, match="ended without a result"):
        result.read(tmp_path / "result.tar", tmp_path)


@pytest.mark.parametrize("exit_code", ["124", "137"])
def test_a_job_that_was_ended_says_so(tmp_path, exit_code):
    with pytest.raises(VmError, match="did not end in the time"):
        read(tmp_path, archive(came_back(exit_code, tests=5)))


def test_a_job_without_a_report_says_so(tmp_path):
    files = came_back("4", tests=5)
    del files["./junit.xml"]
    with pytest.raises(VmError, match="ended with 4 and left no test report"):
        read(tmp_path, archive(files))


def test_of_a_job_without_tests_its_end_and_its_files_are_what_comes_back(tmp_path):
    files = came_back("4", tests=5) | {"./page.md": "figures"}
    del files["./junit.xml"]
    (tmp_path / "result.tar").write_bytes(archive(files))
    ended = result.ended(tmp_path / "result.tar", tmp_path)
    assert ended == result.Ended(exit_code=4, release="6.1.0-56-cloud-amd64", uptime_s=12.34)
    assert (tmp_path / "page.md").read_text() == "figures"


def test_an_archive_cannot_write_beside_its_folder(tmp_path):
    read(tmp_path, archive({**came_back(tests=5), "../outside": "x"}))
    assert not (tmp_path / "outside").exists()
