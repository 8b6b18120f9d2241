"""docs/kernels.md: what was seen on which kernel, as one table. Pure: outcomes in, text out.

Rules: what failed is named; a kernel without a verdict, or on which Penstock does not start, has its column too, and
says why.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import PurePath

from .matrix import Outcome
from .result import Counts

FEATURE = "feature "
"""Before a feature's name, in the properties that tests leave (tests/loader/test_features.py)."""
INSTRUCTIONS = "verified_insns "
"""Before a program's (tests/bpf/test_budget.py)."""
AREAS: Mapping[str, str] = {
    "vm-tests/smoke": "the kernel is the one, the tracer",
    "tests/bpf": "packet tables: single packets through the programs",
    "tests/loader": "loader: maps, programs, hooks, upgrades of layouts",
    "tests/net": "end to end: clients, servers, an agent that is killed",
    "vm-tests/nic": "XDP in the driver of network cards with several queues",
}
"""Folder of tests -> what they are about."""
_SHOWN_FAILURES = 40


def text(outcomes: Sequence[Outcome], features: Mapping[str, str], minimum: str) -> str:
    """The page. `features`: name -> the version of the kernel from which on it must be there; `minimum`: the oldest
    kernel that is supported.
    """
    lines = [
        "# Kernels",
        "",
        "Written by `make vm-test`; do not edit.",
        "",
        "Each kernel ran in a virtual machine of its own, with the same test files as `make test`.",
        "",
        f"**{minimum} is the oldest kernel that is supported.** {_seen_on(minimum, outcomes)}",
        "What an older one lacks `penstock run` says; where the programs could not be loaded it does not start.",
        "",
        *_table(outcomes, features),
        "",
        "*since*: the mainline version that a feature came with. It must be there from then on, or the run fails;",
        "before, a distribution may have it too. Kernels without `tcx` have the programs on clsact; without `batch`",
        "tables are read entry by entry; without `test_run_checksum` packet tables run with one state of the",
        "checksum, not two. —: nothing of that kind ran there, or none of it came so far. Each part of the tests is",
        "of the day when it last ran there: `vm-tests/seen` has them one by one, and the head of `vm-tests/vm.mk` says",
        "what they are.",
        *_failures(outcomes),
    ]
    return "\n".join(lines) + "\n"


def _seen_on(kernel: str, outcomes: Sequence[Outcome]) -> str:
    for outcome in outcomes:
        if outcome.label == kernel and outcome.result:
            held = "holds there" if outcome.good else "is not what was seen there"
            return f"That {held}: {outcome.verdict}."
    return "It was not tried here."


def _table(outcomes: Sequence[Outcome], features: Mapping[str, str]) -> Iterator[str]:
    yield _row("", "since", (outcome.label for outcome in outcomes))
    yield _row("---", "---", ("---" for _ in outcomes))
    yield _row("kernel", "", (outcome.result.release if outcome.result else "—" for outcome in outcomes))
    yield _row("tried on", "", (outcome.result.day if outcome.result else "—" for outcome in outcomes))
    yield _row("at commit", "", (outcome.result.commit or "—" if outcome.result else "—" for outcome in outcomes))
    yield _row("**all tests**", "", (_verdict(outcome) for outcome in outcomes))
    for folder, about in AREAS.items():
        yield _row(about, "", (_tally(outcome, folder) for outcome in outcomes))
    for name, since in features.items():
        yield _row(f"`{name}`", since, (_property(outcome, FEATURE + name) for outcome in outcomes))
    for program in _programs(outcomes):
        about = f"`{program}`, instructions that the verifier walks"
        yield _row(about, "", (_number(_property(outcome, INSTRUCTIONS + program)) for outcome in outcomes))


def _row(about: str, since: str, cells: Iterable[str]) -> str:
    return f"| {' | '.join([about, since, *cells])} |"


def _verdict(outcome: Outcome) -> str:
    is_short = outcome.result and not outcome.result.refusal and not outcome.trouble
    return f"**{outcome.verdict if is_short else outcome.verdict.partition(':')[0]}**"


def _property(outcome: Outcome, name: str) -> str:
    return outcome.result.properties.get(name, "—") if outcome.result else "—"


def _number(shown: str) -> str:
    return f"{int(shown):,}" if shown.isdecimal() else shown


def _tally(outcome: Outcome, folder: str) -> str:
    found = _within(outcome, folder)
    if not found:
        return "—"
    passed, failed = sum(x.passed for x in found), sum(x.failed for x in found)
    return f"{passed} passed, **{failed} failed**" if failed else f"{passed} passed"


def _within(outcome: Outcome, folder: str) -> list[Counts]:
    files = outcome.result.files if outcome.result else {}
    return [counts for path, counts in files.items() if PurePath(path).is_relative_to(folder)]


def _programs(outcomes: Sequence[Outcome]) -> list[str]:
    names = [name for x in outcomes if x.result for name in x.result.properties if name.startswith(INSTRUCTIONS)]
    return list(dict.fromkeys(name.removeprefix(INSTRUCTIONS) for name in names))


def _failures(outcomes: Sequence[Outcome]) -> Iterator[str]:
    for outcome in outcomes:
        failed = outcome.result.failures if outcome.result else ()
        if outcome.good:
            continue
        if outcome.result and outcome.result.refusal:
            yield from ("", f"## Refused on {outcome.label}", "", f"`penstock run` says: {outcome.result.refusal}.")
            continue
        yield from ("", f"## Failed on {outcome.label}", "")
        if outcome.trouble:
            yield from ("```", *outcome.trouble.splitlines(), "```")
        yield from (f"- `{name}`" for name in failed[:_SHOWN_FAILURES])
        if len(failed) > _SHOWN_FAILURES:
            yield f"- and {len(failed) - _SHOWN_FAILURES} more"
