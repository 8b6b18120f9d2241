"""The table of exit statuses in docs/operations.md has those that there are, and no other."""

from __future__ import annotations

import re
from pathlib import Path

from agent.cli.exits import Exit

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "operations.md").read_text()


def test_each_status_has_its_row() -> None:
    _, _, section = TEXT.partition("\n## Exit status\n")
    table, _, _ = section.partition("\n## ")
    assert [int(x) for x in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)] == sorted(Exit)
