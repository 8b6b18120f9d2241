"""Several kernels: one that has no verdict does not keep the next from its turn, and the whole has failed."""

import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from vmtest import matrix, record, trial
from vmtest.__main__ import main
from vmtest.errors import VmError
from vmtest.result import Counts, Result

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
        assert f"{label}: no verdict: it was not tried" in said
        assert f"## Failed on {label}\n" in written.read_text()
    assert "| **no verdict** | **no verdict** |" in written.read_text()


def test_one_kernel_that_is_not_there_is_an_error_in_one_line(capsys):
    assert main([UNKNOWN[0], "tests/none"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: 4.19: ")


def seen(**told: Any) -> Result:
    return Result(
        **{"exit_code": 0, "release": "6.1.0-56", "uptime_s": 9.5, "passed": 1, "failed": 0, "skipped": 0} | told
    )


TABLES = seen(files={"tests/bpf/test_tcp.py": Counts(passed=1)}, day="2026-11-26", commit="aaaa")
NET = seen(
    exit_code=1,
    passed=0,
    failed=1,
    files={"tests/net/test_x.py": Counts(failed=1)},
    failures=("tests/net/test_x.py::test_it",),
    properties={"feature tcx": "no"},
    day="2026-11-24",
    commit="bbbb-dirty",
)


def test_parts_are_put_together(tmp_path):
    record.put(tmp_path, "6.1", "tables", TABLES)
    record.put(tmp_path, "6.1", "net", NET)
    (outcome,) = matrix.kept(tmp_path, ["6.1"], ["tables", "net"])
    assert (outcome.label, outcome.good, outcome.verdict) == ("6.1", False, "1 passed, 1 failed")
    found = outcome.result
    assert found is not None
    assert found.files == {"tests/bpf/test_tcp.py": Counts(passed=1), "tests/net/test_x.py": Counts(failed=1)}
    assert (found.failures, found.properties, found.day) == (NET.failures, NET.properties, "2026-11-24")


def test_a_part_that_was_never_tried_is_named(tmp_path):
    record.put(tmp_path, "6.1", "tables", TABLES)
    (outcome,) = matrix.kept(tmp_path, ["6.1"], ["tables", "nic", "net"])
    assert (outcome.good, outcome.verdict) == (True, "1 passed, 0 failed; not tried: nic, net")


def test_the_commit_is_told_and_whether_the_tests_were_changed_since(tmp_path):
    def git(*words):
        who = ("-c", "user.name=a", "-c", "user.email=a@b")
        return subprocess.run(["git", "-C", tmp_path, *who, *words], check=True, capture_output=True, text=True).stdout

    def told(part):
        record.put(tmp_path, "6.1", part, TABLES)
        return record.get(tmp_path, "6.1", part).commit

    test, table = tmp_path / "test_it.py", tmp_path / "docs" / "kernels.md"
    table.parent.mkdir()
    record.put(tmp_path, "6.1", "net", NET)
    for file in (test, table):
        file.write_text("then")
    git("init", "-q")
    git("add", "-A")
    git("commit", "-q", "-m", "then")
    commit = git("rev-parse", "--short", "HEAD").strip()
    table.write_text("now")
    assert (told("net"), told("net")) == (commit, commit)
    test.write_text("now")
    assert told("net") == f"{commit}-dirty"


def test_a_part_without_a_verdict_takes_the_wholes_and_the_others_are_shown(tmp_path):
    record.put(tmp_path, "6.1", "tables", TABLES)
    record.put_trouble(tmp_path, "6.1", "net", "it hung")
    (outcome,) = matrix.kept(tmp_path, ["6.1"], ["tables", "net"])
    assert (outcome.good, outcome.verdict) == (False, "no verdict: it hung")
    assert outcome.result is not None
    assert outcome.result.passed == 1


def test_a_part_that_ends_without_a_verdict_replaces_the_one_that_had_one(tmp_path, monkeypatch):
    record.put(tmp_path, "4.19", "net", NET)
    monkeypatch.chdir(tmp_path)
    assert main(["--part", "net", "4.19", "tests/none"]) == 2
    with pytest.raises(VmError, match="run this by the checkout's own environment"):
        record.get(tmp_path, "4.19", "net")


@pytest.mark.parametrize(
    ("ended", "said"), [(VmError("it hung\nits console"), "it hung\nits console"), (KeyboardInterrupt(), "interrupted")]
)
def test_a_trial_that_ended_badly_leaves_its_reason_and_nothing_of_the_one_before(tmp_path, ended, said):
    place = trial.kept_in(tmp_path, "6.1", "net")
    place.mkdir(parents=True)
    (place / "junit.xml").touch()
    (tmp_path / "scratch").mkdir()
    with pytest.raises(type(ended)), trial.keeping(tmp_path / "scratch", place):
        raise ended
    (left,) = place.iterdir()
    assert said in left.read_text()


def test_no_kernel_at_all_is_a_wrong_command_line(capsys):
    with pytest.raises(SystemExit) as ended:
        main([" ", "tests/none"])
    assert ended.value.code == 2
    assert "no kernel" in capsys.readouterr().err
