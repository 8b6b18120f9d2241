"""A node to run the programs in: a namespace with a real uplink, the gateway's own interface and pods' interfaces.

Decides: the addresses of every end, in both families; what the FIB answers. Interface indexes, MAC addresses, routes
and neighbours are real, since the programs ask the kernel for them.

    outside | uplink0 === uplink | node | pod0 === eth0 | pod      pod0 carries our hook
                                 |      | pod1 === eth1 |          pod1 does not
                                 | penstock0 === penstock1 |

Rules: the namespaces have no names and belong to this process: they end with it, however it ends.
Must never: touch the namespace that the tests were started in.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lab.unshare import Kind, enter, own_network


class Namespace:
    """A network namespace without a name, held by a file descriptor."""

    def __init__(self) -> None:
        self.fd = own_network()

    @property
    def path(self) -> str:
        """A path that other processes can open."""
        return f"/proc/{os.getpid()}/fd/{self.fd}"

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """The calling thread is in the namespace meanwhile; sockets made there stay there."""
        with open("/proc/thread-self/ns/net") as home:
            enter(self.fd, Kind.NET)
            try:
                yield
            finally:
                enter(home.fileno(), Kind.NET)

    def ip(self, batch: str) -> None:
        """Run lines of `ip` commands."""
        with self.inside():
            done = subprocess.run(["ip", "-batch", "-"], input=batch, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{batch}\n{done.stderr}")

    def sysctl(self, name: str, value: int) -> None:
        with self.inside():
            Path("/proc/sys/net", name).write_text(str(value))

    def close(self) -> None:
        os.close(self.fd)


@dataclass(frozen=True, slots=True)
class Device:
    """An interface of the node, and the MAC address that its frames come from."""

    ifindex: int
    mac: str
    peer_mac: str


@dataclass(frozen=True, slots=True)
class Net:
    """The ends of one address family."""

    family: socket.AddressFamily
    client: str
    neighbour: str  # behind the uplink, so that the FIB leads back there: a backend on the clients' side
    far: str  # by the default route, through the clients' router
    gateway: str
    node: str  # the node's own address on the uplink, a gateway address too
    pod: str
    pod2: str  # another on the same interface
    unhooked: str  # its interface carries no hook
    unknown: str  # on a pod's interface, but the kernel does not know its MAC address
    nowhere: str  # no route

    @property
    def name(self) -> str:
        return "ipv4" if self.family == socket.AF_INET else "ipv6"

    @property
    def words(self) -> int:
        """Octets of an address."""
        return 4 if self.family == socket.AF_INET else 16

    def octets(self, address: str) -> bytes:
        return socket.inet_pton(self.family, address)


V4 = Net(
    socket.AF_INET,
    client="10.231.0.100",
    neighbour="10.231.0.50",
    far="198.51.100.7",
    gateway="10.230.0.1",
    node="10.231.0.1",
    pod="10.232.0.10",
    pod2="10.232.0.11",
    unhooked="10.233.0.10",
    unknown="10.232.0.99",
    nowhere="10.239.0.1",
)
V6 = Net(
    socket.AF_INET6,
    client="fd00:231::100",
    neighbour="fd00:231::50",
    far="2001:db8::7",
    gateway="fd00:230::1",
    node="fd00:231::1",
    pod="fd00:232::10",
    pod2="fd00:232::11",
    unhooked="fd00:233::10",
    unknown="fd00:232::99",
    nowhere="fd00:239::1",
)
NETS = (V4, V6)

# Of the interface, and of what is behind it.
MACS = {
    "uplink": ("02:00:00:00:01:01", "02:00:00:00:01:02"),
    "penstock0": ("02:00:00:00:02:01", "02:00:00:00:02:02"),
    "pod0": ("02:00:00:00:03:01", "02:00:00:00:03:02"),
    "pod1": ("02:00:00:00:04:01", "02:00:00:00:04:02"),
}
# Further MAC addresses behind the same interfaces.
NEIGHBOUR_MAC = "02:00:00:00:01:50"
CLIENT_MAC = "02:00:00:00:01:64"
ROUTER_MAC = MACS["uplink"][1]

_SYSCTLS = {
    "ipv4/ip_forward": 1,
    "ipv4/conf/all/rp_filter": 0,
    "ipv4/conf/default/rp_filter": 0,
    "ipv6/conf/all/forwarding": 1,
    "ipv6/conf/default/accept_dad": 0,
}
_VETHS = f"""
link add uplink address {MACS["uplink"][0]} type veth peer name uplink0 address {MACS["uplink"][1]} netns {{outside}}
link add pod0 address {MACS["pod0"][0]} type veth peer name eth0 address {MACS["pod0"][1]} netns {{pod}}
link add pod1 address {MACS["pod1"][0]} type veth peer name eth1 address {MACS["pod1"][1]} netns {{pod}}
"""
# With an uplink, pod0 and pod1 of whatever kind.
_CONFIGURATION = f"""
link set lo up
link add penstock0 address {MACS["penstock0"][0]} type veth peer name penstock1 address {MACS["penstock0"][1]}
link set penstock0 arp off up
link set penstock1 arp off up
link set uplink up
link set pod0 up
link set pod1 up
addr add {V4.node}/24 dev uplink
addr add {V6.node}/64 dev uplink nodad
addr add 10.232.0.1/24 dev pod0
addr add fd00:232::1/64 dev pod0 nodad
addr add 10.233.0.1/24 dev pod1
addr add fd00:233::1/64 dev pod1 nodad
route add {V4.gateway}/32 dev penstock0
route add {V6.gateway}/128 dev penstock0
route add default via 10.231.0.254
route add default via fd00:231::fe
route add unreachable {V4.nowhere}/32
route add unreachable {V6.nowhere}/128
neigh add 10.231.0.254 lladdr {ROUTER_MAC} dev uplink
neigh add fd00:231::fe lladdr {ROUTER_MAC} dev uplink
neigh add {V4.client} lladdr {CLIENT_MAC} dev uplink
neigh add {V6.client} lladdr {CLIENT_MAC} dev uplink
neigh add {V4.neighbour} lladdr {NEIGHBOUR_MAC} dev uplink
neigh add {V6.neighbour} lladdr {NEIGHBOUR_MAC} dev uplink
neigh add {V4.pod} lladdr {MACS["pod0"][1]} dev pod0
neigh add {V6.pod} lladdr {MACS["pod0"][1]} dev pod0
neigh add {V4.pod2} lladdr {MACS["pod0"][1]} dev pod0
neigh add {V6.pod2} lladdr {MACS["pod0"][1]} dev pod0
neigh add {V4.unhooked} lladdr {MACS["pod1"][1]} dev pod1
neigh add {V6.unhooked} lladdr {MACS["pod1"][1]} dev pod1
"""


class Node:
    """The node's namespace, with no interface yet. `device` knows them by name once they are configured."""

    def __init__(self) -> None:
        self.node = Namespace()
        self.device: dict[str, Device] = {}
        for name, value in _SYSCTLS.items():
            self.node.sysctl(name, value)

    def configure(self) -> None:
        """Addresses, routes and neighbours; uplink, pod0 and pod1 are there."""
        self.node.ip(_CONFIGURATION)
        with self.node.inside():
            self.device = {name: Device(socket.if_nametoindex(name), *macs) for name, macs in MACS.items()}

    def close(self) -> None:
        self.node.close()


class World(Node):
    """A node whose uplink and pods are veth pairs."""

    def __init__(self) -> None:
        super().__init__()
        self.outside, self.pod = Namespace(), Namespace()
        self.node.ip(_VETHS.format(outside=self.outside.path, pod=self.pod.path))
        # A veth has a carrier, and with it its routes, only when both ends are up.
        self.outside.ip("link set lo up\nlink set uplink0 up\n")
        self.pod.ip("link set lo up\nlink set eth0 up\nlink set eth1 up\n")
        self.configure()

    def close(self) -> None:
        for namespace in (self.node, self.outside, self.pod):
            namespace.close()
