"""Several kernels: one that has no verdict does not keep the next from its turn, and the whole has failed."""

import signal
from pathlib import Path

import pytest
from vmtest import matrix, trial
from vmtest.__main__ import main
from vmtest.errors import VmError
from vmtest.result import Counts

UNKNOWN = ("4.19", "/nowhere/vmlinuz:/nowhere/5.15.0-91-generic")
LABELS = ("4.19", "5.15.0-91-generic")
LOGS = Path("build/vm")


@pytest.fixture(autouse=True)
def nothing_stays(tmp_path, monkeypatch):
    """A cache of our own; what the command sets for its process is set back, and its logs go."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    handler = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, handler)
    for label in LABELS:
        (LOGS / f"{label}.log").unlink(missing_ok=True)


def test_kernels_that_are_not_there_have_no_verdict_each(capsys):
    assert main([" ".join(UNKNOWN), "tests/none"]) == 2
    said = capsys.readouterr().out
    for label in LABELS:
        assert f"{label}: no verdict: " in said
        assert (LOGS / f"{label}.log").read_bytes() == b""


def test_kernels_that_were_never_tried_are_in_the_table(tmp_path, capsys):
    written = tmp_path / "kernels.md"
    assert main(["--table", str(written), " ".join(UNKNOWN), "tables", "net"]) == 2
    said = capsys.readouterr().out
    for label in LABELS:
        assert f"{label}: no verdict: the part 'tables' was not tried" in said
        assert f"## Failed on {label}\n" in written.read_text()
    assert "| **no verdict** | **no verdict** |" in written.read_text()


def test_one_kernel_that_is_not_there_is_an_error_in_one_line(capsys):
    assert main([UNKNOWN[0], "tests/none"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: 4.19: ")


def report(test: str, *, outcome: str = "", day: str = "2026-11-26", **counts: int) -> str:
    said = " ".join(f'{name}="{count}"' for name, count in {"tests": 1, **counts}.items())
    case = f'<testcase file="tests/{test}" name="test_it">{outcome}</testcase>'
    return f'<testsuites><testsuite {said} timestamp="{day}T22:10:05">{case}</testsuite></testsuites>'


def came_back(root: Path, name: str, part: str, junit: str, exit_code: int = 0) -> None:
    folder = trial.kept_in(root, name, part)
    folder.mkdir(parents=True)
    files = {"exit-code": f"{exit_code}\n", "release": "6.1.0-56-cloud-amd64\n", "uptime": "9.5\n", "junit.xml": junit}
    for file, text in files.items():
        (folder / file).write_text(text)


def test_parts_are_put_together(tmp_path):
    came_back(tmp_path, "6.1", "tables", report("bpf/test_tcp.py"))
    came_back(tmp_path, "6.1", "net", report("net/test_x.py", outcome="<failure/>", failures=1, day="2026-11-24"), 1)
    (outcome,) = matrix.kept(tmp_path, ["6.1"], ["tables", "net"])
    assert (outcome.label, outcome.good, outcome.verdict) == ("6.1", False, "1 passed, 1 failed")
    found = outcome.result
    assert found is not None
    assert found.files == {"tests/bpf/test_tcp.py": Counts(passed=1), "tests/net/test_x.py": Counts(failed=1)}
    assert (found.failures, found.day) == (("tests/net/test_x.py::test_it",), "2026-11-24")


def test_a_part_without_a_verdict_takes_the_wholes_and_the_others_are_shown(tmp_path):
    came_back(tmp_path, "6.1", "tables", report("bpf/test_tcp.py"))
    (outcome,) = matrix.kept(tmp_path, ["6.1"], ["tables", "net"])
    assert (outcome.good, outcome.verdict) == (False, "no verdict: the part 'net' was not tried")
    assert outcome.result is not None
    assert outcome.result.passed == 1


@pytest.mark.parametrize(
    ("ended", "said"), [(VmError("it hung\nits console"), "it hung\nits console"), (KeyboardInterrupt(), "interrupted")]
)
def test_a_trial_that_ended_badly_leaves_its_reason_and_nothing_of_the_one_before(tmp_path, ended, said):
    came_back(tmp_path, "6.1", "net", report("net/test_x.py"))
    (tmp_path / "scratch").mkdir()
    with pytest.raises(type(ended)), trial.keeping(tmp_path / "scratch", trial.kept_in(tmp_path, "6.1", "net")):
        raise ended
    with pytest.raises(VmError, match=said):
        trial.kept(tmp_path, "6.1", "net")


def test_no_kernel_at_all_is_a_wrong_command_line(capsys):
    with pytest.raises(SystemExit) as ended:
        main([" ", "tests/none"])
    assert ended.value.code == 2
    assert "no kernel" in capsys.readouterr().err
