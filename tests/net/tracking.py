"""What a node's connection tracking makes of the packets that its stack sees.

Decides: what is in order. Rules: what is known already when the watch begins is not asked about; a packet counts as
invalid where it enters the stack, from an interface or from a socket. Must never: change what becomes of a packet.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from lab.netns import Namespace
from lab.process import run
from lab.topology import Address
from lab.wait import until

TABLE = """
table inet watch {
    set invalid {
        typeof meta nfproto . meta l4proto . th sport . th dport
        flags dynamic
        counter
    }
    chain prerouting {
        type filter hook prerouting priority filter;
        ct state invalid update @invalid { meta nfproto . meta l4proto . th sport . th dport counter }
    }
    chain output {
        type filter hook output priority filter;
        ct state invalid update @invalid { meta nfproto . meta l4proto . th sport . th dport counter }
    }
}
"""
FINISHED = ("TIME_WAIT", "CLOSE")
"""States of connections of which nobody expects anything more."""

REST = 10
"""Seconds that what is finished, and a datagram's flow, stay known; everything else stays for minutes or days."""

SYSCTLS = {
    f"net.netfilter.nf_conntrack_{x}": REST
    for x in (
        "tcp_timeout_time_wait",
        "tcp_timeout_close",
        "udp_timeout",
        "udp_timeout_stream",
        "icmp_timeout",
        "icmpv6_timeout",
    )
}


@dataclass(frozen=True, slots=True)
class Tracked:
    """A connection that the node knows, by its first packet. `state`: of TCP only."""

    protocol: str
    state: str
    source: tuple[Address, int]
    destination: tuple[Address, int]


class Tracking:
    """Connection tracking of a node, watched from now on."""

    def __init__(self, node: Namespace) -> None:
        self.node = node
        node.sysctl(SYSCTLS)
        run("nft", "-f", "-", namespace=node.path, stdin=TABLE)
        self.begin()

    def begin(self) -> None:
        """Forget what was before."""
        self.node.run("nft", "flush", "set", "inet", "watch", "invalid")
        self._errors_before, self._before = self._errors(), {(x.source, x.destination) for x in self._all()}

    def invalid(self) -> list[str]:
        """Packets that belong to no connection, in sum by protocol and ports."""
        listed = json.loads(self.node.run("nft", "-j", "list", "set", "inet", "watch", "invalid").stdout)
        (table,) = (x["set"] for x in listed["nftables"] if "set" in x)
        elements = [x["elem"] for x in table.get("elem", ())]
        return [f"{x['val']['concat']}: {x['counter']['packets']}" for x in elements]

    def errors(self) -> dict[str, int]:
        """What the kernel counts of packets, and connections, that it could not take for what they were."""
        return {
            name: n - self._errors_before[name] for name, n in self._errors().items() if n != self._errors_before[name]
        }

    def _errors(self) -> dict[str, int]:
        with self.node.inside():
            head, *cpus = Path("/proc/thread-self/net/stat/nf_conntrack").read_text().splitlines()
        sums = zip(head.split(), map(sum, zip(*(map(_hexadecimal, x.split()) for x in cpus), strict=True)), strict=True)
        return {name: n for name, n in sums if name in ("invalid", "insert_failed", "drop", "early_drop", "icmp_error")}

    def _all(self) -> list[Tracked]:
        with self.node.inside():
            lines = Path("/proc/thread-self/net/nf_conntrack").read_text().splitlines()
        return [_tracked(line) for line in lines if line.split()[2] in ("tcp", "udp")]

    def connections(self) -> list[Tracked]:
        """Of TCP and UDP, those that came since the watch began."""
        return [x for x in self._all() if (x.source, x.destination) not in self._before]

    def unfinished(self) -> list[Tracked]:
        """Connections of which something is still expected."""
        return [x for x in self.connections() if x.protocol == "tcp" and x.state not in FINISHED]

    def must_be_in_order(self) -> None:
        """Every packet belonged to a connection, and each connection came to its end."""
        until(lambda: not self.unfinished(), "each connection came to its end", seen=self.unfinished, patience=30)
        assert self.invalid() == []
        assert self.errors() == {}


def _hexadecimal(text: str) -> int:
    return int(text, 16)


def _tracked(line: str) -> Tracked:
    words = line.split()
    said = dict(reversed(re.findall(r"(\w+)=(\S+)", line)))  # of the two directions, the first
    source, destination = ((ip_address(said[x]), int(said[y])) for x, y in (("src", "sport"), ("dst", "dport")))
    return Tracked(words[2], words[5] if words[2] == "tcp" else "", source, destination)
