"""There and back: a data path in which a packet can be translated for ever.

PROG_RUN with repeat > 1 does not put the packet back as it was: a second run sees what the first has made of it. So two
flows are made whose rewrites undo each other, by two listeners whose backends are each other:

    client -> A:80   becomes   client -> B:8080   becomes   client -> A:80 ...      (requests)
    B:8080 -> client becomes   A:80   -> client   becomes   B:8080 -> client ...    (replies)

Both are ordinary flows of the program's own making (handshakes through its own hooks), in every run address, port and
checksums really change, and after an even number of runs the packet is the one it was: that is checked.
Rules: real interfaces of a lab stand behind the interface numbers, so that next hops are found; nothing is attached.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

from bench.prog.frames import Hook, Interface
from lab.topology import CLIENT, FAMILIES, UPLINK, Address, Lab, backend_addresses
from loader.objects import Object
from loader.spec import ObjectSpec

PODS: Final = {"a": 11, "b": 12}
PORTS: Final = {"a": 80, "b": 8080}
_TC: Final = Path(__file__).resolve().parents[2] / "build" / "tc.bpf.o"
_GENERATION: Final = 1
Interfaces = dict[Hook, Interface]
SOME_FLOWS: Final = 131072 + 16384  # flows: the default installation's


def entry_of(role: int, mac: bytes) -> dict[str, Any]:
    """`struct interface`."""
    return {"role": role, "mac": mac, "snat_sources4": 0, "snat_sources6": 0, "has_xdp": False}


@dataclass(frozen=True, slots=True)
class Setup:
    """One way of loading the programs. `more_listeners`: beside the two that are used. `flows`: room for more TCP."""

    title: str
    delivery: str
    more_listeners: int = 0
    flows: int = 0


class DataPath:
    """The programs loaded with a setup, the maps as the agent would have written them."""

    def __init__(self, loaded: Object, spec: ObjectSpec, pins: Path, setup: Setup, interfaces: Interfaces) -> None:
        self.object = loaded
        self.spec = spec
        self.pins = pins
        self.setup = setup
        self.interfaces = interfaces
        self.hooks = loaded.btf.enum("hook")
        self.verdicts = loaded.btf.enum("verdict")
        self._write()

    def program(self, hook: Hook) -> Any:
        """The program of a hook."""
        return self.object.program(hook.program)

    def counted(self, hook: Hook, verdict: str) -> int:
        """Packets that ended so at that hook since the load."""
        index = self.hooks[hook.value] * self.verdicts["VERDICT_COUNT"] + self.verdicts[verdict]
        return sum(x["packets"] for x in self.object.map("verdicts").get(int(index)))

    def is_established(self, family: int, source: tuple[Address, int], destination: tuple[Address, int]) -> bool:
        """Whether the tuple is that of an established TCP flow."""
        key = {
            "saddr": source[0].packed,
            "daddr": destination[0].packed,
            "sport": source[1],
            "dport": destination[1],
            "protocol": socket.IPPROTO_TCP,
            "zone": 0,
        }
        flow = self.object.map(f"tcp_flows{family}").get(key)
        return bool(flow) and flow["state"] == self.object.btf.enum("flow_state")["FLOW_ESTABLISHED"]

    def _write(self) -> None:
        roles = self.object.btf.enum("interface_role")
        for hook, interface in self.interfaces.items():
            role = roles["INTERFACE_POD" if hook is Hook.POD_INGRESS else "INTERFACE_UPLINK"]
            self.object.map("interfaces").set(interface.ifindex, entry_of(role, interface.mac))
        number = 0
        for family in FAMILIES:
            for name, other in (("a", "b"), ("b", "a")):
                self._listener(number, pod(name, family), PORTS[name], pod(other, family), PORTS[other])
                number += 1
        self._more_listeners()

    def _listener(self, number: int, address: Address, port: int, backend: Address, backend_port: int) -> None:
        backend_id = int(self.object.btf.enum("backend_id")["BACKEND_FIRST"]) + number
        slots = int(self.object.btf.enum("limits")["POOL_SLOTS"])
        active = self.object.btf.enum("backend_state")["BACKEND_ACTIVE"]
        self.object.map("gateways").set(_address(address), {"flags": 0})
        self.object.map("pools").set(number, {"slots": [backend_id] * slots})
        self.object.map("backends").set(
            backend_id,
            {
                "address": _address(backend),
                "port": backend_port,
                "generation": _GENERATION,
                "state": active,
                "listener_id": number,
                "ref": 0,
            },
        )
        for protocol in (socket.IPPROTO_TCP, socket.IPPROTO_UDP):
            key = {"address": _address(address), "port": port, "protocol": protocol}
            self.object.map("listeners").set(key, {"listener_id": number, "pool_id": number, "policy_id": 0})

    def _more_listeners(self) -> None:
        """A hundred ports on each of as many gateway addresses as it takes."""
        keys = []
        for number in range(self.setup.more_listeners):
            address = _address(ip_address("10.210.0.1") + number // 100)
            keys.append({"address": address, "port": 1000 + number % 100, "protocol": socket.IPPROTO_TCP})
        self.object.map("gateways").set_many([(x["address"], {"flags": 0}) for x in keys[::100]])
        self.object.map("listeners").set_many([(x, {"listener_id": 0, "pool_id": 0, "policy_id": 0}) for x in keys])


def pod(name: str, family: int) -> Address:
    """The address of A or B."""
    return backend_addresses(PODS[name])[family]


def _address(address: Address) -> dict[str, bytes]:
    return {"octets": address.packed.ljust(16, b"\0")}


def _interface(lab: Lab, name: str) -> Interface:
    link = json.loads(lab.node.run("ip", "-json", "link", "show", "dev", name).stdout)[0]
    return Interface(int(link["ifindex"]), bytes.fromhex(link["address"].replace(":", "")))


@contextlib.contextmanager
def data_path(lab: Lab, setup: Setup) -> Iterator[DataPath]:
    """The programs, loaded, in the lab's node. The calling thread must be inside its namespace while they run."""
    uplink, end = _interface(lab, UPLINK), _interface(lab, lab.host_end("b"))
    interfaces = {Hook.UPLINK_INGRESS: uplink, Hook.UPLINK_EGRESS: uplink, Hook.POD_INGRESS: end}
    for pinged in (*CLIENT.values(), *(pod(name, family) for name in PODS for family in FAMILIES)):
        # Who is a neighbour is known from now on.
        lab.node.run("ping", "-c", "1", "-W", "2", str(pinged))
    pins = lab.pins / f"{setup.delivery}-{setup.more_listeners}-{setup.flows}"
    rodata = {"delivery": int(setup.delivery == "redirect"), "reply_rate_limit": 0}
    sizes = {f"tcp_flows{family}": 2 * (setup.flows + SOME_FLOWS) for family in FAMILIES}
    pins.mkdir(parents=True)
    try:
        spec = ObjectSpec(_TC, rodata, sizes)
        with Object.load(spec, pins) as loaded:
            path = DataPath(loaded, spec, pins, setup, interfaces)
            for name in PODS:
                interface = _interface(lab, lab.host_end(name))
                role = loaded.btf.enum("interface_role")["INTERFACE_POD"]
                loaded.map("interfaces").set(interface.ifindex, entry_of(role, interface.mac))
            yield path
    finally:
        shutil.rmtree(pins)
