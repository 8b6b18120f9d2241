"""A client's flow to SERVED, of any port: many of them live beside each other in one rig. (`story` plays only one.)"""

from __future__ import annotations

from .objects import FORWARDED, REPLIED, UPLINK_EGRESS, UPLINK_INGRESS
from .rig import Rig
from .services import BACKEND_PORT, SERVED
from .story import between
from .world import Net


class Client:
    """One client port's flow to the pod, and what keeps it alive."""

    def __init__(self, rig: Rig, net: Net, protocol: int, port: int) -> None:
        self.rig, self.net, self.protocol = rig, net, protocol
        self.far, self.near, self.pod = (net.client, port), (net.gateway, SERVED), (net.pod, BACKEND_PORT)
        self.key = rig.key(net, protocol, self.far, self.near)

    def says(self, flags: str = "A", *, verdict: int = FORWARDED, **numbers: int) -> None:
        frame = self.rig.frame(UPLINK_INGRESS, between(self.net, self.protocol, self.far, self.near, flags, **numbers))
        assert self.rig.run(UPLINK_INGRESS, frame).verdict == verdict

    def hears(self, flags: str = "A", **numbers: int) -> None:
        frame = self.rig.frame(UPLINK_EGRESS, between(self.net, self.protocol, self.pod, self.far, flags, **numbers))
        assert self.rig.run(UPLINK_EGRESS, frame).verdict == REPLIED

    def connect(self) -> None:
        self.says("S", seq=100)
        self.hears("SA", seq=500, ack=101)
        self.says("A", seq=101, ack=501)

    def halves(self) -> int:
        """How many of the pair are there."""
        found = self.rig.entry(self.net, self.key)
        if found is None:
            return 0
        table, entry = found
        return 1 + (self.rig.map(table).get(self.rig.twin(self.net, self.key, entry)) is not None)

    def state(self) -> int:
        found = self.rig.entry(self.net, self.key)
        assert found is not None
        return int(found[1]["state"])
