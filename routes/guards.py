"""Addresses that must never be a gateway's or an endpoint's.

Decides which addresses are refused whatever the objects say, since traffic to them would reach the node itself, its
neighbours or a cloud's metadata service (SSRF through an EndpointSlice: CVE-2021-25740 and its kin). Rules: a reason
for people, or None. Must never depend on the node: what only a node knows (its own addresses) is passed in by
`endpoints`.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from routes.plan import Address

# Metadata services outside the link-local ranges: AWS and GCP on IPv6, Alibaba, Azure's host.
_METADATA: Final = frozenset(
    map(ip_address, ("169.254.169.254", "fd00:ec2::254", "fd20:ce::254", "100.100.100.200", "168.63.129.16"))
)
_THIS_NETWORK: Final = ip_network("0.0.0.0/8")
_NAT64: Final = IPv6Network("64:ff9b::/96")  # RFC 6052
_COMPATIBLE: Final = IPv6Network("::/96")  # RFC 4291 2.5.5.1, deprecated


def refused(address: Address) -> str | None:
    """Why no packet of ours may go to or come from this address, None if it may."""
    if address in _METADATA:
        return "is a cloud metadata address"
    for wrong, reason in (
        (address.is_unspecified, "is the unspecified address"),
        (address.is_loopback, "is a loopback address"),
        (address.is_link_local, "is a link-local address"),
        (address.is_multicast, "is a multicast address"),
    ):
        if wrong:
            return reason
    if isinstance(address, IPv4Address):
        if address in _THIS_NETWORK:
            return "is in 0.0.0.0/8"
        return "is a reserved address" if address.is_reserved else None
    return _refused6(address)


def _refused6(address: IPv6Address) -> str | None:
    if address.ipv4_mapped is not None or address in _COMPATIBLE:
        return "is an IPv4 address in IPv6 notation"
    embedded = IPv4Address(int(address) & 0xFFFFFFFF) if address in _NAT64 else address.sixtofour
    reason = refused(embedded) if embedded is not None else None
    if reason is not None:
        return f"leads to {embedded}, which {reason}"
    return "is a site-local address" if address.is_site_local else None
