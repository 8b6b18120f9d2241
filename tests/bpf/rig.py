"""The rig: the programs loaded into a world, and one packet at a time run through one of them.

Decides: how a run is judged whatever its test is about. The gateway that the packets meet is in services.py.
Rules: a run sees the packet at the interface of its hook, addressed to that interface; its verdict is read from the
`verdicts` map, never guessed from what came out. After every single run exactly one counter must have moved, by the
segments and by the octets from the network header on.
Must never: attach a program (taps.py does), or sleep.
"""

from __future__ import annotations

import ctypes
import struct
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scapy.layers.l2 import Ether
from scapy.packet import Packet

from loader.maps import Map, possible_cpus
from loader.objects import Object
from loader.program import Program

from . import objects as o
from .kernel import Checksums
from .loading import now
from .services import (
    BACKEND_PORT,
    FLOW_TABLES,
    HOLE,
    SERVICES,
    TCP,
    TURNSTILES,
    Json,
    Service,
    address,
    interface,
)
from .world import NETS, V4, Net, Node

REDIRECT_MARK = 0x50454E53  # settings.h


class SkBuff(ctypes.Structure):
    """struct __sk_buff of linux/bpf.h, as far as a test run takes or gives it; the rest is counted off."""

    _fields_ = (
        ("unused1", ctypes.c_uint32 * 2),
        ("mark", ctypes.c_uint32),
        ("unused2", ctypes.c_uint32 * 6),
        ("ingress_ifindex", ctypes.c_uint32),
        ("ifindex", ctypes.c_uint32),
        ("unused3", ctypes.c_uint32 * 29),
        ("wire_len", ctypes.c_uint32),
        ("gso_segs", ctypes.c_uint32),
        ("unused4", ctypes.c_uint32 * 2),
        ("gso_size", ctypes.c_uint32),
        ("unused5", ctypes.c_uint32 * 3),
    )


class XdpMd(ctypes.Structure):
    """struct xdp_md of linux/bpf.h."""

    _fields_ = tuple(
        (name, ctypes.c_uint32)
        for name in ("data", "data_end", "data_meta", "ingress_ifindex", "rx_queue_index", "egress_ifindex")
    )


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a packet: counted as, returned, and the frame and mark as the program left them."""

    verdict: int
    action: int
    packet: bytes
    mark: int


def command(frame: bytes) -> str:
    """The scapy line that makes the frame again."""
    line: str = Ether(frame).command()
    return line


_COUNT = struct.Struct("=8xQQ")  # struct verdict_count


def _total(counter: bytes) -> tuple[int, int]:
    """Packets and octets of one verdict, over all CPUs."""
    values = list(_COUNT.iter_unpack(counter))
    return sum(x for x, _ in values), sum(x for _, x in values)


class Rig:
    """The programs with one set of settings. `checksums` and `gso` say how packets come; tests set them.

    `accelerated`: packets of the uplink meet XDP first, and TC's program only if XDP passes them: then they must be as
    they were, and uncounted. What XDP ends is reported in TC's words.
    """

    def __init__(self, world: Node, loaded: Object, settings: Mapping[str, int], pins: Path) -> None:
        self.world = world
        self.object = loaded
        self.accelerated = False
        self.taken = 0  # packets that XDP ended, since the reset
        self.xdp: Program | None = None  # XDP's, loaded when somebody wants to be accelerated
        self.settings = settings
        self.pins = pins
        self.checksums = Checksums.NONE
        self._programs = {hook: loaded.program(name) for hook, name in o.PROGRAMS.items()}
        self._verdicts = loaded.map("verdicts")
        self._devices = {
            o.UPLINK_INGRESS: world.device["uplink"],
            o.UPLINK_EGRESS: world.device["uplink"],
            o.LOCAL_EGRESS: world.device["penstock0"],
            o.POD_INGRESS: world.device["pod0"],
        }
        self._before: list[bytes] = []
        self._zero: dict[str, dict[bytes, bytes]] = {"listener_counts": {}, "backend_counts": {}}
        self._configure()
        self.reset()

    # ---- state

    def map(self, name: str) -> Map:
        return self.object.map(name)

    def _configure(self) -> None:
        """Everything that an agent would have written."""
        roles = {"uplink": o.INTERFACE_UPLINK, "penstock0": o.INTERFACE_LOCAL, "pod0": o.INTERFACE_POD}
        for name, role in roles.items():
            device = self.world.device[name]
            mac = bytes.fromhex(device.mac.replace(":", ""))
            self.map("interfaces").set(device.ifindex, interface(role, mac))
        for net in NETS:
            self.map("gateways").set(address(net, net.gateway), {"flags": 0})
            self.map("gateways").set(address(net, net.node), {"flags": o.GATEWAY_NODE_ADDRESS})
        for service in SERVICES.values():
            listener = {"listener_id": service.listener_id, "pool_id": service.pool_id, "policy_id": 0}
            for gateway in (service.net.gateway, service.net.node):
                self.map("listeners").set(
                    {"address": address(service.net, gateway), "port": service.port, "protocol": service.protocol},
                    listener,
                )

    def _serve(self) -> None:
        """Every pool and backend as the agent wrote it: a test may have taken one away."""
        for service in SERVICES.values():
            empty = o.BACKEND_NONE if service.port == HOLE else o.BACKEND_REJECT
            self.fill_pool(service, service.backends or (empty,))
            for number in range(len(service.backends)):
                self.set_backend(service, number)

    def fill_pool(self, service: Service, ids: tuple[int, ...]) -> None:
        """The pool's slots hold the ids in turn."""
        slots = (ids * (o.POOL_SLOTS // len(ids) + 1))[: o.POOL_SLOTS]
        self.map("pools").set_raw(service.pool_id.to_bytes(4, "little"), struct.pack(f"<{o.POOL_SLOTS}I", *slots))

    def set_backend(
        self, service: Service, number: int = 0, *, state: int = o.BACKEND_ACTIVE, generation: int = 1
    ) -> None:
        self.map("backends").set(
            service.backends[number],
            {
                "address": address(service.net, service.addresses[number]),
                "port": BACKEND_PORT,
                "generation": generation,
                "state": state,
                "listener_id": service.listener_id,
                "ref": 0,
            },
        )

    def reset(self) -> None:
        """No flows; counters start from here; who serves, does so again."""
        self._serve()
        for name in FLOW_TABLES:
            table = self.map(name)
            table.delete_many([table.key.unpack(key) for key, _ in table.raw_items()])
        for name in TURNSTILES:
            while self.map(name).pop() is not None:
                pass
        for name in ("datagrams", "complete_datagrams", "held_fragments"):
            table = self.map(name)
            table.delete_many([table.key.unpack(key) for key, _ in table.raw_items()])
        self.map("in_force").set(0, {"set": 0, "moving_until": 0})
        held = self.map("listener_connections")
        held.set_many((i, held.value.zero) for i in range(held.max_entries))
        sources = self.map("source_connections")
        sources.set_many((i, sources.value.zero) for i in range(sources.max_entries))
        hands = self.map("ageing_in_hand")
        hands.set_many((i, hands.value.zero) for i in range(hands.max_entries))
        for name in ("flow_usage", "snat_ports"):
            self.map(name).set(0, self.map(name).value.zero)
        self.map("reply_rates").set(0, [{"second": 0, "sent": [0, 0]}] * possible_cpus())
        self._before = self._read_verdicts()
        self._zero = {name: dict(self.map(name).raw_items()) for name in self._zero}
        self.checksums = Checksums.NONE
        self.taken = 0

    def counted(self, name: str) -> dict[int, Json]:
        """listener_counts or backend_counts since the reset, summed over CPUs, without those that did not move."""
        counters, zero = self.map(name), self._zero[name]
        found: dict[int, Json] = {}
        for key, octets in counters.raw_items():
            if octets != zero[key]:
                then, now_ = (list(counters.value.unpack_many(x, counters.value.size)) for x in (zero[key], octets))
                found[int.from_bytes(key, "little")] = {
                    field: sum(x[field] for x in now_) - sum(x[field] for x in then) for field in now_[0]
                }
        return found

    def usage(self) -> Json:
        found: Json = self.map("flow_usage").get(0)
        return found

    # ---- flows

    @staticmethod
    def tables(protocol: int, net: Net) -> tuple[str, ...]:
        family = "4" if net is V4 else "6"
        return (f"tcp_flows{family}", f"half_open{family}") if protocol == TCP else (f"udp_flows{family}",)

    @staticmethod
    def key(net: Net, protocol: int, source: tuple[str, int], destination: tuple[str, int]) -> Json:
        """`struct tuple4` or `tuple6` of a packet."""
        return {
            "saddr": net.octets(source[0]),
            "daddr": net.octets(destination[0]),
            "sport": source[1],
            "dport": destination[1],
            "protocol": protocol,
            "zone": 0,
        }

    def entry(self, net: Net, key: Json) -> tuple[str, Json] | None:
        """Table and value of the half with that key."""
        for name in self.tables(key["protocol"], net):
            value = self.map(name).get(key)
            if value is not None:
                return name, value
        return None

    @staticmethod
    def twin(net: Net, key: Json, entry: Json) -> Json:
        """Key of the other half, as abi.h defines it."""
        return {
            "saddr": entry["to_daddr"]["octets"][: net.words],
            "daddr": entry["to_saddr"]["octets"][: net.words],
            "sport": entry["to_dport"],
            "dport": entry["to_sport"],
            "protocol": key["protocol"],
            "zone": 0,
        }

    @staticmethod
    def key_check(key: Json) -> int:
        """What an entry under that key must carry (bpf/flow.h)."""
        check: int = 0
        for word in struct.iter_unpack("=I", key["saddr"] + key["daddr"]):
            check = (check * 31 + word[0]) & 0xFFFFFFFF
        rest: int = (key["sport"] | key["dport"] << 16) + key["protocol"]
        return (check * 31 + rest) & 0xFFFFFFFF

    def age(self, net: Net, protocol: int, seconds: int) -> None:
        """As if no packet had come for that long, for every flow of the family and protocol."""
        for name in self.tables(protocol, net):
            table = self.map(name)
            for key, entry in list(table.items()):
                entry["seen"] = (entry["seen"] - seconds) % (1 << 32)  # the machine may be younger than that
                entry["nexthop"]["expires"] = max(0, entry["nexthop"]["expires"] - seconds)
                table.set(key, entry)

    def last_seen(self, net: Net, protocol: int, ago: int) -> None:
        """As if the last packet of every flow had come so many seconds ago, however long this machine took."""
        for name in self.tables(protocol, net):
            table = self.map(name)
            for key, entry in list(table.items()):
                table.set(key, entry | {"seen": (now() - ago) % (1 << 32)})

    def entries(self, name: str) -> int:
        return sum(1 for _ in self.map(name).raw_items())

    # ---- packets

    def device(self, hook: int) -> Any:
        """The interface that the hook is on."""
        return self._devices[o.Hook(hook)]

    def frame(self, hook: int, packet: Packet) -> bytes:
        """The IP packet as a frame for the hook's interface, checksums and lengths filled in."""
        device = self.device(hook)
        return bytes(Ether(src=device.peer_mac, dst=device.mac) / packet)

    def _read_verdicts(self) -> list[bytes]:
        """Each counter as it stands, all CPUs' values in a row."""
        return [value for _, value in self._verdicts.raw_items()]

    def verdicts(self) -> dict[tuple[int, int], int]:
        """Packets by hook and verdict, since the load."""
        return {divmod(i, o.VERDICTS): _total(x)[0] for i, x in enumerate(self._read_verdicts())}

    def flood(self, packets: Iterable[tuple[int, bytes]]) -> Counter[tuple[int, int]]:
        """Many packets, (hook, frame), judged together: how many were counted, by hook and verdict; one per packet."""
        contexts = {hook: bytes(SkBuff(ifindex=device.ifindex)) for hook, device in self._devices.items()}
        sent, before = 0, self.verdicts()
        for hook, frame in packets:
            self._programs[o.Hook(hook)].test_run(frame, ctx=contexts[o.Hook(hook)])
            sent += 1
        self._before = self._read_verdicts()
        counted = Counter(self.verdicts())
        counted.subtract(before)
        assert counted.total() == sent
        return +counted

    def run(
        self,
        hook: int,
        frame: bytes,
        *,
        gso_size: int = 0,
        gso_segs: int = 0,
        mark: int = 0,
        checksums: Checksums | None = None,
    ) -> Outcome:
        """One packet through the program of the hook. `checksums`: other than the rig's."""
        if self.accelerated and hook == o.UPLINK_INGRESS and not gso_size:
            taken = self.run_xdp(frame)
            if taken is not None:
                return taken
        context = SkBuff(ifindex=self.device(hook).ifindex, mark=mark, gso_size=gso_size, gso_segs=gso_segs)
        result = self._programs[o.Hook(hook)].test_run(
            frame, ctx=bytes(context), flags=(checksums or self.checksums).value
        )
        verdict = self._counted_as(hook, frame, gso_segs or 1)
        action = result.retval - (1 << 32) if result.retval >> 31 else result.retval
        return Outcome(verdict, action, result.data, SkBuff.from_buffer_copy(result.ctx).mark)

    def run_xdp(self, frame: bytes) -> Outcome | None:
        """One frame through XDP's program on the uplink. None: it was passed, as it came, and nothing was counted."""
        assert self.xdp is not None
        device = self.device(o.UPLINK_INGRESS)
        context = XdpMd(data_end=len(frame), ingress_ifindex=device.ifindex)
        result = self.xdp.test_run(frame, ctx=bytes(context))
        if result.retval == o.XDP_PASS:
            assert result.data == frame, f"XDP passed it, but not as it came: {command(frame)}"
            assert self._read_verdicts() == self._before, f"XDP passed it, and counted it: {command(frame)}"
            return None
        self.taken += 1
        verdict = self._counted_as(o.UPLINK_XDP, frame, 1)
        if result.retval == o.XDP_DROP:
            return Outcome(verdict, o.SHOT, result.data, 0)
        assert result.retval in (o.XDP_TX, o.XDP_REDIRECT), f"XDP returned {result.retval}: {command(frame)}"
        return Outcome(verdict, o.REDIRECT, result.data, REDIRECT_MARK)

    def _counted_as(self, hook: int, frame: bytes, packets: int) -> int:
        """The verdict that has just been counted: once, with the frame's weight, under that hook."""
        after = self._read_verdicts()
        moved = [
            (i, *(x - y for x, y in zip(_total(now), _total(then), strict=True)))
            for i, (then, now) in enumerate(zip(self._before, after, strict=True))
            if now != then
        ]
        self._before = after
        weight = (packets, len(frame) - 14)
        assert [x[1:] for x in moved] == [weight], f"counted {moved}, one of {weight} is due: {command(frame)}"
        counted_hook, verdict = divmod(moved[0][0], o.VERDICTS)
        assert counted_hook == hook, f"counted under {o.Hook(counted_hook).name}: {command(frame)}"
        return verdict
