"""Fills a gateway's tables with established connections, by their own handshakes through its own programs.

Decides: who the clients are: CLIENTS and the addresses after them, behind the clients' segment, where nobody answers.
Rules: the programs are those that are hooked to the node's uplink (the agent may be dead); they are run on segments
that lab/flood.bpf.c makes, one after the other, a million in some seconds. The backend's answer is made there too, so a
listener of one backend is needed. Must never: write a table of the gateway's.
"""

from __future__ import annotations

import json
import os
import struct
from contextlib import ExitStack
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from lab.gateway import Gateway
from lab.lineup import LineUp
from lab.topology import GATEWAY, UPLINK, Address
from loader.attach import attachments
from loader.libbpf import checked, lib
from loader.objects import Object
from loader.spec import ObjectSpec

OBJECT: Final = Path(__file__).resolve().parent.parent / "build" / "flood.bpf.o"
CLIENTS: Final = {4: ip_address("100.64.0.1"), 6: ip_address("fd00:64::1")}
_IFINDEX_AT, _CONTEXT = 40, 192  # in, and of, struct __sk_buff
_HEADERS: Final = {4: 20 + 20, 6: 40 + 20}
_ETHERTYPE: Final = {4: 0x0800, 6: 0x86DD}


def handshakes(gateway: Gateway, pins: Path, port: int, backend: tuple[Address, int], flows: int) -> None:
    """So many new clients connect to the gateway's port, which leads to that backend. `pins`: of its hooks."""
    family = backend[0].version
    node = gateway.lab.node
    link = json.loads(node.run("ip", "-j", "link", "show", UPLINK).stdout)[0]
    peer = json.loads(gateway.lab.client.run("ip", "-j", "link", "show", "eth0").stdout)[0]
    mac, peer_mac = (bytes.fromhex(x["address"].replace(":", "")) for x in (link, peer))
    own = gateway.lab.pins / f"flood-{family}"
    with ExitStack() as stack, node.inside():
        loaded = stack.enter_context(Object.load(ObjectSpec(OBJECT), own))
        stack.callback((own / "handshakes").unlink)
        hooked = {x.program: x.program_id for x in attachments(pins) if x.ifindex == link["ifindex"]}
        fds = {}
        for number, name in enumerate(("uplink_ingress", "uplink_egress")):
            fds[number] = checked(lib().bpf_prog_get_fd_by_id(hooked[name]), f"opening {name}")
            stack.callback(os.close, fds[number])
        stack.enter_context(LineUp(loaded.program("shake"), "hooks", fds))
        loaded.map("handshakes").set(
            0,
            {
                "mac": mac,
                "peer_mac": peer_mac,
                "client": CLIENTS[family].packed.ljust(16, b"\0"),
                "gateway": GATEWAY[family].packed.ljust(16, b"\0"),
                "backend": backend[0].packed.ljust(16, b"\0"),
                "gateway_port": port,
                "backend_port": backend[1],
                "segments": 0,
            },
        )
        frame = mac + peer_mac + struct.pack(">H", _ETHERTYPE[family]) + bytes(_HEADERS[family])
        context = bytearray(_CONTEXT)
        struct.pack_into("=I", context, _IFINDEX_AT, link["ifindex"])
        loaded.program("shake").test_run(frame, ctx=bytes(context), repeat=3 * flows)
