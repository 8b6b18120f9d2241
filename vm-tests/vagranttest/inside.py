"""The trial, in the cell: `python -m vagranttest.inside SCRATCH CHECKOUT BOX`. Exit code as vagranttest's.

Rules: machines come up by `vagrant up` as a user types it; the client asks, both gateways say what they counted; then
`vagrant destroy -f`, after which libvirt has nothing left but the box's own volume.
"""

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from vmtest import machine
from vmtest.errors import VmError
from vmtest.progress import Lane, shown

from . import cell, judge, programs
from .follow import Follower
from .programs import Vagrant

MACHINES = ("backend1", "backend2", "gw1", "gw2", "client")
GATEWAYS = ("gw1", "gw2")
QUESTIONS = 40
"""Of each family, on top of those that `vagrant up` asks."""
UP_SECONDS = 2400.0
"""On two busy processors it took ten minutes."""
ASK_SECONDS = 300.0


def main(arguments: Sequence[str]) -> int:
    """The command line; returns the exit code."""
    scratch, checkout, box = map(Path, arguments)
    consoles, kept = scratch / "consoles", kept_in(checkout)
    consoles.mkdir()
    try:
        cell.furnish(scratch)
        settings = {"PENSTOCK_VM_CONSOLES": str(consoles)}
        vagrant = Vagrant(checkout, scratch, settings)
        with programs.libvirt(scratch / "libvirtd.log"):
            vagrant.run("box", "add", "--name", programs.BOX, str(box), seconds=300)
            complaints = _try(vagrant, consoles, scratch / "vagrant.log")
    except VmError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    finally:
        for leaving in (scratch / "vagrant.log", scratch / "libvirtd.log", *consoles.iterdir()):
            if leaving.exists():
                shutil.copy(leaving, kept)
    for complaint in complaints:
        print(f"wrong: {complaint}")
    if complaints:
        return 1
    print("Both backends answered by both families, and the gateways counted what the client got.")
    return 0


def kept_in(checkout: Path) -> Path:
    """Where the logs of the last run are."""
    return checkout / "build" / "vm" / "vagrant"


def _try(vagrant: Vagrant, consoles: Path, log: Path) -> list[str]:
    with log.open("w") as opened:
        lanes = {name: Lane(name) for name in MACHINES}
        follower = Follower(lanes, opened)
        try:
            with shown(list(lanes.values()), Console()):
                vagrant.follow("up", "--no-color", "--no-tty", follower=follower, seconds=UP_SECONDS)
                lanes[follower.last].finish("up")
        except VmError as error:
            raise VmError(f"{error}{machine.tail(consoles / f'{follower.last}.log')}") from error
    asked = vagrant.ask("client", f"sh /vagrant/vm-tests/vagrant/ask.sh {QUESTIONS}", seconds=ASK_SECONDS)
    print(asked, end="")
    counted = {}
    for name in GATEWAYS:
        counted[name] = judge.connections(vagrant.ask(name, "sudo penstock status -o json", seconds=ASK_SECONDS))
        print(f"{name} counted: {', '.join(f'{backend} {count}' for backend, count in counted[name].items())}")
    complaints = judge.wrong(follower.text, asked, counted)
    vagrant.run("destroy", "--force", seconds=ASK_SECONDS)
    return complaints + _leftovers()


def _leftovers() -> list[str]:
    found = [f"domain {name}" for name in programs.virsh("list", "--all", "--name")]
    volumes = [line.split()[0] for line in programs.virsh("vol-list", "default")]
    found += [f"volume {name}" for name in volumes if not name.startswith(programs.BOX)]
    found += [f"network {name}" for name in programs.virsh("net-list", "--all", "--name") if name != "vagrant-libvirt"]
    return [f"`vagrant destroy` left {thing}" for thing in found]


if __name__ == "__main__":
    sys.exit(cell.as_first_process(lambda: main(sys.argv[1:])))
