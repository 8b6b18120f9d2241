"""What a node must have, and what is worth a note.

Decides: which lacks stop the agent (nothing would work: fault) and which only take something away (note). Every
sentence says what was found, what it means and what to do. Rules: the node's own settings are read, never changed: they
are the operator's. Must never: refuse a kernel for its version number, which says little of what a distribution put in.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from agent.dataplane import sysctl
from agent.dataplane.errors import translated
from agent.settings import Delivery
from loader.features import SINCE, is_at_least, probe

_VMLINUX_BTF = Path("/sys/kernel/btf/vmlinux")
# Helpers without which the programs do not load.
_NEEDED = ("bpf_timer", "bpf_loop", "redirect_neigh")
# Others share a hook with TCX, and tables are read faster in batches; without them all works.
_OPTIONAL = ("tcx", "batch")
OLDEST = "6.1"
"""The oldest kernel on which the tests run (docs/kernels.md): older ones are taken if they have what is needed."""


def faults() -> Iterator[str]:
    """Reasons not to start."""
    if os.geteuid() != 0:
        yield "not root: loading BPF programs and changing interfaces needs root; start the agent as root"
    if not _VMLINUX_BTF.exists():
        yield f"{_VMLINUX_BTF} is missing: this kernel was built without CONFIG_DEBUG_INFO_BTF; use one that has it"
    if os.geteuid() == 0:
        yield from _lacking_features()
    if not sysctl.read("ipv4/ip_forward") and not _ipv6_forwarding():
        yield (
            "forwarding is off: nothing would reach a backend; set net.ipv4.ip_forward=1 "
            "(and net.ipv6.conf.all.forwarding=1)"
        )


def notes(delivery: Delivery, uplinks: tuple[str, ...], snat_ports: tuple[int, int]) -> Iterator[str]:
    """What this node takes away from the gateway; `uplinks` by name, `snat_ports` first and last."""
    release = os.uname().release
    if not is_at_least(release, OLDEST):
        yield f"kernel {release} is older than {OLDEST}, the oldest that Penstock is tested on: use a newer one"
    first, last = sysctl.read_range("ipv4/ip_local_port_range") or (1, 0)
    if first <= snat_ports[1] and snat_ports[0] <= last:
        yield (
            f"--snat-ports {snat_ports[0]}-{snat_ports[1]} overlaps net.ipv4.ip_local_port_range {first}-{last}: "
            "connections of the node itself to a backend may be taken for a client's; set one of them apart"
        )
    if not sysctl.read("ipv4/ip_forward"):
        yield "net.ipv4.ip_forward is 0: IPv4 requests will not reach their backends; set it to 1"
    if not sysctl.ipv6_enabled():
        yield "IPv6 is disabled on this node: IPv6 gateway addresses are skipped"
    elif not _ipv6_forwarding():
        yield "net.ipv6.conf.all.forwarding is 0: IPv6 requests will not reach their backends; set it to 1"
    if delivery is Delivery.STACK:
        for name in uplinks:
            if sysctl.strict_reverse_path(name):
                yield (
                    f"rp_filter is strict on {name}: clients whose route back leaves by another interface are "
                    f"dropped; set net.ipv4.conf.{name}.rp_filter=2 where routing is asymmetric"
                )


@translated()
def features() -> Mapping[str, str]:
    """The kernel's release, and of what the gateway can do without, what is there: "yes" or "no"."""
    found = probe()
    return {"kernel": found.kernel, **{name: "yes" if getattr(found, name) else "no" for name in _OPTIONAL}}


def _lacking_features() -> Iterator[str]:
    features = probe()
    lacking = [f"{name} (mainline has it since {SINCE[name]})" for name in _NEEDED if not getattr(features, name)]
    if lacking:
        yield f"kernel {features.kernel} lacks {', '.join(lacking)}: use {OLDEST} or newer"


def _ipv6_forwarding() -> bool:
    return bool(sysctl.ipv6_enabled() and sysctl.read("ipv6/conf/all/forwarding"))
