"""IPVS by NAT (masquerading): weighted round robin, and Maglev. Only where the kernel has it.

Its schedulers choose among the same two endpoints by the same weights.
"""

from __future__ import annotations

from functools import partial

from bench.peers.base import Peer, give_node_the_gateway_addresses
from bench.services import SERVICES, Protocol, endpoints
from bench.site import Site
from lab.process import run
from lab.topology import FAMILIES, GATEWAY, Address


def _end(address: Address, port: int) -> str:
    return f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"


def _start(site: Site, *, scheduler: str) -> None:
    give_node_the_gateway_addresses(site)
    lines = []
    for family in FAMILIES:
        for service in SERVICES:
            option = "-t" if service.protocol is Protocol.TCP else "-u"
            virtual = f"{option} {_end(GATEWAY[family], service.port)}"
            lines.append(f"-A {virtual} {scheduler}")
            for address, weight in endpoints(family).items():
                lines.append(f"-a {virtual} -r {_end(address, service.target)} -m -w {weight}")
    run("ipvsadm", "--restore", namespace=site.lab.node.path, stdin="\n".join(lines) + "\n")


WRR = Peer("bipvswrr", "IPVS NAT, `wrr`", partial(_start, scheduler="-s wrr"), GATEWAY)
MAGLEV = Peer("bipvsmh", "IPVS NAT, `mh`", partial(_start, scheduler="-s mh -b mh-port"), GATEWAY)
