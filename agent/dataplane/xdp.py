"""Where XDP is put in front of the gateway, and why it is not where it is not.

Decides: on which uplinks our XDP program is. `force`: on all. `off`: on none. `auto`: where it pays, that is on a NIC
(real or virtio; a veth, bridge or bond gives XDP what it would not have on a wire, and loses by it) whose settings
allow it, and as soon as a backend is behind an uplink: what is for pods on the node XDP only passes on. Once on it
stays on, over a restart as well, for to put it on or off stops the NIC for a moment.
Rules: each uplink has a line for `penstock status`: "on, ..." or "off: why". The driver has the last word, and its own
words are told. The interface's entry says that frames may be sent there by XDP only while the program is on it, and if
its driver takes them (xdp_target.py): hooks.py writes it, so the program is put on before that, and taken off after.
Must never: change a setting of a NIC; replace a program that is not ours.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from agent.dataplane.fib import Route
from agent.dataplane.links import Link
from agent.dataplane.nic import Nic, read_nic
from agent.dataplane.xdp_target import is_xdp_target
from agent.settings import Xdp
from loader import xdp
from loader.errors import DriverRefused, HookTaken, InterfaceGone, LoaderError
from loader.program import Program
from routes.plan import Address

XDP_PROGRAM = "uplink_xdp"

LARGEST_MTU = 3_498
"""Of a frame that is in one page beside what drivers keep there; some take a little more."""

_WAITS = "no backend is behind an uplink yet, and for others it does nothing"
_NO_TARGET = "; for frames that came in elsewhere its driver has no way out, so they go by TC"
_VETH_TARGET = ": ethtool -K IFACE gro on, at both ends"
_ON_MEMBERS = "a bond takes the program, but its members run it, as if each were the uplink"


@dataclass(frozen=True, slots=True)
class Accelerated:
    """`on`: uplinks that carry the program, by ifindex; `targets`: those that take frames from other interfaces.
    `says`: a line for each uplink, by name. `faults`: where it was to be forced and cannot be."""

    on: frozenset[int]
    targets: frozenset[int]
    says: Mapping[str, str]
    faults: tuple[str, ...] = ()

    @property
    def waits(self) -> bool:
        """Whether the first backend behind an uplink would change it."""
        return f"off: {_WAITS}" in self.says.values()


class Accelerator:
    """Keeps the program on the uplinks where it belongs. `program` None: it could not be loaded, for `why`."""

    def __init__(self, mode: Xdp, program: Program | None, pins: Path, why: str = "") -> None:
        self._mode = mode
        self._program = program
        self._pins = pins
        self._why = why

    def put_on(
        self,
        uplinks: Mapping[int, Link],
        backends: Iterable[Address],
        routes: Collection[Route],
        tagged: Collection[int] = (),
    ) -> Accelerated:
        """Attach it where it is due; what became of each uplink. `tagged`: interfaces that have VLANs."""
        before = {x.ifindex for x in xdp.attachments(self._pins) if x.alive}
        is_due = self._mode is Xdp.FORCE or bool(before & uplinks.keys()) or any_behind(uplinks, backends, routes)
        on, targets, says, faults = set(), set(), {}, []
        for index, link in sorted(uplinks.items()):
            nic = read_nic(link.name) if self._mode is not Xdp.OFF else Nic()
            why = self._why_not(link, nic, is_due, index in tagged) or self._attach(index, link, nic)
            if why is None:  # the interface has gone
                continue
            if why:
                says[link.name] = f"off: {why}"
                if self._mode is Xdp.FORCE:
                    faults.append(f"--xdp force: it is not on {link.name}: {why}")
                continue
            on.add(index)
            says[link.name] = f"on{_queues(nic)}"
            if is_xdp_target(index, nic.driver):
                targets.add(index)
            else:
                says[link.name] += _NO_TARGET + (_VETH_TARGET if link.kind == "veth" else "")
        return Accelerated(frozenset(on), frozenset(targets), says, tuple(faults))

    def take_off(self, elsewhere_than: Collection[int]) -> None:
        """Detach it from all other interfaces."""
        for x in xdp.attachments(self._pins):
            if x.ifindex not in elsewhere_than:
                xdp.detach(x, self._pins)

    def _why_not(self, link: Link, nic: Nic, is_due: bool, has_vlans: bool) -> str:
        if self._mode is Xdp.OFF:
            return "--xdp off"
        if self._program is None:
            return self._why
        if self._mode is Xdp.AUTO:
            return unfit(link, nic, has_vlans) or ("" if is_due else _WAITS)
        return _ON_MEMBERS if link.kind == "bond" else ""

    def _attach(self, index: int, link: Link, nic: Nic) -> str | None:
        """Empty if it is on, else why not; None if the interface has gone."""
        assert self._program is not None
        try:
            xdp.attach(self._program, index, self._pins)
        except InterfaceGone:
            return None
        except HookTaken as error:
            return f"{error} (ip link show {link.name})"
        except DriverRefused as error:
            return f"the driver refuses: {error} (MTU {link.mtu}{_queues(nic)})"
        except LoaderError as error:
            return str(error)
        return ""


def unfit(link: Link, nic: Nic, has_vlans: bool = False) -> str:
    """Why an interface gets no XDP unless it is forced; "" if it does. Pure."""
    if link.kind:
        return f"{link.name} is a {link.kind} and no NIC"
    if not nic.driver:
        return f"{link.name} does not tell its driver"
    if link.mtu > LARGEST_MTU:
        return f"MTU {link.mtu} is more than the {LARGEST_MTU} that XDP has room for"
    if has_vlans and nic.strips_tags:  # XDP would take a VLAN's frames for the interface's own
        return f"it has VLANs, and the driver takes their tags off: ethtool -K {link.name} rxvlan off"
    return _merges(link, nic)


def _merges(link: Link, nic: Nic) -> str:
    """The same, where segments come merged."""
    if nic.lro:
        return f"LRO is on: ethtool -K {link.name} lro off"
    return "rx-gro-hw is on, and the driver cannot switch it off" if nic.gro_hw and nic.gro_hw_fixed else ""


def any_behind(uplinks: Collection[int], backends: Iterable[Address], routes: Collection[Route]) -> bool:
    """Does the main table send packets to some backend out of an uplink? Pure."""
    tables: dict[tuple[int, int], dict[int, set[int]]] = {}
    for x in routes:
        tables.setdefault((x.version, x.length), {}).setdefault(x.network, set()).add(x.interface)
    lengths = sorted(tables, key=lambda x: -x[1])
    for address in set(backends):
        for version, length in lengths:
            shift = address.max_prefixlen - length
            found = tables[version, length].get(int(address) >> shift << shift) if version == address.version else None
            if found:
                if not found.isdisjoint(uplinks):
                    return True
                break
    return False


def _queues(nic: Nic) -> str:
    driver = f", {nic.driver}" if nic.driver else ""
    return f"{driver}, {nic.queues} of {nic.most_queues} queues" if nic.queues else driver
