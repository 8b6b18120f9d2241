"""States that follow each other and the maps of each: goldens/NAME.in.yaml against NAME.out.yaml.

`python tests/regenerate_goldens.py` writes the outputs anew; the diff is then to be read.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.agent.compile.golden import documents, inputs, out_path, outcome


@pytest.mark.parametrize("in_path", inputs(), ids=lambda path: path.name.removesuffix(".in.yaml"))
def test_steps_come_to(in_path: Path) -> None:
    assert outcome(documents(in_path)) == out_path(in_path).read_text()
