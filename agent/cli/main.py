"""The command `penstock`.

Exit codes are in exits.py. Must never: show a traceback for something a user can do or repair.
"""

from __future__ import annotations

import click

from agent.cli.check import check


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(package_name="penstock")
def main() -> None:
    """An eBPF L4 gateway for Kubernetes: TCPRoute and UDPRoute, split by weight in the kernel.

    Exit codes: 0 done, 1 findings, 2 wrong command line, 3 the node lacks something, 4 nothing is installed on this
    node, 5 another agent or program is in the way, 6 the kernel or the file system refused.
    """


main.add_command(check)
