"""A bare BPF redirect: the floor of what Penstock's `redirect` delivery can reach (see redirect.bpf.c)."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

from bench.peers.base import Peer
from bench.services import BACKEND, WEIGHTS
from bench.site import BUILD, Site
from lab.netns import Namespace
from lab.topology import UPLINK, backend_addresses
from loader.attach import Direction, attach
from loader.objects import Object
from loader.spec import ObjectSpec


def _link(namespace: Namespace, interface: str) -> dict[str, Any]:
    return dict(json.loads(namespace.run("ip", "-json", "link", "show", "dev", interface).stdout)[0])


def _mac(link: dict[str, Any]) -> int:
    """The number whose first six octets in memory are the MAC."""
    return int.from_bytes(bytes.fromhex(link["address"].replace(":", "")), "little")


def _start(site: Site, *, request_program: str) -> None:
    lab = site.lab
    client, uplink = _link(lab.client, "eth0"), _link(lab.node, UPLINK)
    backend, end = _link(lab.backends[BACKEND], "eth0"), _link(lab.node, lab.host_end(BACKEND))
    spec = ObjectSpec(
        BUILD / "redirect.bpf.o",
        rodata={
            "backend_ifindex": end["ifindex"],
            "client_ifindex": uplink["ifindex"],
            "backend_mac": _mac(backend),
            "backend_end_mac": _mac(end),
            "client_mac": _mac(client),
            "client_end_mac": _mac(uplink),
        },
        max_entries={},
    )
    with Object.load(spec, lab.pins) as loaded, lab.node.inside():
        attach(loaded.program(request_program), uplink["ifindex"], Direction.INGRESS, lab.pins)
        attach(loaded.program("to_client"), end["ifindex"], Direction.INGRESS, lab.pins)


_ADDRESS = backend_addresses(next(iter(WEIGHTS)))

REDIRECT = Peer("bbare", "bare BPF redirect", partial(_start, request_program="to_backend"), _ADDRESS, to_backend=True)
REDIRECT_PEER = Peer(
    "bpeer", "bare BPF redirect_peer", partial(_start, request_program="to_peer"), _ADDRESS, to_backend=True
)
