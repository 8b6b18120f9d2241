"""Every BPF object loads on this kernel, and no program costs its verifier much more than it did (budget.toml)."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from .budget import FILE, INSTRUCTIONS, KERNEL, STACK, Budget, excesses, line, read, reported, written
from .verified import Cost, Refused, costs, deepest

ROOT = Path(__file__).parents[2]
OBJECTS = sorted(source.name.removesuffix(".bpf.c") for source in (ROOT / "bpf").glob("*.bpf.c"))

BUDGET: Budget = {
    "6.1": {"a": Cost(1000, 320), "b": Cost(50, 32)},
    "6.12": {"a": Cost(500, 480)},
}


@pytest.mark.parametrize("name", OBJECTS)
def test_programs_load_within_their_budget(name: str, record_property: Callable[[str, object], None]) -> None:
    release = os.uname().release
    refused = ""
    try:
        found = costs(ROOT / "build" / f"{name}.bpf.o")
    except Refused as error:
        refused = str(error)
    if refused:
        pytest.fail(f"refused by the verifier of {release}:\n{refused}", pytrace=False)
    record_property(KERNEL, release)
    for program, cost in found.items():
        record_property(INSTRUCTIONS + program, cost.instructions)
        record_property(STACK + program, cost.stack)
    grown = list(excesses(line(release), found, read(FILE.read_text())))
    if grown:
        pytest.fail("\n".join([*grown, "If that is what is meant: make budget"]), pytrace=False)


@pytest.mark.parametrize(
    ("kernel", "found", "said"),
    [
        ("6.1", Cost(1000, 320), []),
        ("6.1", Cost(1200, 384), []),
        ("6.1", Cost(1201, 320), ["a on 6.1: 1,201 instructions, 1,000 in budget.toml (+20%)"]),
        ("6.1", Cost(100, 416), ["a on 6.1: 416 octets of stack, 320 in budget.toml (+30%)"]),
        ("6.12", Cost(1000, 480), ["a on 6.12: 1,000 instructions, 500 in budget.toml (+100%)"]),
        # A kernel that is not in the file may cost what the most expensive of the others does.
        ("5.15", Cost(1200, 512), []),
        ("5.15", Cost(1201, 512), ["a on 5.15: 1,201 instructions, 1,000 in budget.toml (+20%)"]),
    ],
)
def test_growth_is_told_with_both_figures(kernel: str, found: Cost, said: list[str]) -> None:
    assert list(excesses(kernel, {"a": found}, BUDGET)) == said


@pytest.mark.parametrize(("kernel", "program"), [("6.12", "b"), ("5.15", "c")])
def test_a_program_without_a_budget_is_told_of(kernel: str, program: str) -> None:
    (said,) = excesses(kernel, {program: Cost(1, 1)}, BUDGET)
    assert said == f"{program} is not in budget.toml for {kernel}: make budget"


def test_the_file_is_read_as_it_was_written_kernels_in_their_order() -> None:
    text = written(BUDGET)
    assert read(text) == BUDGET
    assert text.index('["6.1"]') < text.index('["6.12"]')
    assert written(read(text)) == text


def test_a_report_tells_kernel_and_figures() -> None:
    report = """<testsuites><testsuite><testcase><properties>
        <property name="kernel" value="6.1.0-56-cloud-amd64"/><property name="verified_insns a" value="7"/>
        <property name="stack a" value="32"/><property name="feature tcx" value="no"/>
        </properties></testcase></testsuite></testsuites>"""
    assert reported(report) == ("6.1", {"a": Cost(7, 32)})


def test_a_report_without_figures_is_an_error() -> None:
    with pytest.raises(ValueError, match="no figures of the verifier"):
        reported("<testsuites/>")


@pytest.mark.parametrize(
    ("depths", "calls", "stack"),
    [
        ([0], [set()], 32),
        ([33], [set()], 64),
        ([40, 100, 8], [{1, 2}, set(), set()], 64 + 128),
        ([40, 32, 300], [{1}, {2}, set()], 64 + 32 + 320),
    ],
)
def test_the_deepest_chain_of_calls_counts(depths: list[int], calls: list[set[int]], stack: int) -> None:
    assert deepest(depths, calls) == stack
