"""Writes the expected output of every golden test anew: `python tests/regenerate_goldens.py`, then read the diff."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.agent.compile import golden as compile_golden
from tests.routes import golden as routes_golden

for module in (routes_golden, compile_golden):
    for in_path in module.inputs():
        module.out_path(in_path).write_text(module.outcome(module.documents(in_path)))
