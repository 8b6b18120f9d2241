"""Text is shown as it is."""

from __future__ import annotations

import pytest

from agent.cli.screen import console
from agent.cli.table import titled


@pytest.mark.parametrize("text", ["[fd00:200::10]:80", "[/]", "[red]", "a [b] c"])
def test_brackets_are_no_markup(capsys: pytest.CaptureFixture[str], text: str) -> None:
    table = titled("Flows")
    table.add_column("client")
    table.add_row(text)
    console().print(table)
    assert text in capsys.readouterr().out


def test_in_a_pipe_lines_are_as_wide_as_their_words(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    table = titled("Flows")
    table.add_column("client", overflow="fold")
    table.add_row("a" * 500)
    console().print(table)
    assert "a" * 500 in capsys.readouterr().out
