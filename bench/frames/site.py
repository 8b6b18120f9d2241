"""A lab for frames: client, node and the far end, a machine behind the node's second NIC or a pod; one for each way.

Decides: what stands at both ends. At the client's interface frames go into the wire; at the far end a program counts
them and ends them: in the driver (XDP) at a machine's, where a NIC would take them off the node's hands; behind the
driver (TC) at a pod's, since what is put straight into a pod does not pass its driver.
A sample is how many came, and the CPU time of this process and of ksoftirqd while they went, on the one CPU where
everything is.
Rules: no offloads, every frame is a packet. Only where frames meet a driver there is GRO, since a veth without it has
no NAPI, and takes no frames but from sockets. A real server stands at the far end too: flows are opened with it.
"""

from __future__ import annotations

import contextlib
import enum
import json
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

from bench import cpu_time
from bench.frames.shot import frame_of, inject
from bench.site import BUILD
from lab.netns import Namespace
from lab.servers.witness import PORT, witness_in
from lab.topology import FAMILIES, UPLINK, Address, Lab, Shape, backend_addresses, without_offloads
from lab.traffic.ask import ask, associate, connect
from loader.attach import Direction, attach
from loader.libbpf import bpf, ffi
from loader.objects import Object
from loader.program import Program
from loader.spec import ObjectSpec

SECOND_UPLINK: Final = "uplink1"
NUMBER: Final = 50
"""The far end's, as a backend's."""
FAR: Final = backend_addresses(NUMBER)
OPEN: Final[Mapping[str, Callable[[Namespace, Address, int], socket.socket]]] = {"TCP": connect, "UDP": associate}
_SETTLES: Final = 0.005  # seconds in which what is still under way has come
_POD: Final = "far"
_NODE: Final = {4: ip_address("10.203.0.1"), 6: ip_address("fd00:203::1")}
_LINK_CREATE, _XDP, _DRIVER = 28, 37, 1 << 2  # linux/bpf.h: BPF_LINK_CREATE, BPF_XDP; if_link.h: XDP_FLAGS_DRV_MODE


class Where(enum.Enum):
    """What the far end is."""

    MACHINE = "a machine behind another NIC"
    POD = "a pod on the node"


@dataclass(frozen=True, slots=True)
class Link:
    """An interface, by what programs are told of it."""

    ifindex: int
    mac: str

    @property
    def number(self) -> int:
        """The number whose first six octets in memory are the MAC."""
        return int.from_bytes(bytes.fromhex(self.mac.replace(":", "")), "little")


def link(namespace: Namespace, interface: str) -> Link:
    """The interface of that name."""
    found = json.loads(namespace.run("ip", "-json", "link", "show", "dev", interface).stdout)[0]
    return Link(int(found["ifindex"]), str(found["address"]))


class Site:
    """A context manager: the lab, its far end, and the programs at both ends."""

    def __init__(self, name: str, where: Where) -> None:
        pods = {_POD: NUMBER} if where is Where.POD else {}
        self.where = where
        self.lab = Lab(name, Shape(backends=pods, offloads=False))
        self.stack = ExitStack()
        """What a way starts in the lab is ended with it."""

    def __enter__(self) -> Site:
        with ExitStack() as stack:
            stack.enter_context(self.lab)
            self.stack = stack
            self._build()
            self.stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self.stack.close()

    def _build(self) -> None:
        lab = self.lab
        self.far = lab.backends[_POD] if self.where is Where.POD else self._machine()
        self.way_out = lab.host_end(_POD) if self.where is Where.POD else SECOND_UPLINK
        for namespace, interface in ((lab.node, UPLINK), (lab.client, "eth0")):
            namespace.run("ethtool", "-K", interface, "gro", "on")
        self.stack.enter_context(witness_in(lab, self.far, "far", FAR.values(), PORT))
        end, out = link(self.far, "eth0"), link(lab.node, self.way_out)
        self.uplink, self.client = link(lab.node, UPLINK), link(lab.client, "eth0")
        rodata = {"out_ifindex": out.ifindex, "dmac": end.number, "smac": out.number}
        spec = ObjectSpec(BUILD / "frames.bpf.o", rodata=rodata)
        self.programs = self.stack.enter_context(Object.load(spec, lab.pins))
        if self.where is Where.POD:
            self.hook_tc("count_tc", self.far, end)
        else:
            self.hook_xdp("count_xdp", self.far, end)

    def _machine(self) -> Namespace:
        machine = Namespace(f"{self.lab.prefix}far")
        machine.create()
        self.stack.callback(machine.delete)
        self.lab.node.ip(
            f"link add {SECOND_UPLINK} type veth peer name eth0 netns {machine.name}",
            f"link set {SECOND_UPLINK} up",
            f"addr add {_NODE[4]}/24 dev {SECOND_UPLINK}",
            f"addr add {_NODE[6]}/64 dev {SECOND_UPLINK} nodad",
            f"route add {FAR[4]} dev {SECOND_UPLINK} scope link",
            f"route add {FAR[6]} dev {SECOND_UPLINK}",
        )
        machine.ip(
            "link set eth0 up",
            f"addr add {FAR[4]}/32 dev eth0",
            f"addr add {FAR[6]}/128 dev eth0 nodad",
            *(f"route add {_NODE[family]} dev eth0" for family in FAMILIES),
            *(f"route add default via {_NODE[family]} dev eth0" for family in FAMILIES),
        )
        without_offloads(self.lab.node, SECOND_UPLINK)
        without_offloads(machine, "eth0")
        return machine

    def hook_xdp(self, program: str, namespace: Namespace, interface: Link) -> None:
        """Have one of our programs in the driver of that interface, until the end."""
        with namespace.inside():
            self.stack.callback(os.close, _xdp_link(self.programs.program(program), interface.ifindex))

    def hook_tc(self, program: str, namespace: Namespace, interface: Link) -> None:
        """The same at TC ingress."""
        with namespace.inside():
            attach(self.programs.program(program), interface.ifindex, Direction.INGRESS, self.lab.pins)

    def arrived(self) -> int:
        """Frames that were counted at the far end since the beginning."""
        return int(sum(self.programs.map("arrived").get(0)))

    @contextlib.contextmanager
    def flow(self, protocol: str, address: Address, port: int) -> Iterator[Flow]:
        """A flow that the client opens with the far end and keeps."""
        with OPEN[protocol](self.lab.client, address, port) as endpoint:
            yield Flow(self, endpoint)


@dataclass(frozen=True, slots=True)
class Sample:
    """Frames that were sent and that came, and the seconds of CPU time that it took."""

    sent: int
    arrived: int
    cpu: float


@dataclass(frozen=True, slots=True)
class Flow:
    """A flow, by the client's socket."""

    site: Site
    endpoint: socket.socket

    def sample(self, frames: int, cpu: int) -> Sample:
        """Ask and be answered, so that it is a live flow of two ends; then so many frames of it."""
        site, pids = self.site, (os.getpid(), cpu_time.ksoftirqd(cpu))
        ask(self.endpoint)
        frame = frame_of(self.endpoint, site.client.mac, site.uplink.mac)
        template = {"words": [int.from_bytes(frame[i : i + 8], "little") for i in range(0, len(frame), 8)]}
        site.programs.map("template").set(0, template)
        before = site.arrived()
        with site.lab.client.inside():
            began = cpu_time.of_processes(pids)
            inject(site.programs.program("shoot"), frame, site.client.ifindex, frames)
            if site.arrived() - before < frames:
                time.sleep(_SETTLES)
            used = cpu_time.of_processes(pids) - began
        return Sample(frames, site.arrived() - before, used)


def _xdp_link(program: Program, ifindex: int) -> int:
    """A link, as a descriptor: it lasts as long as that is open."""
    attr = ffi.new(
        "struct tcx_link_create *",
        {"prog_fd": program.fd, "target_ifindex": ifindex, "attach_type": _XDP, "flags": _DRIVER},
    )
    return bpf(_LINK_CREATE, attr, f"attaching {program.name} in the driver of interface {ifindex}")
