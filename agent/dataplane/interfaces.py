"""The interfaces as a reconciled set: what each must have, and one pass that makes it so.

Decides: the role of each interface (uplink, our own, pod), and in which order a pass works: first our own interface,
since the programs name it; then hooks, XDP's before an uplink's entry tells of it; then what leads packets to them,
routes and multicast memberships. Rules: a pass reads the node afresh and is harmless when nothing changed (some
milliseconds; watch.py says when to make one). An interface that comes, goes, or changes its MAC is the normal case and
no error; what cannot be done now becomes a note and is tried again at the next pass. Must never: touch an interface
that has no role.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv6Address

from pyroute2 import IPRoute

from agent.compile.image import GATEWAY_NODE_ADDRESS, MapImage
from agent.dataplane import own_interface, pods, route_mtus, snat, uplinks
from agent.dataplane.errors import NodeUnfit
from agent.dataplane.fib import read_routes
from agent.dataplane.gateway_routes import reconcile_gateway_routes
from agent.dataplane.hooks import Hooks, Role, Wire, hooked_uplinks
from agent.dataplane.links import Link, read_links
from agent.dataplane.multicast import Membership, reconcile_memberships
from agent.dataplane.tables import Tables
from agent.dataplane.xdp import Accelerator
from agent.settings import Delivery, Settings


@dataclass(frozen=True, slots=True)
class Wiring:
    """After a pass: names of uplinks and pods' interfaces, memberships to remember, and notes for people.

    `xdp`: whether each uplink is accelerated, or why not; `xdp_waits`: for a backend behind an uplink. `faults` say
    what was read back to be missing, without which clients are not served, or what was to be forced.
    """

    uplinks: tuple[str, ...]
    pods: tuple[str, ...]
    memberships: frozenset[Membership]
    notes: tuple[str, ...]
    faults: tuple[str, ...] = ()
    xdp: Mapping[str, str] = field(default_factory=dict)
    xdp_waits: bool = False


class Interfaces:
    """Reconciles them for programs that were loaded with `local_ifindex`."""

    def __init__(
        self,
        netlink: IPRoute,
        settings: Settings,
        tables: Tables,
        *,
        hooks: Hooks,
        accelerator: Accelerator,
        local_ifindex: int,
    ) -> None:
        self._netlink = netlink
        self._accelerator = accelerator
        self._tables = tables
        self._settings = settings
        self._hooks = hooks
        self._local_ifindex = local_ifindex

    def reconcile(self, image: MapImage, memberships: frozenset[Membership]) -> Wiring:
        """One pass. `image` is what the guards let through; `memberships` what the pass before left joined.

        Raises NodeUnfit when our own interface cannot be had under the index that the programs name; LoaderError,
        NetlinkError and OSError when the kernel refuses.
        """
        own = self._own_interface()
        attached = self._hooks.attached()
        links, routes = read_links(self._netlink), read_routes(self._netlink)
        chosen = uplinks.choose(self._settings.uplinks, links, routes, hooked_uplinks(attached))
        wanted, held = self._settings.snat_addresses, snat.read_held(self._netlink)
        backends = [x.address for x in image.backends.values() if x.state]
        found: Mapping[int, Link] = {}
        if self._settings.delivery is Delivery.REDIRECT:
            found = pods.choose(backends, links, routes)
        tagged = {x.vlan_of for x in links.values() if x.vlan_of}
        accelerated = self._accelerator.put_on(chosen.links, backends, routes, tagged)
        wires = {
            **{index: Wire(Role.POD, link) for index, link in found.items()},
            **{
                index: Wire(Role.UPLINK, link, snat.sources(wanted, index, held), index in accelerated.targets)
                for index, link in chosen.links.items()
            },
            own.index: Wire(Role.LOCAL, own),
        }
        notes = [*chosen.notes, *snat.missing(wanted, held), *self._hooks.reconcile(wires, attached)]
        self._accelerator.take_off(accelerated.on)
        own_interface.fit_mtu(self._netlink, own, chosen.links)
        addresses = [x for x, flags in image.gateways.items() if not flags & GATEWAY_NODE_ADDRESS]
        notes += route_mtus.declare(self._tables, routes)
        notes += reconcile_gateway_routes(self._netlink, own.index, addresses)
        names = tuple(sorted(x.name for x in chosen.links.values()))
        joined = reconcile_memberships(names, [x for x in addresses if isinstance(x, IPv6Address)], memberships)
        return Wiring(
            names,
            tuple(sorted(x.name for x in found.values())),
            joined,
            tuple(notes),
            (*self._faults(wires), *accelerated.faults),
            accelerated.says,
            accelerated.waits,
        )

    def _faults(self, wires: Mapping[int, Wire]) -> tuple[str, ...]:
        faults = tuple(self._hooks.faults(wires))
        if not faults:
            return ()
        there = read_links(self._netlink)  # an interface may go at any time, and that is no fault
        return tuple(self._hooks.faults({index: x for index, x in wires.items() if index in there}))

    def _own_interface(self) -> Link:
        own = own_interface.ensure(self._netlink, self._local_ifindex)
        if own.index != self._local_ifindex:
            raise NodeUnfit(
                (
                    f"{own.name} was removed and its index {self._local_ifindex} is somebody else's by now: "
                    "restart the agent, which loads the programs for the new one",
                )
            )
        return own
