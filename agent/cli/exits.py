"""Exit codes of `penstock`, and how an error reaches the user: one line, no traceback.

The codes are part of the interface (docs, scripts): they never change their meaning.
"""

from __future__ import annotations

import enum
from typing import IO, Any

import click


class Exit(enum.IntEnum):
    """0 = done. 2 is click's own, for a wrong command line."""

    OK = 0
    FINDINGS = 1  # check: the manifests have errors; status: the node is not ready
    USAGE = 2
    UNFIT = 3  # the node lacks something: root, bpffs, a kernel feature, an interface, the agent's network namespace
    NOT_INSTALLED = 4  # nothing of ours is on this node, or not where we were told to look
    BUSY = 5  # in the way: another agent or trace, somebody else's program, tables of another version or too small
    FAILED = 6  # the kernel or the file system refused
    INTERRUPTED = 130  # 128 + SIGINT, as shells have it; a watch that has shown something is done then, which is 0


class CliError(click.ClickException):
    """An error for the user: what is wrong and, where known, what to do. Each line of the message is printed."""

    exit_code = int(Exit.FINDINGS)

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the lines to stderr (or `file`)."""
        for line in self.format_message().splitlines():
            click.echo(f"error: {line}", file=file, err=file is None)


class Unfit(CliError):
    """The node lacks something."""

    exit_code = int(Exit.UNFIT)


class NotThere(CliError):
    """Nothing of ours is on this node."""

    exit_code = int(Exit.NOT_INSTALLED)


class Busy(CliError):
    """Somebody, or what somebody left in the kernel, is in the way."""

    exit_code = int(Exit.BUSY)


class Failed(CliError):
    """The kernel or the file system refused."""

    exit_code = int(Exit.FAILED)
