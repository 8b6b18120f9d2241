"""A packet that ended in; a line for a person, and a record for a program, out."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from ipaddress import ip_address

import pytest

from agent.dataplane.tracer import Ended
from agent.packet import ICMP, TCP, UDP, Tuple
from agent.traced import Ends, Traced, Whose, line, traced

BOOTED = datetime(2026, 1, 2, 3, 0, 0).timestamp()
CLIENT, GATEWAY, BACKEND = ip_address("10.200.0.2"), ip_address("10.200.0.10"), ip_address("10.201.0.11")
REQUEST = Tuple(TCP, CLIENT, 40000, GATEWAY, 80)
FORWARDED = Ended(
    at=245.000678,
    hook="HOOK_UPLINK_INGRESS",
    verdict="VERDICT_FORWARDED",
    ifindex=2,
    tuple=REQUEST,
    became=Tuple(TCP, CLIENT, 40000, BACKEND, 8080),
    flags=0x12,
    icmp=None,
    listener_id=4,
    backend_id=12,
    packets=1,
    bytes=60,
)
WHOSE = Whose("default/edge/web", "default/blue:8080", "10.201.0.11:8080")
NOBODY = Whose()
DROPPED = replace(
    FORWARDED, verdict="DROP_REJECT_SHARE", tuple=Tuple(UDP, CLIENT, 5, GATEWAY, 53), became=None, flags=0
)


@pytest.mark.parametrize(
    ("ended", "whose", "said"),
    [
        (
            FORWARDED,
            WHOSE,
            "forwarded         TCP 10.200.0.2:40000 -> 10.200.0.10:80 SA, 60 B, listener default/edge/web, "
            "backend default/blue:8080 10.201.0.11:8080",
        ),
        (FORWARDED, NOBODY, "forwarded         TCP 10.200.0.2:40000 -> 10.200.0.10:80 SA, 60 B"),
        (
            FORWARDED,
            Whose(endpoint="10.201.0.11:8080"),
            "forwarded         TCP 10.200.0.2:40000 -> 10.200.0.10:80 SA, 60 B, backend 10.201.0.11:8080",
        ),
        (
            replace(FORWARDED, packets=3, bytes=4000),
            NOBODY,
            "forwarded         TCP 10.200.0.2:40000 -> 10.200.0.10:80 SA, 4000 B in 3 packets",
        ),
        (
            DROPPED,
            Whose("default/edge/dns"),
            "drop reject share UDP 10.200.0.2:5 -> 10.200.0.10:53, 60 B, listener default/edge/dns",
        ),
        (
            replace(DROPPED, verdict="VERDICT_PING", tuple=Tuple(ICMP, CLIENT, 0, GATEWAY, 0), icmp=8),
            NOBODY,
            "ping              ICMP 10.200.0.2 -> 10.200.0.10 type 8, 60 B",
        ),
        (replace(DROPPED, verdict="VERDICT_NEIGHBOUR", tuple=None), NOBODY, "neighbour         not read, 60 B"),
    ],
)
def test_line(ended: Ended, whose: Whose, said: str) -> None:
    assert line(ended, BOOTED, "eth0", whose) == f"03:04:05.000678 uplink ingress eth0     {said}"


@pytest.mark.parametrize(
    ("ended", "became", "flags"),
    [(FORWARDED, Ends("10.200.0.2", 40000, "10.201.0.11", 8080), "SA"), (replace(FORWARDED, became=None), None, "SA")],
)
def test_record(ended: Ended, became: Ends | None, flags: str) -> None:
    assert traced(ended, BOOTED, "eth0", WHOSE) == Traced(
        time=BOOTED + 245.000678,
        hook="uplink_ingress",
        interface="eth0",
        verdict="forwarded",
        protocol="TCP",
        packet=Ends("10.200.0.2", 40000, "10.200.0.10", 80),
        became=became,
        flags=flags,
        icmp=None,
        listener="default/edge/web",
        backend="default/blue:8080",
        endpoint="10.201.0.11:8080",
        packets=1,
        bytes=60,
    )


def test_a_packet_without_ports_has_none_in_its_record() -> None:
    ping = replace(DROPPED, tuple=Tuple(ICMP, CLIENT, 0, GATEWAY, 0), icmp=8)
    assert traced(ping, BOOTED, "eth0", NOBODY).packet == Ends("10.200.0.2", None, "10.200.0.10", None)


def test_a_packet_that_was_not_read_has_no_protocol() -> None:
    found = traced(replace(DROPPED, tuple=None), BOOTED, "eth0", NOBODY)
    assert (found.packet, found.protocol) == (None, "")
