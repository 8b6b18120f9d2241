"""One packet through the programs, against what the tables hold now, without a trace.

Decides: what a trial sees of the live flows: the packet's own, and those that a new one could collide with. A new flow
may want a reply tuple that a live one has: so the trial is repeated, with that flow there too, until nothing that it
made stands where a live entry does.
Rules: constants are those of the programs that are hooked, read from the kernel; all else is instance.py's.
What a trial cannot see: fragments that came before, and how many answers were sent this second.
"""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from types import TracebackType

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from agent.compile.image import BackendEntry, ListenerEntry, ListenerKey
from agent.dataplane import records
from agent.dataplane.errors import KernelRefused, NotInstalled, translated
from agent.dataplane.flows import Endpoint
from agent.dataplane.hooks import Role
from agent.dataplane.instance import Instance, Run
from agent.dataplane.links import name_of, node_addresses, read_links
from agent.dataplane.met import MetFlow, find, halves, reply_of
from agent.dataplane.network import require_hooks
from agent.dataplane.places import Place, Surroundings
from agent.dataplane.policies import deciding
from agent.dataplane.readback import read_backends
from agent.dataplane.tables import Tables
from agent.packet import TCP, UDP, Packet, Tuple
from agent.slots import slot_of
from loader.attach import attachments
from loader.running import constants, tag
from routes.plan import Address, Network, Protocol, SourceRange

_REPEATS = 16
_LONGEST = 3500  # octets: the kernel takes a page in a test run, less what it needs itself


@dataclass(frozen=True, slots=True)
class Asked:
    """Whom a packet, or the request of its flow, is addressed to. `gateway`: flags of table `gateways`, None: it is no
    gateway's address. `is_full`: the listener has as many connections as its policy allows; `one_source`: the network
    whose connections that policy counts together with this packet's, None: it counts none by source. `source`: what its
    policy says of the packet's source, None: nothing."""

    address: Address
    port: int
    gateway: int | None
    listener: ListenerEntry | None
    is_full: bool = False
    one_source: Network | None = None
    source: SourceRange | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the packet. `verdict` is a name of `enum verdict`; `after` the frame as the program left it.

    `met`: its flow before, as the live tables have it; `flow`: its flow after, None if it has none. `backend_id`: the
    backend of either, or what the slot held (1: the slot is rejected), 0 = none was asked for; `backend`: its entry.
    `slot`: where a new flow fell, None if it did not come to that. `way_out`: the interface by which `flow` sends
    requests, "" if that is not known. `marked`: redirected to an uplink. `snat_ports`: (lowest, highest).
    `same_build`: whether the hooked program is of the same build as the one that was run.
    """

    place: Place
    verdict: str
    redirected: bool
    marked: bool
    after: bytes
    asked: Asked | None
    met: MetFlow | None
    flow: MetFlow | None
    slot: int | None
    backend_id: int
    backend: BackendEntry | None
    way_out: str
    snat_ports: tuple[int, int]
    same_build: bool


class Trial:
    """Owns the tables' fds: a context manager."""

    def __init__(self, tables: Tables, object_dir: Path) -> None:
        self._tables = tables
        self._object_dir = object_dir

    @classmethod
    @translated()
    def open(cls, pin_dir: Path, object_dir: Path) -> Trial:
        """Raises NotInstalled when nothing is pinned, NodeUnfit without rights or where no hook is, KernelRefused."""
        with contextlib.ExitStack() as owned:
            tables = owned.enter_context(Tables.open(pin_dir, object_dir))
            require_hooks(tables.pins)
            owned.pop_all()
            return cls(tables, object_dir)

    @translated()
    def met(self, flow: Tuple | None) -> MetFlow | None:
        """The live flow of that tuple."""
        if flow is None or flow.protocol not in (TCP, UDP):
            return None
        return find(self._tables.flows, self._tables.btf, flow)

    @translated()
    def surroundings(self, flow: Tuple | None) -> Surroundings:
        """Of a packet with that tuple."""
        source = flow.source if flow else None
        roles = self._tables.btf.enum("interface_role")
        by_number = {int(roles[f"INTERFACE_{x.name}"]): x for x in Role}
        hooked = {index: by_number[x["role"]] for index, x in self._tables.interfaces.items()}
        with IPRoute() as netlink:
            way = _way_to(netlink, source) if source else 0
            return Surroundings(
                hooked, read_links(netlink), way, source in node_addresses(netlink), self._is_from_backend(flow)
            )

    @translated()
    def run(self, packet: Packet, place: Place) -> Outcome:
        """Through the program of that place. Raises NotInstalled when it is not hooked there, KernelRefused."""
        if len(packet.frame) > _LONGEST:
            raise KernelRefused(f"{len(packet.frame)} octets are more than a trial takes ({_LONGEST})")
        hooked = self._hooked(place)
        settings = constants(hooked)
        with Instance.load(self._tables, self._object_dir, settings, place.program) as instance:
            seen = [packet.flow] if packet.flow else []
            for _ in range(_REPEATS):
                run = instance.run(packet.frame, place.link.index, seen)
                flow = instance.flow(packet.flow) if packet.flow else None
                wanted = reply_of(flow) if flow else None
                if wanted is None or wanted in seen or not any(halves(self._tables.flows, wanted)):
                    break
                seen.append(wanted)
            return self._outcome(packet, place, run, flow, settings, same_build=instance.tag == tag(hooked))

    def close(self) -> None:
        """Twice is once."""
        self._tables.close()

    def __enter__(self) -> Trial:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _is_from_backend(self, flow: Tuple | None) -> bool:
        """Whether it comes from a backend's address and port, and is for no gateway's address."""
        if flow is None or self._tables.gateways.get(records.address_record(flow.destination)):
            return False
        held = read_backends(self._tables).values()
        return any((x.address, x.port) == (flow.source, flow.sport) for x in held if x.state)

    def _hooked(self, place: Place) -> int:
        """Id of the program that sees the live packets there."""
        for x in attachments(self._tables.pins):
            if x.alive and (x.program, x.ifindex) == (place.program, place.link.index):
                return x.program_id
        raise NotInstalled(
            f"{place.program} is not hooked to {place.link.name}, so no packet is seen there; an agent puts it back"
        )

    def _outcome(
        self,
        packet: Packet,
        place: Place,
        run: Run,
        flow: MetFlow | None,
        settings: Mapping[str, int],
        *,
        same_build: bool,
    ) -> Outcome:
        met = self.met(packet.flow)
        leader = flow or met
        asked = self._asked(packet, leader)
        is_new = flow is None or met is None or flow.record.generation != met.record.generation
        backend_id = (run.chosen if is_new else 0) or (leader.record.backend_id if leader else 0)
        return Outcome(
            place=place,
            verdict=run.verdict,
            redirected=run.redirected,
            marked=run.marked,
            after=run.after,
            asked=asked,
            met=met,
            flow=flow,
            slot=self._slot(packet, asked, run.chosen, settings["hash_seed"]) if is_new else None,
            backend_id=backend_id,
            backend=self._tables.endpoint(backend_id),
            way_out=name_of(flow.ifindex) if flow else "",
            snat_ports=(settings["snat_port_min"], settings["snat_port_max"]),
            same_build=same_build,
        )

    def _asked(self, packet: Packet, flow: MetFlow | None) -> Asked | None:
        if packet.tuple is None:
            return None
        to = flow.record.gateway if flow else Endpoint(packet.tuple.destination, packet.tuple.dport)
        protocol = flow.record.protocol.value if flow else packet.tuple.protocol
        gateway = self._tables.gateways.get(records.address_record(to.address))
        listener = None
        if protocol in (TCP, UDP):
            key = ListenerKey(to.address, to.port, Protocol(protocol))
            found = self._tables.listeners.get(records.listener_key_record(key))
            listener = records.listener_of(found) if found else None
        flags = gateway["flags"] if gateway else None
        if listener is None:
            return Asked(to.address, to.port, flags, None)
        source = packet.tuple.source
        said = deciding(self._tables, listener.policy_id, source) if listener.policy_id else None
        if protocol != TCP:
            return Asked(to.address, to.port, flags, listener, source=said)
        policy = self._tables.policies.get(listener.policy_id)
        return Asked(
            to.address,
            to.port,
            flags,
            listener,
            0 < policy["per_listener"] <= self._tables.listener_connections.get(listener.listener_id)["open"],
            ip_network((source, policy[f"source{source.version}"]), strict=False) if policy["per_source"] else None,
            said,
        )

    def _slot(self, packet: Packet, asked: Asked | None, chosen: int, seed: int) -> int | None:
        if not chosen or packet.flow is None or asked is None or asked.listener is None:
            return None
        pool = self._tables.pools.get(asked.listener.pool_id)
        slot = slot_of(packet.flow, seed, len(pool["slots"]), self._affinity(packet.flow, asked.listener))
        return slot if pool["slots"][slot] == chosen else None

    def _affinity(self, flow: Tuple, listener: ListenerEntry) -> int:
        policy = self._tables.policies.get(listener.policy_id)
        by_client = policy["flags"] & self._tables.btf.enum("policy_flag")["POLICY_AFFINITY"]
        return int(policy[f"affinity{flow.source.version}"]) if by_client else 0


def _way_to(netlink: IPRoute, address: Address) -> int:
    """Ifindex by which the node reaches an address, 0 if it cannot."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        (route,) = netlink.route("get", family=family, dst=str(address))
    except NetlinkError as error:
        if error.code in (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EINVAL, errno.EACCES):
            return 0
        raise
    return int(route.get_attr("RTA_OIF") or 0)
