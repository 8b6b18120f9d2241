"""nftables: destination NAT, the endpoint chosen by weight (jhash over the client's address and port)."""

from __future__ import annotations

from collections.abc import Iterator

from bench.peers.base import Peer, give_node_the_gateway_addresses
from bench.services import SERVICES, endpoints
from bench.site import Site
from lab.process import run
from lab.topology import FAMILIES, GATEWAY

_IP = {4: "ip", 6: "ip6"}


def _shares(family: int) -> Iterator[str]:
    """`0 : first, 1-3 : second` for weights 1 and 3."""
    begin = 0
    for address, weight in endpoints(family).items():
        end = begin + weight - 1
        yield f"{begin}{f'-{end}' if end > begin else ''} : {address}"
        begin += weight


def _rules() -> Iterator[str]:
    for family in FAMILIES:
        ip, whole = _IP[family], sum(endpoints(family).values())
        for service in SERVICES:
            protocol = service.protocol.value.lower()
            yield (
                f"{ip} daddr {GATEWAY[family]} {protocol} dport {service.port} dnat {ip} to "
                f"jhash {ip} saddr . {protocol} sport mod {whole} seed 1 "
                f"map {{ {', '.join(_shares(family))} }} : {service.target}"
            )


def _start(site: Site) -> None:
    give_node_the_gateway_addresses(site)
    rules = "\n    ".join(_rules())
    table = f"""\
table inet gateway {{
  chain requests {{
    type nat hook prerouting priority dstnat;
    {rules}
  }}
}}
"""
    run("nft", "-f", "-", namespace=site.lab.node.path, stdin=table)


NFTABLES = Peer("bnft", "nftables DNAT", _start, GATEWAY)
