"""Whether an interface sends frames that XDP redirects to it from another one.

Rules: the kernel is asked (6.3 and later, generic netlink family `netdev`); a driver's answer may change, with a
program put on it, or on a veth with GRO of its other end. An older kernel does not tell: then it is the drivers of
which it is known (those of 6.1 with ndo_xdp_xmit). Elsewhere redirected frames are lost, and only a tracepoint tells.
Must never: raise for an interface that is gone.
"""

from __future__ import annotations

from typing import Any, Final

from pyroute2.netlink import NLM_F_REQUEST, genlmsg
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.generic import GenericNetlinkSocket

_FAMILY: Final = "netdev"  # linux/netdev.h
_DEV_GET: Final = 1
_NDO_XMIT: Final = 4  # NETDEV_XDP_ACT_NDO_XMIT
# fmt: off
_KNOWN: Final = frozenset((
    "bnxt_en", "cpsw", "dpaa2-eth", "dpaa_eth", "ena", "enetc", "hv_netvsc", "i40e", "ice", "igb", "igc", "ixgbe",
    "ixgbevf", "mlx5_core", "mvneta", "mvpp2", "qede", "rvu-nicpf", "sfc", "stmmac", "tun", "veth", "vif",
    "virtio_net",
))
# fmt: on


class _Device(genlmsg):  # type: ignore[misc]  # pyroute2 has no types
    """NETDEV_CMD_DEV_GET, both ways."""

    nla_map = (
        ("NETDEV_A_DEV_UNSPEC", "none"),
        ("NETDEV_A_DEV_IFINDEX", "uint32"),
        ("NETDEV_A_DEV_PAD", "none"),
        ("NETDEV_A_DEV_XDP_FEATURES", "uint64"),
    )


def is_xdp_target(ifindex: int, driver: str) -> bool:
    """Of the interface of that number in this network namespace, as it is now."""
    with GenericNetlinkSocket() as netlink:
        try:
            netlink.bind(_FAMILY, _Device)
        except NetlinkError:  # a kernel before 6.3
            return driver in _KNOWN
        asked = _Device()
        asked["cmd"] = _DEV_GET
        asked["version"] = 1
        asked["attrs"] = [("NETDEV_A_DEV_IFINDEX", ifindex)]
        try:
            told: Any = next(iter(netlink.nlm_request(asked, msg_type=netlink.prid, msg_flags=NLM_F_REQUEST)))
        except NetlinkError:
            return False
        return bool((told.get_attr("NETDEV_A_DEV_XDP_FEATURES") or 0) & _NDO_XMIT)
