"""Plain kernel forwarding to the backend's own address, without NAT (the measure of all others), and no hop at all."""

from __future__ import annotations

from ipaddress import ip_address

from bench.peers.base import Peer
from bench.services import BACKEND, WEIGHTS
from bench.site import Site
from lab.topology import backend_addresses

_DIRECT = {4: ip_address("10.202.0.2"), 6: ip_address("fd00:202::2")}
_FIRST = next(iter(WEIGHTS))


def _nothing(site: Site) -> None:
    """The lab forwards as it is."""


def _cable_to_backend(site: Site) -> None:
    backend = site.lab.backends[BACKEND]
    site.lab.client.ip(
        f"link add direct type veth peer name direct netns {backend.name}",
        "link set direct up",
        "addr add 10.202.0.1/24 dev direct",
        "addr add fd00:202::1/64 dev direct nodad",
    )
    backend.ip(
        "link set direct up",
        f"addr add {_DIRECT[4]}/24 dev direct",
        f"addr add {_DIRECT[6]}/64 dev direct nodad",
    )


PLAIN = Peer("bplain", "plain forwarding", _nothing, backend_addresses(_FIRST), to_backend=True)
AGAIN = Peer("bagain", "plain forwarding, again (A/A)", _nothing, backend_addresses(_FIRST), to_backend=True)
DIRECT = Peer("bdirect", "no hop at all", _cable_to_backend, _DIRECT, to_backend=True)
