"""A node that is a machine: its NICs are taps, bridged to where the namespace of the node had its interfaces.

Rules:
  - QEMU runs in that namespace, which forwards nothing and has no address: it is two wires and nothing else.
  - A NIC has as many queues as one wants (a native XDP program takes one more for each processor).
  - What is started here ends here: as a machine does that loses power.
Must never: touch the host's own network.
"""

import contextlib
import json
import os
import signal
import sys
import threading
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from vmtest import accelerator, cables, checkout, debian, environment, host, initramfs, machine, rootfs
from vmtest.cache import Cache, default_folder
from vmtest.errors import VmError
from vmtest.machine import Machine

from lab.topology import NODE, Lab
from lab.wait import SLOWNESS, until
from nodes.world import STATUS_PORT, UPLINKS, mac

SECONDS = 3600
"""After which a machine is killed, whatever becomes of its test."""


class Image:
    """What every node is started from: a kernel, Debian, this checkout."""

    def __init__(self, root: Path, kernel: str, folder: Path) -> None:
        host.require_tools()
        host.require_taps()
        cache = Cache(default_folder(), print)
        with cache.locked():
            self.kernel = debian.fetch(kernel, cache)
            guest_root = rootfs.build(cache, environment.borrowed_packages())
            self.runner = accelerator.choose(self.kernel, cache, print)
        self.root, self.folder = root, folder
        checkout.write_image(folder / "checkout.squashfs", root)
        self.disks = {
            "root": guest_root,
            "modules": self.kernel.modules_disk,
            "checkout": folder / "checkout.squashfs",
        }

    def machine(self, node: int, queues: int) -> Machine:
        """The node's."""
        archive = self.folder / f"initramfs-{node}"
        job = ["env", "PYTHONUNBUFFERED=1", f"PYTHONPATH={self.root}:{self.root / 'vm-tests'}"]
        job += [f"PENSTOCK_LAB_SLOWNESS={SLOWNESS}", sys.executable, "-m", "nodes.guest", str(node)]
        initramfs.write(archive, self.kernel, job, checkout=self.root, seconds=SECONDS)
        cards = [cables.card(number, mac(node, number), queues) for number in range(len(UPLINKS))]
        devices = [word for card in cards for word in card]
        return Machine(self.kernel.image, archive, self.disks, accelerator=self.runner, devices=devices)


class Node:
    """A running one, in place of a lab's node."""

    def __init__(self, lab: Lab, guest: Machine, folder: Path) -> None:
        self.lab = lab
        self._folder = folder
        self._trouble = ""
        self._thread = threading.Thread(target=self._run, args=(guest,))
        self._thread.start()

    def _run(self, guest: Machine) -> None:
        with self.lab.node.inside(), (self._folder / "output.log").open("wb") as output:
            try:
                machine.run(guest, self._folder, output, seconds=SECONDS)
            except VmError as error:
                self._trouble = str(error)

    def status(self) -> Mapping[str, Any]:
        """What its agent says of itself. Raises OSError when it says nothing."""
        url = f"http://{NODE[4]}:{STATUS_PORT}/status"
        with self.lab.client.inside(), urllib.request.urlopen(url, timeout=10 * SLOWNESS) as answer:
            return dict(json.load(answer))

    def until_ready(self) -> None:
        """Wait until it serves."""

        def ready() -> bool:
            assert self._thread.is_alive(), f"the machine has ended: {self._trouble}\n{self.output()}"
            with contextlib.suppress(OSError):
                return bool(self.status()["ready"])
            return False

        until(ready, "the node is ready", every=1, seen=self.output)

    def output(self) -> str:
        """The end of what its job and its kernel wrote."""
        written = (self._folder / "output.log").read_text(errors="replace")[-4000:]
        return written + machine.tail(self._folder / "console.log")

    def connections(self) -> int:
        """That it has given to backends."""
        listeners = self.status()["traffic"]["listeners"]
        return sum(backend["connections"] for listener in listeners for backend in listener["backends"])

    def lose_power(self) -> None:
        """From one instruction to the next."""
        for pid in self.lab.node.pids():  # QEMU is all that runs there
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._thread.join()


def _wire(lab: Lab, queues: int) -> None:
    """The namespace of the node becomes two wires, from its interfaces to taps."""
    lab.node.sysctl({"net.ipv4.ip_forward": 0, "net.ipv6.conf.all.disable_ipv6": 1})
    for number, uplink in enumerate(UPLINKS):
        tap, bridge = f"tap{number}", f"br{number}"
        lab.node.run("ip", "tuntap", "add", tap, "mode", "tap", *(("multi_queue",) if queues > 1 else ()))
        lab.node.ip(
            f"addr flush dev {uplink}",
            f"link add {bridge} type bridge forward_delay 0",
            f"link set {bridge} up",
            *(f"link set {x} master {bridge} up" for x in (uplink, tap)),
        )


@contextlib.contextmanager
def started(image: Image, labs: Mapping[int, Lab], *, queues: int = 1) -> Iterator[dict[int, Node]]:
    """A machine in place of each lab's node, by number; all of them serve."""
    with contextlib.ExitStack() as stack:
        nodes = {}
        for number, lab in labs.items():
            _wire(lab, queues)
            folder = image.folder / f"node-{number}"
            folder.mkdir()
            nodes[number] = Node(lab, image.machine(number, queues), folder)
            stack.callback(nodes[number].lose_power)
        for node in nodes.values():
            node.until_ready()
        yield nodes
