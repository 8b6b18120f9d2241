"""The laboratory's network: `client | node | backends`, each a network namespace, joined by veths. (The client and the
node may be joined by something else: `wires`.)

    client eth0 ---------- uplink0 node pod-<backend> ---------- eth0 backend     (routed, as Calico does)
                                   node br0 - pod-<backend> ---- eth0 backend     (bridged, as flannel does)

Decides: names, addresses, routes, offloads. Clients' segment: 10.200.0.0/24 and fd00:200::/64, the node is .1, the
client .2; nobody owns the gateway addresses .10 and .11: whoever answers for them there is the gateway. Backend number
N is 10.201.0.N and fd00:201::N (the same digits).
Rules: everything is named `penstock-<lab>-...`, is swept before the start and at the end, and is guarded by a lock, so
two runs never share a lab; processes of one run of tests, side by side, each have theirs. Nothing in the root namespace
is touched.
Must never: know what a gateway is made of; a lab without one simply forwards.
"""

from __future__ import annotations

import contextlib
import enum
import fcntl
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from types import TracebackType
from typing import Final

from lab.netns import NETNS, Namespace
from lab.process import run
from lab.wires import Veths, Wires

Address = IPv4Address | IPv6Address

FAMILIES: Final = (4, 6)
CLIENT: Final = {4: ip_address("10.200.0.2"), 6: ip_address("fd00:200::2")}
NODE: Final = {4: ip_address("10.200.0.1"), 6: ip_address("fd00:200::1")}
GATEWAY: Final = {4: ip_address("10.200.0.10"), 6: ip_address("fd00:200::10")}
SECOND_GATEWAY: Final = {4: ip_address("10.200.0.11"), 6: ip_address("fd00:200::11")}
UPLINK: Final = "uplink0"
BRIDGE: Final = {4: ip_address("10.201.0.1"), 6: ip_address("fd00:201::1")}

# The next hop that a routed pod sees, as with Calico: an address that nobody has, answered by proxy ARP.
POD_NEXT_HOP: Final = {4: ip_address("169.254.1.1"), 6: ip_address("fe80::ecee:eeff:feee:eeee")}
HOST_END_MAC: Final = "ee:ee:ee:ee:ee:ee"

VETHS: Final = Veths()

OFFLOADS: Final = ("tx", "rx", "tso", "gso", "gro", "sg")

# What pytest-xdist calls the process, as `gw1`; alone it is nothing.
WORKER: Final = os.environ.get("PYTEST_XDIST_WORKER", "")


class LabError(Exception):
    """The laboratory cannot be had; the message says why."""


class LabBusy(LabError):
    """Another run uses the lab of this name right now."""


class NotRoot(LabError):
    """Only root can make network namespaces."""


class Attachment(enum.Enum):
    """How the node reaches its pods."""

    ROUTED = "routed"
    BRIDGED = "bridged"


def backend_addresses(number: int) -> dict[int, Address]:
    """Addresses of backend number `number` (11..99), by family."""
    return {4: ip_address(f"10.201.0.{number}"), 6: ip_address(f"fd00:201::{number}")}


@dataclass(frozen=True, slots=True)
class Shape:
    """What a lab looks like. `backends`: name -> number (see `backend_addresses`).

    `offloads` False: no checksum or segmentation offload on any interface; every packet is whole, as on a plain wire.
    """

    backends: Mapping[str, int] = field(default_factory=dict)
    attachment: Attachment = Attachment.ROUTED
    offloads: bool = True


class Lab:
    """A running network of the given shape; a context manager. `name` keeps labs apart and is at most 8 characters."""

    def __init__(self, name: str, shape: Shape, wires: Wires = VETHS) -> None:
        self.name = name + WORKER
        self.shape = shape
        self.wires = wires
        self.prefix = f"penstock-{self.name}-"
        self.client = Namespace(f"{self.prefix}client")
        self.node = Namespace(f"{self.prefix}node")
        self.backends = {backend: Namespace(f"{self.prefix}{backend}") for backend in shape.backends}
        self.directory = Path(f"/tmp/penstock-lab-{self.name}")
        self.pins = Path(f"/sys/fs/bpf/penstock-lab-{self.name}")
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Lab:
        if os.geteuid() != 0:
            raise NotRoot("the laboratory makes network namespaces, which only root can")
        with contextlib.ExitStack() as stack:
            stack.enter_context(_locked(self.name))
            sweep(self.name)
            stack.callback(sweep, self.name)
            self.directory.mkdir()
            self.pins.mkdir()
            self._build()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stack.close()

    def address(self, backend: str, family: int) -> Address:
        """A backend's own address."""
        return backend_addresses(self.shape.backends[backend])[family]

    def host_end(self, backend: str) -> str:
        """Name of the node's end of a backend's veth (at most 15 characters)."""
        return f"pod-{backend}"[:15]

    # ---- building ----

    def _build(self) -> None:
        for namespace in (self.client, self.node, *self.backends.values()):
            namespace.create()
        self.node.sysctl(
            {
                "net.ipv4.ip_forward": 1,
                "net.ipv6.conf.all.forwarding": 1,
                "net.ipv6.conf.default.forwarding": 1,
                # As systemd sets it on every Debian: loose.
                "net.ipv4.conf.all.rp_filter": 2,
                "net.ipv4.conf.default.rp_filter": 2,
            }
        )
        self._client_segment()
        if self.shape.attachment is Attachment.BRIDGED:
            self.node.ip(
                "link add br0 type bridge forward_delay 0",
                f"addr add {BRIDGE[4]}/24 dev br0",
                f"addr add {BRIDGE[6]}/64 dev br0 nodad",
                "link set br0 up",
            )
        for backend, namespace in self.backends.items():
            if self.shape.attachment is Attachment.ROUTED:
                self._routed_pod(backend, namespace)
            else:
                self._bridged_pod(backend, namespace)
        if not self.shape.offloads:
            self._without_offloads()

    def _client_segment(self) -> None:
        self.wires.join((self.node, UPLINK), (self.client, "eth0"))
        self.node.ip(
            f"link set {UPLINK} up",
            f"addr add {NODE[4]}/24 dev {UPLINK}",
            f"addr add {NODE[6]}/64 dev {UPLINK} nodad",
            # The world is behind the client's segment; a node without a default route would not proxy ARP to its pods.
            f"route add default via {CLIENT[4]}",
            f"route add default via {CLIENT[6]}",
        )
        self.client.ip(
            "link set eth0 up",
            f"addr add {CLIENT[4]}/24 dev eth0",
            f"addr add {CLIENT[6]}/64 dev eth0 nodad",
            f"route add default via {NODE[4]}",
            f"route add default via {NODE[6]}",
        )

    def _routed_pod(self, backend: str, namespace: Namespace) -> None:
        end, address = self.host_end(backend), backend_addresses(self.shape.backends[backend])
        self.node.ip(
            f"link add {end} address {HOST_END_MAC} type veth peer name eth0 netns {namespace.name}",
            f"link set {end} up",
        )
        self.node.sysctl({f"net.ipv4.conf.{end}.proxy_arp": 1, f"net.ipv4.neigh.{end}.proxy_delay": 0})
        namespace.ip(
            "link set eth0 up",
            f"addr add {address[4]}/32 dev eth0",
            f"addr add {address[6]}/128 dev eth0 nodad",
            f"route add {POD_NEXT_HOP[4]} dev eth0 scope link",
            f"route add default via {POD_NEXT_HOP[4]}",
            f"route add default via {POD_NEXT_HOP[6]} dev eth0",
        )
        self.node.ip(f"route add {address[4]} dev {end} scope link", f"route add {address[6]} dev {end}")

    def _bridged_pod(self, backend: str, namespace: Namespace) -> None:
        end, address = self.host_end(backend), backend_addresses(self.shape.backends[backend])
        self.node.ip(
            f"link add {end} type veth peer name eth0 netns {namespace.name}",
            f"link set {end} master br0 up",
        )
        namespace.ip(
            "link set eth0 up",
            f"addr add {address[4]}/24 dev eth0",
            f"addr add {address[6]}/64 dev eth0 nodad",
            f"route add default via {BRIDGE[4]}",
            f"route add default via {BRIDGE[6]}",
        )

    def _without_offloads(self) -> None:
        without_offloads(self.client, "eth0")
        without_offloads(self.node, UPLINK)
        for backend, namespace in self.backends.items():
            without_offloads(namespace, "eth0")
            without_offloads(self.node, self.host_end(backend))


def without_offloads(namespace: Namespace, interface: str) -> None:
    """From now on every packet of the interface is whole, as on a plain wire."""
    namespace.run("ethtool", "-K", interface, *(word for name in OFFLOADS for word in (name, "off")))


@contextlib.contextmanager
def _locked(name: str) -> Iterator[None]:
    with Path(f"/run/lock/penstock-lab-{name}").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LabBusy(f"another run uses the lab {name!r}; only one at a time") from None
        yield


def sweep(name: str) -> None:
    """Remove all that a lab of this name left behind: programs, namespaces, pins, files. The caller holds its lock."""
    for path in sorted(NETNS.glob(f"penstock-{name}-*")):
        Namespace(path.name).delete()
    for directory in (Path(f"/sys/fs/bpf/penstock-lab-{name}"), Path(f"/tmp/penstock-lab-{name}")):
        if directory.exists():
            shutil.rmtree(directory)


def names() -> list[str]:
    """Names of all labs of which there is a trace, running or not."""
    found = {path.name.split("-")[1] for path in NETNS.glob("penstock-*-node")}
    for pattern in ("/sys/fs/bpf", "/tmp"):
        found |= {path.name.removeprefix("penstock-lab-") for path in Path(pattern).glob("penstock-lab-*")}
    return sorted(found)


def sweep_all() -> None:
    """Sweep every lab that nobody uses."""
    for name in names():
        with contextlib.suppress(LabBusy), _locked(name):
            sweep(name)


def features(interface: str, namespace: Namespace) -> dict[str, bool]:
    """Offloads of an interface as ethtool names them: `tx-checksum-ip-generic`, `tcp-segmentation-offload` ..."""
    lines = run("ethtool", "-k", interface, namespace=namespace.path).stdout.splitlines()[1:]
    pairs = (line.strip().split(": ", 1) for line in lines)
    return {name: value.startswith("on") for name, value in pairs}
