"""What a node's machine does: `python -m nodes.guest NODE`, as its job. It becomes the agent.

Decides: nothing; it sets up what an operator would have: interfaces, addresses, forwarding, a folder of manifests.
"""

import json
import os
import sys
from pathlib import Path

from lab.gateway import PENSTOCK
from lab.manifests import write
from lab.process import run
from lab.topology import CLIENT, FAMILIES, NODE
from lab.wait import until
from nodes.world import STATUS_PORT, UPLINKS, WORLD, mac
from tests.net.two_nodes import BACKENDS_NETWORK, behind

MANIFESTS = Path("/run/manifests")
SYSCTLS = {"ipv4/ip_forward": 1, "ipv6/conf/all/forwarding": 1, "ipv4/conf/all/rp_filter": 2}


def _ip(*lines: str) -> None:
    run("ip", "-batch", "-", stdin="\n".join(lines) + "\n")


def _names() -> dict[str, str]:
    """Interfaces by their addresses."""
    return {x["address"]: x["ifname"] for x in json.loads(run("ip", "-j", "link").stdout)}


def main(node: int) -> None:
    """Set up everything and become the agent."""
    run("modprobe", "virtio_net")
    macs = [mac(node, number) for number in range(len(UPLINKS))]
    until(lambda: set(macs) <= set(_names()), "the NICs are there", seen=_names)
    for address, uplink in zip(macs, UPLINKS, strict=True):
        _ip(f"link set {_names()[address]} name {uplink}")
    for name, value in SYSCTLS.items():
        (Path("/proc/sys/net") / name).write_text(f"{value}\n")
    lengths = {4: 24, 6: 64}
    _ip(
        *(f"link set {uplink} up" for uplink in UPLINKS),
        *(
            f"addr add {addresses[x]}/{lengths[x]} dev {uplink}{' nodad' if x == 6 else ''}"
            for uplink, addresses in zip(UPLINKS, (NODE, behind(node, 1)), strict=True)
            for x in FAMILIES
        ),
        *(f"route add default via {CLIENT[x]}" for x in FAMILIES),
        *(f"route add {BACKENDS_NETWORK[x]} via {behind(node, 2)[x]}" for x in FAMILIES),
    )
    write(WORLD, MANIFESTS)
    uplinks = [word for uplink in UPLINKS for word in ("--uplink", uplink)]
    status = ("--metrics-address", f"0.0.0.0:{STATUS_PORT}")
    os.execv(PENSTOCK, [str(PENSTOCK), "run", "--manifests", str(MANIFESTS), *uplinks, *status])


if __name__ == "__main__":
    main(int(sys.argv[1]))
