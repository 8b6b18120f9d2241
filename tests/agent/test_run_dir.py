"""What `clear` takes away, and what it leaves."""

from __future__ import annotations

from pathlib import Path

from agent.run_dir import LAST_GOOD, LOCK, MEMORY, REPORT, clear


def test_the_agents_files_go_and_others_stay(tmp_path: Path) -> None:
    (tmp_path / LAST_GOOD / "0123456789abcdef").mkdir(parents=True)
    for name in (LOCK, MEMORY, REPORT, "notes", f"{LAST_GOOD}/0123456789abcdef/web.yaml"):
        (tmp_path / name).write_text("x")
    for _ in range(2):
        clear(tmp_path)
        assert sorted(x.name for x in tmp_path.iterdir()) == [LOCK, "notes"]
