"""The table that is never evicted, attacked: a hundred thousand handshakes by senders who never see an answer.

Each attack is one of the ways to pretend a handshake without having seen the backend's sequence number. Fixed seed.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from .conftest import OpenRig
from .objects import ESTABLISHED, FORWARDED, NOT_OURS, REPLIED, SYN, SYN_ACK, UPLINK_EGRESS, UPLINK_INGRESS
from .rig import Rig
from .services import BACKEND_PORT, SERVED, TCP
from .story import Story, backend, between, client
from .wire import ETH
from .world import NETS, V4, Net

SPOOFED = 100_000 // len(NETS)
BETWEEN = 1000  # spoofed ones between two packets of a real client


class Mould:
    """A TCP segment of one direction, whose client end and numbers are set by hand: nobody looks at checksums here."""

    def __init__(self, rig: Rig, net: Net, hook: int, flags: str, *, is_reply: bool) -> None:
        near = (net.pod, BACKEND_PORT) if is_reply else (net.gateway, SERVED)
        far = (net.client, 1)
        source, destination = (near, far) if is_reply else (far, near)
        self._hook = hook
        self._frame = rig.frame(hook, between(net, TCP, source, destination, flags))
        header, width = (20, 4) if net is V4 else (40, 16)
        l4 = ETH + header
        first = l4 - 2 * width
        self._address = slice(first + width, l4) if is_reply else slice(first, first + width)
        self._port = slice(l4 + 2, l4 + 4) if is_reply else slice(l4, l4 + 2)
        self._numbers = slice(l4 + 4, l4 + 12)

    def cast(self, address: bytes, port: int, seq: int, ack: int) -> tuple[int, bytes]:
        """(hook, frame)"""
        made = bytearray(self._frame)
        made[self._address] = address
        made[self._port] = port.to_bytes(2)
        made[self._numbers] = (seq % 2**32).to_bytes(4) + (ack % 2**32).to_bytes(4)
        return self._hook, bytes(made)


def attacks(rig: Rig, net: Net) -> Iterator[list[tuple[int, bytes]]]:
    """Without end: the packets of one spoofed client each, and what its backend says to them."""
    dice = random.Random(net.name)
    syn, ack, data = (Mould(rig, net, UPLINK_INGRESS, x, is_reply=False) for x in ("S", "A", "PA"))
    spoofed_syn_ack = Mould(rig, net, UPLINK_INGRESS, "SA", is_reply=True)
    backends_syn_ack = Mould(rig, net, UPLINK_EGRESS, "SA", is_reply=True)
    prefix = net.octets(net.far)[:-3]
    while True:
        who = (prefix + dice.randbytes(3), dice.randrange(1024, 65536))
        isn, guess, truth = (dice.getrandbits(32) for _ in range(3))
        answered = backends_syn_ack.cast(*who, truth, isn + 1)
        yield dice.choice(
            (
                # blindly
                [syn.cast(*who, isn, 0), ack.cast(*who, isn + 1, guess)],
                # the backend's answer goes elsewhere
                [syn.cast(*who, isn, 0), answered, ack.cast(*who, isn + 1, guess), data.cast(*who, isn + 1, guess)],
                # in the backend's name
                [
                    syn.cast(*who, isn, 0),
                    spoofed_syn_ack.cast(*who, guess, isn + 1),
                    ack.cast(*who, isn + 1, guess + 1),
                ],
                # as if in mid-stream, then a SYN of the same number
                [ack.cast(*who, isn, guess), syn.cast(*who, isn, 0), answered, ack.cast(*who, isn + 1, guess)],
                # as if in mid-stream, while the backend repeats its SYN-ACK
                [ack.cast(*who, isn, guess), answered, ack.cast(*who, isn, guess)],
            )
        )


@pytest.mark.parametrize("net", NETS, ids=lambda x: x.name)
def test_no_spoofed_handshake_is_believed_and_a_real_client_is_served(open_rig: OpenRig, net: Net) -> None:
    rig = open_rig()
    story = Story(rig, net, TCP)
    source = attacks(rig, net)
    established, half_open = rig.tables(TCP, net)
    # The real client goes on with one of these after each flood, again and again.
    conversation = [
        (client("S", seq=100), FORWARDED, SYN),
        (backend("SA", seq=500, ack=101), REPLIED, SYN_ACK),
        (client("A", seq=101, ack=501), FORWARDED, ESTABLISHED),
        (client("PA", seq=101, ack=501, data=b"ping"), FORWARDED, ESTABLISHED),
        (backend("PA", seq=501, ack=105, data=b"pong"), REPLIED, ESTABLISHED),
    ]
    for number in range(SPOOFED // BETWEEN):
        if number < len(conversation):
            segment, verdict, state = conversation[number]
        else:
            segment, verdict, state = conversation[3 + number % 2]
        story.play(segment, verdict)
        assert story.state() == state
        counted = rig.flood(packet for _ in range(BETWEEN) for packet in next(source))
        assert set(counted) <= {(UPLINK_INGRESS, FORWARDED), (UPLINK_INGRESS, NOT_OURS), (UPLINK_EGRESS, REPLIED)}
        assert rig.entries(established) == (2 if state == ESTABLISHED else 0)
    assert rig.usage()["tcp4" if net is V4 else "tcp6"] == 1
    assert rig.counted("listener_counts")[story.service.listener_id]["connections"] == 1
    assert 0 < rig.entries(half_open) <= rig.map(half_open).max_entries


def test_a_flow_stands_in_the_turnstile_once_however_often_its_promotion_is_tried(open_rig: OpenRig, net: Net) -> None:
    """Another live flow has its reply tuple in the established table for a while."""
    rig = open_rig()
    story = Story(rig, net, TCP)
    story.play(client("S", seq=100), FORWARDED)
    story.play(backend("SA", seq=500, ack=101), REPLIED)
    established = rig.map(rig.tables(TCP, net)[0])
    (_, _, _), (_, key, reply) = story.halves()
    other = {**reply, "generation": reply["generation"] ^ 0x10, "to_dport": reply["to_dport"] + 1}
    established.set(key, other)
    for _ in range(5):
        story.play(client("A", seq=101, ack=501), FORWARDED)
        assert story.state() == SYN_ACK
    assert established.delete(key)
    story.play(client("A", seq=101, ack=501), FORWARDED)
    assert story.state() == ESTABLISHED
    turnstile = rig.map("ageing_tcp4" if net is V4 else "ageing_tcp6")
    assert turnstile.pop() is not None
    assert turnstile.pop() is None
