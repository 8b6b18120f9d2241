"""Options that several commands share, and the command line's way to Settings.

Decides: how a setting is spelled: `--limit-udp` for `limits.udp`, `--tcp-flows` for `tables.tcp_flows`. Rules: defaults
are those of agent/settings.py, named once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

from agent.settings import IdleLimits, Settings, TableSizes

_F = TypeVar("_F", bound=Callable[..., Any])

_DEFAULT = Settings()

LIMIT_PREFIX = "limit_"


def places(command: _F) -> _F:
    """--pin-dir, --run-dir and --object-dir."""
    for name, default, text in reversed(
        (
            ("pin-dir", _DEFAULT.pin_dir, "Where the tables are pinned."),
            ("run-dir", _DEFAULT.run_dir, "Lock, report, last good manifests."),
            ("object-dir", _DEFAULT.object_dir, "Where the BPF object files are."),
        )
    ):
        command = click.option(
            f"--{name}",
            type=click.Path(path_type=Path, resolve_path=True),
            default=default,
            show_default=True,
            envvar=f"PENSTOCK_{name}".upper().replace("-", "_"),
            help=text,
        )(command)
    return command


def sizes_and_limits(command: _F) -> _F:
    """One option for each field of TableSizes and IdleLimits."""
    for limit in reversed(dataclasses.fields(IdleLimits)):
        command = click.option(
            f"--{LIMIT_PREFIX}{limit.name}".replace("_", "-"),
            type=int,
            default=limit.default,
            show_default=True,
            help="Seconds without a packet.",
        )(command)
    for size in reversed(dataclasses.fields(TableSizes)):
        command = click.option(
            f"--{size.name}".replace("_", "-"),
            type=int,
            default=size.default,
            show_default=True,
            help="Room.",
        )(command)
    return command


def tables_of(values: Mapping[str, Any]) -> TableSizes:
    """The sizes among the command line's values."""
    return TableSizes(**{x.name: values[x.name] for x in dataclasses.fields(TableSizes)})


def limits_of(values: Mapping[str, Any]) -> IdleLimits:
    """The limits among the command line's values."""
    return IdleLimits(**{x.name: values[LIMIT_PREFIX + x.name] for x in dataclasses.fields(IdleLimits)})
