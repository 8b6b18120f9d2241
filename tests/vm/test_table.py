"""docs/kernels.md: what was seen where, what failed by name, and why there is no verdict."""

import pytest
from vmtest import table
from vmtest.matrix import Outcome
from vmtest.result import Counts, Result

SINCE = {"tcx": "6.6", "batch": "5.6"}


def result(*, failures: tuple[str, ...] = ()) -> Result:
    return Result(
        exit_code=1 if failures else 0,
        release="6.1.0-56-cloud-amd64",
        uptime_s=1.0,
        passed=12,
        failed=len(failures),
        skipped=0,
        files={
            "tests/bpf/test_tcp.py": Counts(passed=7),
            "tests/bpf/test_udp.py": Counts(passed=2),
            "tests/net/test_reach.py": Counts(passed=3, failed=len(failures)),
        },
        failures=failures,
        properties={"feature tcx": "no", "feature batch": "yes", "verified_insns uplink_ingress": "501542"},
        day="2026-11-26",
        commit="d606832",
    )


def text(*outcomes: Outcome) -> str:
    return table.text(outcomes, SINCE, "6.1")


def rows(page: str) -> dict[str, list[str]]:
    cells = [[x.strip() for x in line.strip("|").split("|")] for line in page.splitlines() if line.startswith("|")]
    return {first: rest for first, *rest in cells}


def test_a_column_for_each_kernel():
    found = rows(text(Outcome("6.1", result()), Outcome("newest", None, "it hung\nits console said: x")))
    assert found[""] == ["since", "6.1", "newest"]
    assert found["kernel"] == ["", "6.1.0-56-cloud-amd64", "—"]
    assert found["tried on"] == ["", "2026-11-26", "—"]
    assert found["at commit"] == ["", "d606832", "—"]
    assert found["**all tests**"] == ["", "**12 passed, 0 failed**", "**no verdict**"]
    assert found[table.AREAS["tests/bpf"]] == ["", "9 passed", "—"]
    assert found[table.AREAS["tests/net"]] == ["", "3 passed", "—"]
    assert found["`tcx`"] == ["6.6", "no", "—"]
    assert found["`batch`"] == ["5.6", "yes", "—"]
    assert found["`uplink_ingress`, instructions that the verifier walks"] == ["", "501,542", "—"]


@pytest.mark.parametrize(
    ("outcome", "said"),
    [
        (Outcome("6.1", result()), "That holds there: 12 passed, 0 failed."),
        (Outcome("6.1", result(failures=("a.py::test",))), "That is not what was seen there: 12 passed, 1 failed."),
        (
            Outcome("6.1", result(), "the part 'net' was not tried"),
            "That is not what was seen there: no verdict: the part",
        ),
        (Outcome("6.1", None, "it hung"), "It was not tried here."),
        (Outcome("6.12", result()), "It was not tried here."),
    ],
)
def test_what_was_seen_on_the_oldest_kernel_that_is_supported_is_said(outcome, said):
    assert f"**6.1 is the oldest kernel that is supported.** {said}" in text(outcome)


def test_what_failed_is_named_and_what_went_well_is_not():
    page = text(
        Outcome("6.1", result(failures=("tests/net/test_reach.py::test_a[IPv4]",))),
        Outcome("6.12", result()),
        Outcome("newest", None, "it hung\nits console said: x"),
    )
    assert "## Failed on 6.1\n\n- `tests/net/test_reach.py::test_a[IPv4]`\n" in page
    assert "## Failed on newest\n\n```\nit hung\nits console said: x\n```\n" in page
    assert "Failed on 6.12" not in page
    assert rows(page)[table.AREAS["tests/net"]][1] == "3 passed, **1 failed**"


def test_a_kernel_that_is_refused_says_why_and_not_what_failed():
    refused = Result(1, "5.10.0-32-cloud-amd64", 1.0, 1, 1, 0, {}, ("a.py::test",), {"refused": "no bpf_loop; no BTF"})
    page = text(Outcome("5.10", refused))
    assert rows(page)["**all tests**"] == ["", "**refused**"]
    assert "## Refused on 5.10\n\n`penstock run` says: no bpf_loop; no BTF.\n" in page
    assert "a.py" not in page


def test_of_very_many_failures_some_are_named():
    page = text(Outcome("6.1", result(failures=tuple(f"tests/a.py::test_{i}" for i in range(43)))))
    assert page.count("- `tests/a.py") == 40
    assert "- and 3 more" in page
