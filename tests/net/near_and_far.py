"""A gateway with a backend on its node, `a`, and one on another machine, `remote`, which sees the node's address.

Without offloads: a packet that is lost, doubled or late is one of a wire's.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from lab.gateway import Gateway
from lab.manifests import Listener, Pod, World, write
from lab.netns import Namespace
from lab.process import Process
from lab.servers.witness import PORT, STREAM_PORT, witness, witness_in
from lab.topology import Lab, Shape, backend_addresses
from tests.net.remote import REMOTE, UPLINK, attached
from tests.net.world import PODS

LISTENERS = {"a": (PORT, STREAM_PORT), "remote": (7010, 7011)}  # to be asked, TCP and UDP, and for streams
EITHER = 7020  # UDP: half a, half remote

WORLD = World(
    listeners=(
        *(
            Listener("TCP", port, {name: 1}, target=target)
            for name, ports in LISTENERS.items()
            for port, target in zip(ports, (PORT, STREAM_PORT), strict=True)
        ),
        *(Listener("UDP", port, {name: 1}) for name, (port, _) in LISTENERS.items()),
        Listener("UDP", EITHER, {"a": 1, "remote": 1}),
    ),
    services={"a": (Pod(PODS["a"]),), "remote": (Pod(REMOTE),)},
)

Backends = dict[str, tuple[Namespace, Process]]
"""Where each is, and its server."""


@contextmanager
def near_and_far(delivery: str) -> Iterator[tuple[Gateway, Backends]]:
    with ExitStack() as stack:
        lab = stack.enter_context(Lab("ntboth", Shape({"a": PODS["a"]}, offloads=False)))
        remote = attached(lab, stack)
        serving = witness_in(lab, remote, "remote", backend_addresses(REMOTE).values(), PORT)
        backends = {
            "a": (lab.backends["a"], stack.enter_context(witness(lab, "a"))),
            "remote": (remote, stack.enter_context(serving)),
        }
        write(WORLD, lab.directory / "manifests")
        gateway = Gateway(lab, lab.directory / "manifests", delivery=delivery, options=("--uplink", UPLINK))
        yield stack.enter_context(gateway), backends
