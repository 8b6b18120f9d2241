"""The ways from the one wire to the other, a row of the table each: the floors, the kernel's own, and Penstock.

Rules: the way of a row is made by `start`, in a site of the row's own. All but the floors and plain forwarding change
both ends of a packet to another machine (destination, source, ports), and the destination of one to a pod.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

from bench.frames.site import FAR, NUMBER, SECOND_UPLINK, Site, Where
from lab.gateway import Gateway
from lab.manifests import Listener, Pod, World, write
from lab.process import run
from lab.servers.witness import PORT
from lab.topology import GATEWAY, UPLINK, Address

ASKED: Final = 80
"""The port of the gateway."""
PROTOCOLS: Final = ("TCP", "UDP")


@dataclass(frozen=True, slots=True)
class Way:
    """One row. `name`: of its lab. `direct`: the client asks the far end itself, nothing is translated.

    `colour`: of its bar, as chart.py counts them. `complete` False: it ends in the node, so what it costs is the
    injection alone. `everywhere` False: not every kernel has it.
    """

    name: str
    title: str
    where: Where
    colour: int
    start: Callable[[Site], None]
    direct: bool = False
    complete: bool = True
    everywhere: bool = True

    @property
    def asked(self) -> tuple[Mapping[int, Address], int]:
        """What the client asks: addresses by family, and the port."""
        return (FAR, PORT) if self.direct else (GATEWAY, ASKED)


def _nothing(site: Site) -> None:
    """The node forwards as it is."""


def _xdp(site: Site, *, program: str) -> None:
    site.hook_xdp(program, site.lab.node, site.uplink)


def _tc(site: Site, *, program: str) -> None:
    site.hook_tc(program, site.lab.node, site.uplink)


def _lend_gateway_addresses(site: Site) -> None:
    site.lab.node.ip(f"addr add {GATEWAY[4]}/32 dev {UPLINK}", f"addr add {GATEWAY[6]}/128 dev {UPLINK} nodad")


def _nftables(site: Site, *, more: str = "") -> None:
    """Destination NAT; to another machine the source is the node's then, as for Penstock."""
    _lend_gateway_addresses(site)
    rules = "\n    ".join(
        f"{ip} daddr {GATEWAY[family]} {protocol} dport {ASKED} dnat {ip} to {there}:{PORT}"
        for family, ip, there in ((4, "ip", f"{FAR[4]}"), (6, "ip6", f"[{FAR[6]}]"))
        for protocol in ("tcp", "udp")
    )
    table = f"""\
table inet gateway {{
  chain requests {{
    type nat hook prerouting priority dstnat;
    {rules}
  }}
  chain sources {{
    type nat hook postrouting priority srcnat;
    oifname "{SECOND_UPLINK}" masquerade
  }}
  {more}
}}
"""
    run("nft", "-f", "-", namespace=site.lab.node.path, stdin=table)


_FLOWTABLE: Final = f"""\
flowtable established {{ hook ingress priority 0; devices = {{ {UPLINK}, {SECOND_UPLINK} }}; }}
  chain offered {{
    type filter hook forward priority filter;
    meta l4proto {{ tcp, udp }} flow add @established
  }}
"""


def _ipvs(site: Site) -> None:
    _lend_gateway_addresses(site)
    lines = []
    for gateway, far in ((f"{GATEWAY[4]}", f"{FAR[4]}"), (f"[{GATEWAY[6]}]", f"[{FAR[6]}]")):
        for option in ("-t", "-u"):
            lines.append(f"-A {option} {gateway}:{ASKED} -s wrr")
            lines.append(f"-a {option} {gateway}:{ASKED} -r {far}:{PORT} -m")
    run("ipvsadm", "--restore", namespace=site.lab.node.path, stdin="\n".join(lines) + "\n")


def _penstock(site: Site, *, delivery: str = "stack", options: tuple[str, ...] = ()) -> None:
    manifests = site.lab.directory / "manifests"
    listeners = tuple(Listener(protocol, ASKED, {"far": 1}) for protocol in PROTOCOLS)
    write(World(listeners, {"far": (Pod(NUMBER),)}), manifests)
    uplinks = ("--uplink", SECOND_UPLINK) if site.where is Where.MACHINE else ()
    site.stack.enter_context(Gateway(site.lab, manifests, delivery=delivery, options=(*uplinks, *options)))


_MACHINE, _POD = Where.MACHINE, Where.POD

WAYS: Final = (
    Way("vbmplain", "plain forwarding", _MACHINE, 0, _nothing, direct=True),
    Way("vbmagain", "plain forwarding, again (A/A)", _MACHINE, 1, _nothing, direct=True),
    Way("vbmdrop", "bare XDP drop", _MACHINE, 2, partial(_xdp, program="count_xdp"), direct=True, complete=False),
    Way("vbmxdp", "bare XDP redirect", _MACHINE, 3, partial(_xdp, program="redirect_xdp"), direct=True),
    Way("vbmtc", "bare TC redirect", _MACHINE, 4, partial(_tc, program="redirect_tc"), direct=True),
    Way("vbmpen", "Penstock", _MACHINE, 5, _penstock),
    Way("vbmpenx", "Penstock, XDP", _MACHINE, 6, partial(_penstock, options=("--xdp", "force"))),
    Way("vbmnft", "nftables DNAT, masquerade", _MACHINE, 7, _nftables),
    Way("vbmfast", "the same, flowtable", _MACHINE, 8, partial(_nftables, more=_FLOWTABLE), everywhere=False),
    Way("vbmipvs", "IPVS NAT, destination only", _MACHINE, 9, _ipvs, everywhere=False),
    Way("vbpplain", "plain forwarding", _POD, 0, _nothing, direct=True),
    Way("vbpagain", "plain forwarding, again (A/A)", _POD, 1, _nothing, direct=True),
    Way("vbptc", "bare TC redirect_peer", _POD, 4, partial(_tc, program="redirect_peer_tc"), direct=True),
    Way("vbpstack", "Penstock `stack`", _POD, 5, _penstock),
    Way("vbpredir", "Penstock `redirect`", _POD, 6, partial(_penstock, delivery="redirect")),
    Way("vbpnft", "nftables DNAT", _POD, 7, _nftables),
    Way("vbpipvs", "IPVS NAT", _POD, 9, _ipvs, everywhere=False),
)
"""The first two of each far end are the measure of the others, and the control."""
