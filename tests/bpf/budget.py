"""What the verifier may cost each program, by kernel: budget.toml, and `make budget`, which writes it anew.

`python -m tests.bpf.budget REPORT...` takes over what test_budget.py left in JUnit reports, one kernel each; what the
file says of other kernels stays.

Rules: a kernel is known by its major and minor number. One that the file does not have may cost what the most expensive
of those in it does, since verifiers differ by a factor of two.
"""

from __future__ import annotations

import re
import sys
import tomllib
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from .verified import Cost

FILE = Path(__file__).with_name("budget.toml")
GROWTH = 0.2
"""By how much a figure may be larger than the file's."""
KERNEL, INSTRUCTIONS, STACK = "kernel", "verified_insns ", "stack "
"""What properties in a report begin with; the program's name follows."""
_HEAD = """\
# What the verifier of each kernel walks of each program, and its deepest stack in octets (tests/bpf/verified.py).
# Written by `make budget`; tests/bpf/test_budget.py fails where a figure has grown by more than a fifth.
"""

Budget: TypeAlias = Mapping[str, Mapping[str, Cost]]
"""Kernel ("6.1") -> program -> what it may cost."""


def line(release: str) -> str:
    """The kernel that `uname -r` speaks of: 6.1.0-56-cloud-amd64 is 6.1."""
    found = re.match(r"\d+\.\d+", release)
    assert found is not None, release
    return found[0]


def excesses(kernel: str, found: Mapping[str, Cost], budget: Budget) -> Iterator[str]:
    """What is wrong with the figures `found` on `kernel`: a sentence each."""
    for program, cost in found.items():
        allowed = _allowed(kernel, program, budget)
        if allowed is None:
            yield f"{program} is not in {FILE.name} for {kernel}: make budget"
            continue
        for what, now, was in (
            ("instructions", cost.instructions, allowed.instructions),
            ("octets of stack", cost.stack, allowed.stack),
        ):
            if now > was * (1 + GROWTH):
                yield f"{program} on {kernel}: {now:,} {what}, {was:,} in {FILE.name} ({now / was - 1:+.0%})"


def _allowed(kernel: str, program: str, budget: Budget) -> Cost | None:
    if kernel in budget:
        return budget[kernel].get(program)
    known = [costs[program] for costs in budget.values() if program in costs]
    return Cost(max(x.instructions for x in known), max(x.stack for x in known)) if known else None


def read(text: str) -> Budget:
    """The file's text, understood."""
    return {
        kernel: {program: Cost(**figures) for program, figures in programs.items()}
        for kernel, programs in tomllib.loads(text).items()
    }


def written(budget: Budget) -> str:
    """The file's text."""
    lines = [_HEAD]
    for kernel in sorted(budget, key=lambda x: [int(number) for number in x.split(".")]):
        lines.append(f'["{kernel}"]\n')
        for program, cost in sorted(budget[kernel].items()):
            lines.append(f"{program} = {{ instructions = {cost.instructions}, stack = {cost.stack} }}\n")
        lines.append("\n")
    return "".join(lines).rstrip("\n") + "\n"


def reported(report: str) -> tuple[str, Mapping[str, Cost]]:
    """Kernel and figures that are in a JUnit report. Raises ValueError if there are none."""
    said = {item.get("name", ""): item.get("value", "") for item in ET.fromstring(report).iter("property")}
    programs = [name.removeprefix(INSTRUCTIONS) for name in said if name.startswith(INSTRUCTIONS)]
    if not programs or KERNEL not in said:
        raise ValueError("no figures of the verifier in that report: did tests/bpf/test_budget.py load the programs?")
    return line(said[KERNEL]), {x: Cost(int(said[INSTRUCTIONS + x]), int(said[STACK + x])) for x in programs}


def main(reports: Sequence[str]) -> None:
    """Write what the reports say into the file."""
    budget = dict(read(FILE.read_text()) if FILE.exists() else {})
    budget.update(reported(Path(report).read_text()) for report in reports)
    FILE.write_text(written(budget))
    print(f"{FILE}: {', '.join(budget)}")


if __name__ == "__main__":
    main(sys.argv[1:])
