"""Every option of the command line is in docs/operations.md, and the table of those of `run` says what is so."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import click
import pytest

from agent.cli.main import main
from agent.cli.run import run
from agent.settings import LIMIT_BOUNDS, OTHER_BOUNDS, TABLE_BOUNDS, Settings, option

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "operations.md").read_text()
ROWS = {
    x[1].strip("`"): (x[2], x[3])
    for x in (list(map(str.strip, line.split("|"))) for line in TEXT.splitlines())
    if len(x) == 6 and x[1].startswith("`--")
}


def options() -> Iterator[tuple[str, str]]:
    context = click.Context(main)
    for name in main.list_commands(context):
        command = main.get_command(context, name)
        assert command is not None
        for parameter in command.params:
            yield from ((name, x) for x in parameter.opts if x.startswith("--"))


@pytest.mark.parametrize("word", ROWS)
def test_the_environment_has_an_option_by_its_name(monkeypatch: pytest.MonkeyPatch, word: str) -> None:
    of_all = word in ("--pin-dir", "--run-dir", "--object-dir")
    name = ("PENSTOCK_" if of_all else "PENSTOCK_RUN_") + word.removeprefix("--").upper().replace("-", "_")
    monkeypatch.setenv(name, "one two")
    (parameter,) = (x for x in run.params if word in x.opts)
    context = click.Context(run, info_name="run", parent=click.Context(main, **main.context_settings))
    several = isinstance(parameter, click.Option) and parameter.multiple
    assert parameter.value_from_envvar(context) == (["one", "two"] if several else "one two")


@pytest.mark.parametrize(("command", "word"), list(options()))
def test_an_option_is_documented(command: str, word: str) -> None:
    if command == "run":
        assert word in ROWS
    else:
        assert re.search(rf"{word}(?![\w-])", TEXT)


def test_no_other_is() -> None:
    assert ROWS.keys() == {word for command, word in options() if command == "run"}


def test_numbers_are_those_of_the_settings() -> None:
    settings = Settings()
    defaults = {**asdict(settings.tables), **{f"limit_{k}": v for k, v in asdict(settings.limits).items()}}
    bounds = {**TABLE_BOUNDS, **{f"limit_{k}": v for k, v in LIMIT_BOUNDS.items()}, **OTHER_BOUNDS}
    assert {x: ROWS[option(x)] for x in bounds} == {
        x: (f"{defaults.get(x, getattr(settings, x, None)):,}", f"{low:,} to {high:,}")
        for x, (low, high) in bounds.items()
    }
