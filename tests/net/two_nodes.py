"""Two nodes with the same gateway, and routers that spread clients over them (ECMP).

                    +-- rack -- uplink0 | node | uplink1 --+
    client -- front |                                      | back -- a, b, c (backends)
                    +-- rack -- uplink0 | node | uplink1 --+

Each node is a lab of its own, whose client is the router of the node's rack; both racks have the gateway's addresses.
Where the backends see the client, `back` spreads their replies as `front` spreads requests. It is a router: a backend
could not do that itself, for Linux hashes what it sends otherwise than what it forwards (6.18; fields of one's own).
"""

from __future__ import annotations

import enum
import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_address
from typing import Final

from lab.gateway import Gateway
from lab.manifests import World, write
from lab.netns import Namespace
from lab.process import Argument
from lab.servers.witness import PORT, witness_in
from lab.topology import BRIDGE, FAMILIES, GATEWAY, Lab, Shape, backend_addresses
from tests.net.routers import NODES, Addresses, Hash, Router, Spread

BACKENDS: Final = {"a": 11, "b": 12, "c": 13}
CLIENT: Final = {4: ip_address("10.210.0.2"), 6: ip_address("fd00:210::2")}
UPLINK: Final = "uplink1"
_FRONT: Final = {4: ip_address("10.210.0.1"), 6: ip_address("fd00:210::1")}
_PREFIX: Final = {4: 24, 6: 64}
BACKENDS_NETWORK: Final = {4: "10.201.0.0/24", 6: "fd00:201::/64"}
_EVERYWHERE: Final = {4: "0.0.0.0/0", 6: "::/0"}
_SYMMETRIC: Final[tuple[Argument, ...]] = tuple(
    x for network in BACKENDS_NETWORK.values() for x in ("--symmetric", network)
)


class Sees(enum.Enum):
    """Whom the backends see."""

    NODE = "node"
    CLIENT = "client"


@dataclass(frozen=True)
class Network:
    """What is around the nodes. `labs`: theirs, by node."""

    sees: Sees
    client: Namespace
    back: Namespace
    routers: tuple[Router, ...]
    labs: Mapping[int, Lab]

    def lead(self, *nodes: int, spread: Spread = Spread.PLAIN) -> None:
        """Clients' packets come to these nodes from now on; and, where a backend sees the client, so do its replies."""
        for router in self.routers:
            router.lead(nodes, spread)

    def cut(self, node: int) -> None:
        """Nothing comes from or to the node any more. `front` does not notice."""
        self._set_links(node, "down")

    def join(self, node: int) -> None:
        """It can be reached again; nobody leads to it yet."""
        self._set_links(node, "up")
        for router in self.routers:
            router.know(node)

    def _set_links(self, node: int, state: str) -> None:
        self.labs[node].client.ip(f"link set eth0 {state}")
        self.back.ip(f"link set node{node} {state}")


@dataclass(frozen=True)
class TwoNodes:
    """Both nodes' agents, and the network."""

    network: Network
    gateways: Mapping[int, Gateway]

    def say(self, world: World) -> None:
        """The manifests of both nodes, and both have done what they say."""
        for gateway in self.gateways.values():
            gateway.change(partial(write, world, gateway.manifests))

    def die(self, node: int) -> None:
        """It is cut off, and does nothing any more."""
        self.network.cut(node)
        self.gateways[node].kill()

    def revive(self, node: int) -> None:
        """It is there again, and has forgotten."""
        self.gateways[node].close()
        self.network.join(node)
        self.gateways[node].start()

    def established(self, node: int) -> set[int]:
        """The client's ports of the connections that the node knows as established."""
        lines = self.gateways[node].command("flows", "-o", "json", "--limit", "100000").stdout.splitlines()
        flows = [json.loads(line) for line in lines]
        return {x["client"]["port"] for x in flows if (x["protocol"], x["state"]) == ("TCP", "established")}


def _in_rack(node: int) -> Addresses:
    """Its router, on the link to `front`."""
    return {4: ip_address(f"10.211.{node}.2"), 6: ip_address(f"fd00:211:{node}::2")}


def behind(node: int, end: int) -> Addresses:
    """Between the node (1) and `back` (2)."""
    return {4: ip_address(f"10.212.{node}.{end}"), 6: ip_address(f"fd00:212:{node}::{end}")}


def _joined(namespace: Namespace, interface: str, other: Namespace, peer: str) -> None:
    namespace.ip(
        f"link add {interface} type veth peer name {peer} netns {other.name}",
        f"link set {interface} up",
    )
    other.ip(f"link set {peer} up")


def _addressed(namespace: Namespace, interface: str, addresses: Addresses) -> None:
    namespace.ip(
        *(f"addr add {addresses[x]}/{_PREFIX[x]} dev {interface}{' nodad' if x == 6 else ''}" for x in FAMILIES)
    )


def _build_front(client: Namespace, front: Namespace, labs: Mapping[int, Lab]) -> None:
    _joined(front, "client", client, "eth0")
    _addressed(front, "client", _FRONT)
    _addressed(client, "eth0", CLIENT)
    client.ip(*(f"route add default via {_FRONT[x]}" for x in FAMILIES))
    for node, lab in labs.items():
        rack = lab.client
        _joined(front, f"rack{node}", rack, "front")
        _addressed(rack, "front", _in_rack(node))
        here = {4: ip_address(f"10.211.{node}.1"), 6: ip_address(f"fd00:211:{node}::1")}
        _addressed(front, f"rack{node}", here)
        rack.ip(*(f"route replace default via {here[x]}" for x in FAMILIES))
        rack.sysctl({"net.ipv6.conf.eth0.keep_addr_on_down": 1})  # a cut cable takes no address away
    for router in (front, *(x.client for x in labs.values())):
        router.sysctl({"net.ipv4.ip_forward": 1, "net.ipv6.conf.all.forwarding": 1})


def _build_back(back: Namespace, labs: Mapping[int, Lab], backends: Mapping[str, Namespace]) -> None:
    back.sysctl({"net.ipv4.ip_forward": 1, "net.ipv6.conf.all.forwarding": 1})
    for node, lab in labs.items():
        _joined(back, f"node{node}", lab.node, UPLINK)
        back.sysctl({f"net.ipv6.conf.node{node}.keep_addr_on_down": 1})
        _addressed(lab.node, UPLINK, behind(node, 1))
        _addressed(back, f"node{node}", behind(node, 2))
        lab.node.ip(*(f"route add {BACKENDS_NETWORK[x]} via {behind(node, 2)[x]}" for x in FAMILIES))
    for name, backend in backends.items():
        end, addresses = f"pod-{name}", backend_addresses(BACKENDS[name])
        _joined(back, end, backend, "eth0")
        back.ip(*(f"addr add {BRIDGE[x]} dev {end}" for x in FAMILIES))
        back.ip(*(f"route add {addresses[x]} dev {end}" for x in FAMILIES))
        backend.ip(*(f"addr add {addresses[x]} dev eth0{' nodad' if x == 6 else ''}" for x in FAMILIES))
        backend.ip(*(f"route add {BRIDGE[x]} dev eth0" for x in FAMILIES))
        backend.ip(*(f"route add default via {BRIDGE[x]}" for x in FAMILIES))


@contextmanager
def network(sees: Sees) -> Iterator[Network]:
    """All but what the nodes run."""
    with ExitStack() as stack:
        labs = {node: stack.enter_context(Lab(f"vetwo{node}", Shape())) for node in NODES}
        first = labs[1]
        client, front, back, *ends = (
            Namespace(f"{first.prefix}{name}") for name in ("far", "front", "back", *BACKENDS)
        )
        backends = dict(zip(BACKENDS, ends, strict=True))
        for namespace in (client, front, back, *ends):
            namespace.create()
        _build_front(client, front, labs)
        _build_back(back, labs, backends)
        routers = [Router(front, GATEWAY, {node: _in_rack(node) for node in NODES}, "rack")]
        routers[0].build(Hash.BOTH_ENDS if sees is Sees.NODE else Hash.SOURCE)
        if sees is Sees.CLIENT:
            routers.append(Router(back, _EVERYWHERE, {node: behind(node, 1) for node in NODES}, "node"))
            routers[1].build(Hash.DESTINATION)
        for name, backend in backends.items():
            addresses = backend_addresses(BACKENDS[name]).values()
            stack.enter_context(witness_in(first, backend, name, addresses, PORT))
        yield Network(sees, client, back, tuple(routers), labs)


@contextmanager
def two_nodes(sees: Sees, worlds: Mapping[int, tuple[World, ...]]) -> Iterator[TwoNodes]:
    """`worlds`: what each node's manifests say, one after the other, by node."""
    with network(sees) as around, ExitStack() as stack:
        options = ("--uplink", UPLINK, *(_SYMMETRIC if sees is Sees.CLIENT else ()))
        gateways = {}
        for node, lab in around.labs.items():
            manifests = lab.directory / "manifests"
            write(worlds[node][0], manifests)
            gateways[node] = stack.enter_context(Gateway(lab, manifests, options=options))
            for world in worlds[node][1:]:
                gateways[node].change(partial(write, world, manifests))
        yield TwoNodes(around, gateways)
