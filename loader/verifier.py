"""What libbpf said when a load failed, turned into the error that the caller can act on.

Rules: libbpf prints the verifier's log between two marks, with the program's name before the first (since 0.3).
The summary is the last line the verifier wrote that is not its statistics.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from loader.errors import LoaderError, VerifierRejected, from_errno

_LOG = re.compile(r"prog '([^']*)': -- BEGIN PROG LOAD LOG --\n(.*?)-- END PROG LOAD LOG --", re.DOTALL)
_STATISTICS = re.compile(r"processed \d+ insns|verification time|stack depth|max_states_per_insn")


def load_error(number: int, path: object, messages: Sequence[str]) -> LoaderError:
    """The error for errno `number` of a load, given libbpf's warnings."""
    found = _LOG.search("".join(messages))
    if found:
        program, log = found.groups()
        return VerifierRejected(program, _summary(log), log)
    error = from_errno(number, f"loading {path}")
    for line in messages:
        error.add_note(line.removeprefix("libbpf: ").rstrip())
    return error


def _summary(log: str) -> str:
    lines = [x.strip() for x in log.splitlines() if x.strip() and not _STATISTICS.match(x)]
    return lines[-1] if lines else "no reason given"
