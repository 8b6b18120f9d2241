"""Errors of the data plane as errors for the user, with the exit code that each has."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from agent.cli.exits import Busy, CliError, Failed, NotThere, Unfit
from agent.dataplane.errors import (
    AlreadyRunning,
    DataplaneError,
    HookOfAnother,
    NodeUnfit,
    NotInstalled,
    PinsOfAnother,
    SlotTaken,
    TablesOfAnother,
)

_KINDS: tuple[tuple[tuple[type[Exception], ...], type[CliError]], ...] = (
    ((NodeUnfit,), Unfit),
    ((AlreadyRunning, PinsOfAnother, TablesOfAnother, HookOfAnother, SlotTaken), Busy),
    ((NotInstalled,), NotThere),
    ((DataplaneError, OSError), Failed),
)


@contextlib.contextmanager
def as_cli_errors() -> Iterator[None]:
    """Turn what the data plane raises into one line per fault and an exit code; anything else is a defect."""
    try:
        yield
    except BrokenPipeError:
        raise  # click's: who reads has enough, and that is no error
    except tuple(x for types, _ in _KINDS for x in types) as error:
        raise _of(error) from None


def _of(error: Exception) -> CliError:
    text = "\n".join(error.faults) if isinstance(error, NodeUnfit) else str(error)
    return next(kind for types, kind in _KINDS if isinstance(error, types))(text)
