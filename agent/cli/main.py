"""The command `penstock`.

Decides: which commands there are. Rules: exit codes are in exits.py; a command's module is loaded when it is called, so
that `penstock check` needs neither libbpf nor root. Must never: show a traceback for something that a user can do or
repair.
"""

from __future__ import annotations

import importlib
from typing import Any

import click

from agent.cli.environment import variable
from agent.cli.exits import Exit

_COMMANDS = ("run", "status", "check", "flows", "top", "trace", "explain", "down")


class _Lazy(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = getattr(importlib.import_module(f"agent.cli.{cmd_name}"), cmd_name)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except click.BadParameter as error:
            if error.ctx is not None and error.param is not None and (name := variable(error.ctx, error.param)):
                said = f"{error.message} (from the environment: {name})"
                raise click.BadParameter(said, error.ctx, error.param, error.param_hint) from None
            raise
        except KeyboardInterrupt:  # click says "Aborted!" and 1, which is an answer to another question
            raise click.exceptions.Exit(Exit.INTERRUPTED) from None


@click.group(
    cls=_Lazy,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "max_content_width": 120,
        "auto_envvar_prefix": "PENSTOCK",
    },
)
@click.version_option(package_name="penstock")
def main() -> None:
    """An eBPF L4 gateway for Kubernetes: TCPRoute and UDPRoute, split by weight in the kernel.

    Exit codes: 0 done, 1 errors in the manifests (check) or the node is not ready (status), 2 wrong command line, 3 the
    node lacks something, 4 nothing is installed on this node, 5 another agent or program is in the way, or tables that
    cannot be taken over or read, 6 the kernel or the file system refused, 130 interrupted (Ctrl-C).
    """
