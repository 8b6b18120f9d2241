"""HAProxy in TCP mode. It does not do UDP."""

from __future__ import annotations

from collections.abc import Iterator

from bench.peers.base import Peer, give_node_the_gateway_addresses
from bench.services import SERVICES, Protocol, Service, endpoints
from bench.site import Site
from lab.topology import FAMILIES, GATEWAY

_COMMON = """\
global
    nbthread 1
    maxconn 4000
defaults
    mode tcp
    maxconn 4000
    timeout connect 2s
    timeout client 60s
    timeout server 60s
"""


def _proxy(service: Service, family: int) -> Iterator[str]:
    yield f"listen {service.name}-{family}"
    yield f"    bind [{GATEWAY[family]}]:{service.port}" if family == 6 else f"    bind {GATEWAY[4]}:{service.port}"
    for number, (address, weight) in enumerate(endpoints(family).items()):
        host = f"[{address}]" if family == 6 else address
        yield f"    server s{number} {host}:{service.target} weight {weight}"


def _start(site: Site) -> None:
    give_node_the_gateway_addresses(site)
    lines = [x for y in SERVICES if y.protocol is Protocol.TCP for z in FAMILIES for x in _proxy(y, z)]
    configuration = site.lab.directory / "haproxy.cfg"
    configuration.write_text(_COMMON + "\n".join(lines) + "\n")
    site.start_in_node("haproxy", "haproxy", "-db", "-f", configuration)


HAPROXY = Peer("bhaproxy", "HAProxy, TCP", _start, GATEWAY, protocols=frozenset({Protocol.TCP}))
