"""Records of flows, as View.flows() gives them."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address
from typing import Any

from agent.dataplane.flows import Endpoint, FlowRecord
from routes.plan import Protocol


def end(text: str) -> Endpoint:
    """`10.0.0.1:80`, `[fd00::1]:80`."""
    address, _, port = text.rpartition(":")
    return Endpoint(ip_address(address.strip("[]")), int(port))


def flow(
    client: str = "198.51.100.1:4000",
    *,
    backend: int = 2,
    at: str = "10.0.0.2:8080",
    packets: tuple[int, int] = (3, 2),
    octets: tuple[int, int] = (300, 2000),
    **changes: Any,
) -> FlowRecord:
    """An established flow to 192.0.2.1:80; `packets` and `octets` are of requests and replies."""
    source, gateway = end(client), end("192.0.2.1:80" if client[0] != "[" else "[2001:db8::1]:80")
    made = FlowRecord(
        table="tcp_flows4",
        protocol=Protocol.TCP,
        generation=1,
        state="FLOW_ESTABLISHED",
        client=source,
        gateway=gateway,
        seen_as=source,
        backend=end(at),
        backend_id=backend,
        redirected=False,
        idle=0,
        request_packets=packets[0],
        request_bytes=octets[0],
        reply_packets=packets[1],
        reply_bytes=octets[1],
        whole=True,
    )
    return replace(made, **changes)
