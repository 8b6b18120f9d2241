"""The agent's files in its run folder: what they are called, and how all of them go.

Decides: the names. Rules: what a file holds is its module's business (dataplane/lock.py, dataplane/memory.py,
report.py, sources/last_good.py). Must never: touch a file of another name, for the folder may be shared.
"""

from __future__ import annotations

import shutil
from pathlib import Path

LOCK = "agent.lock"
MEMORY = "dataplane.json"
JOURNAL = "dataplane.journal"
REPORT = "report.json"
LAST_GOOD = "last-good"


def clear(run_dir: Path) -> None:
    """Remove everything but the lock, which its holder discards. Raises OSError."""
    for name in (MEMORY, JOURNAL, REPORT):
        (run_dir / name).unlink(missing_ok=True)
    if (run_dir / LAST_GOOD).exists():
        shutil.rmtree(run_dir / LAST_GOOD)
