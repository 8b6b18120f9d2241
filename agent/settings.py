"""What an operator may set, with defaults, and what each setting may hold.

Decides: the names, the defaults and the bounds of every setting of the agent. Rules: values only, frozen; a Settings
that exists is valid, for making an invalid one raises SettingsError that lists every fault at once, each naming the
setting as an operator does, by the option of the command line (`option`): `--limit-udp` for the field of IdleLimits,
`--uplink` once for each of `uplinks`. The environment has capitals after PENSTOCK_RUN_ (PENSTOCK_RUN_LIMIT_UDP; the
three folders, which other commands need too, after PENSTOCK_). Times are seconds; tables are counted in flows (a flow
takes two entries) or in entries of the thing they are named for. Where objects come from is no setting but an argument.
Must never: read the environment, a file or the kernel; hold anything that differs between nodes of one cluster
without an operator having said so.
"""

from __future__ import annotations

import enum
import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Final, TypeAlias

from agent.installed import OBJECTS

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

AUTO = "auto"
"""The uplink name that stands for: every interface that carries a default route, or hooks of ours already."""

# Fifteen octets and no slash or white space: dev_valid_name() of the kernel.
_INTERFACE_NAME = re.compile(r"[^\s/:]{1,15}\Z")


class SettingsError(ValueError):
    """One or more settings cannot be used. `faults` has one sentence each."""

    def __init__(self, faults: tuple[str, ...]) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults


class Delivery(enum.Enum):
    """How a request reaches a backend on this node: up the stack (policy applies) or redirected past it."""

    STACK = "stack"
    REDIRECT = "redirect"


class Xdp(enum.Enum):
    """Where XDP is put in front of TC: on NICs where it pays, nowhere, or on every uplink."""

    AUTO = "auto"
    OFF = "off"
    FORCE = "force"


@dataclass(frozen=True, slots=True, kw_only=True)
class TableSizes:
    """Room in the kernel's tables. Flows are per address family."""

    tcp_flows: int = 131_072
    half_open: int = 16_384
    udp_flows: int = 65_536
    max_gateways: int = 4_096
    max_listeners: int = 16_384
    max_policies: int = 1_024
    max_source_ranges: int = 65_536
    max_pools: int = 2_048
    max_backends: int = 65_536
    max_interfaces: int = 1_024


@dataclass(frozen=True, slots=True, kw_only=True)
class IdleLimits:
    """Seconds without a packet after which a flow is forgotten.

    RFC 5382 REQ-5 asks for at least 2 h 4 m for established TCP, RFC 4787 REQ-5 for at least 2 minutes for UDP;
    `closing` is for those with one FIN, which may go on the other way;
    `closed` is how long a tuple rests after FIN both ways, `reset` after an RST.
    """

    tcp_established: int = 7_860
    udp: int = 120
    half_open: int = 60
    closing: int = 1_800
    closed: int = 60
    reset: int = 10


_SPELT = {"uplinks": "--uplink", "snat_addresses": "--snat-address"}

# (lowest, highest) of each number. The LRU floors are those below which an LRU, split per CPU, evicts live entries.
TABLE_BOUNDS: Final = {
    "tcp_flows": (1_024, 16_777_216),
    "half_open": (1_024, 4_194_304),
    "udp_flows": (1_024, 16_777_216),
    "max_gateways": (1, 65_536),
    "max_listeners": (2, 1_048_576),
    "max_policies": (2, 65_536),
    "max_source_ranges": (1, 4_194_304),
    "max_pools": (2, 65_536),
    "max_backends": (3, 4_194_304),
    "max_interfaces": (2, 65_536),
}
LIMIT_BOUNDS: Final = {
    "tcp_established": (10, 604_800),
    "udp": (1, 86_400),
    "half_open": (1, 3_600),
    "closing": (1, 604_800),
    "closed": (1, 3_600),
    "reset": (1, 3_600),
}
_MOST: Final = {"symmetric": 256, "snat_addresses": 255}  # of table `symmetric`; of an interface's count (bpf/abi.h)
OTHER_BOUNDS: Final = {"absent_grace": (0, 86_400), "reply_rate_limit": (0, 10_000_000)}


def option(setting: str) -> str:
    """How an operator spells a setting, given its field; `limit_udp` for `limits.udp`."""
    return _SPELT.get(setting, "--" + setting.replace("_", "-"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything the agent is told.

    `uplinks`: names of the client-facing interfaces, or ("auto",). Backends behind one, on other nodes, see one of
    `snat_addresses` (of the node's own; none: the uplink's oldest) and a port of `snat_ports` (first, last), or the
    client itself if they are in a network of `symmetric`, whose replies to anybody pass this node. `absent_grace`:
    how long an endpoint may be in no EndpointSlice before its TCP flows are reset. `reply_rate_limit`: RST and ICMP
    of our own, per CPU and second: so many refusals and echo replies, as many "too big"; 0 sends none. `pin_dir`
    must be in a BPF file system that outlives the agent; with `run_dir`, which may outlive the node's boot and need
    not, go the last good states of bad files.
    `object_dir` holds tc.bpf.o, xdp.bpf.o and age.bpf.o. `metrics_address` is "host:port", "[v6]:port".
    """

    uplinks: tuple[str, ...] = (AUTO,)
    delivery: Delivery = Delivery.STACK
    xdp: Xdp = Xdp.AUTO
    tables: TableSizes = field(default_factory=TableSizes)
    limits: IdleLimits = field(default_factory=IdleLimits)
    snat_addresses: tuple[Address, ...] = ()
    snat_ports: tuple[int, int] = (10_000, 29_999)
    symmetric: tuple[str, ...] = ()
    absent_grace: int = 30
    reply_rate_limit: int = 1_000
    pin_dir: Path = Path("/sys/fs/bpf/penstock")
    run_dir: Path = Path("/run/penstock")
    object_dir: Path = OBJECTS
    metrics_address: str = "127.0.0.1:9464"

    def __post_init__(self) -> None:
        """Raise SettingsError naming every setting that cannot be used."""
        faults = tuple(self._faults())
        if faults:
            raise SettingsError(faults)

    def _faults(self) -> Iterator[str]:
        yield from _uplink_faults(self.uplinks)
        yield from _number_faults(self.tables, TABLE_BOUNDS, "")
        yield from _number_faults(self.limits, LIMIT_BOUNDS, "limit_")
        yield from _port_range_faults(self.snat_ports)
        yield from _network_faults(self.symmetric)
        for name, most in _MOST.items():
            if len(given := getattr(self, name)) > most:
                yield f"{option(name)}: {len(given)} are given, and there is room for {most}"
        for name, bounds in OTHER_BOUNDS.items():
            yield from _bound_fault(name, getattr(self, name), *bounds)
        for name in ("pin_dir", "run_dir", "object_dir"):
            path: Path = getattr(self, name)
            if not path.is_absolute():
                yield f"{option(name)}: {str(path)!r} is not an absolute path"
        try:
            split_address(self.metrics_address)
        except ValueError as error:
            yield f"--metrics-address: {error}"


def split_address(text: str) -> tuple[str, int]:
    """Host and port of "127.0.0.1:9464" or "[::1]:9464". Raises ValueError that says what is wrong with `text`."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65_536:
        raise ValueError(f"{text!r} does not end in a port from 1 to 65535")
    bracketed = host.startswith("[") and host.endswith("]")
    try:
        address = ipaddress.ip_address(host[1:-1] if bracketed else host)
    except ValueError:
        raise ValueError(f"{text!r} does not begin with an IP address") from None
    if bracketed != (address.version == 6):
        raise ValueError(f"{text!r}: write an IPv6 address in brackets, an IPv4 address without")
    return str(address), int(port)


def _uplink_faults(names: tuple[str, ...]) -> Iterator[str]:
    if not names:
        yield f"--uplink: none given; name the client-facing interfaces, or write {AUTO!r}"
    if AUTO in names and len(names) > 1:
        yield f"--uplink: {AUTO!r} stands alone, next to names it means nothing"
    for name in names:
        if not _INTERFACE_NAME.match(name) or name in {".", ".."}:
            yield f"--uplink: {name!r} cannot be the name of an interface"
    for name in sorted({x for x in names if names.count(x) > 1}):
        yield f"--uplink: {name!r} is given twice"


def _port_range_faults(ports: tuple[int, int]) -> Iterator[str]:
    first, last = ports
    if not 1024 <= first <= last <= 65_535:
        yield f"--snat-ports: {first}-{last} is no range of ports from 1024 to 65535"


def _network_faults(networks: tuple[str, ...]) -> Iterator[str]:
    for text in networks:
        try:
            ipaddress.ip_network(text)
        except ValueError as error:
            yield f"--symmetric: {error}"


def _number_faults(group: TableSizes | IdleLimits, bounds: dict[str, tuple[int, int]], prefix: str) -> Iterator[str]:
    for x in fields(group):
        yield from _bound_fault(prefix + x.name, getattr(group, x.name), *bounds[x.name])


def _bound_fault(name: str, value: int, lowest: int, highest: int) -> Iterator[str]:
    if not lowest <= value <= highest:
        yield f"{option(name)}: {value} is not from {lowest} to {highest}"
