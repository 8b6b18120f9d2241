"""What each verdict of bpf/abi.h means, for people.

Rules: one sentence for every member of `enum verdict` but the one that counts them; a test compares the two.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

MEANING: Final[Mapping[str, str]] = MappingProxyType(
    {
        "VERDICT_NOT_OURS": "It passes untouched, as if the gateway were not there.",
        "VERDICT_FORWARDED": "A request: it is rewritten, and on its way to a backend.",
        "VERDICT_REPLIED": "A reply: it is rewritten, and on its way to a client.",
        "VERDICT_REDIRECTED": "It was redirected here by the gateway, which has done with it; it goes on.",
        "VERDICT_REJECTED_RST": "It is answered with a TCP reset: the client sees `connection refused` or `reset`.",
        "VERDICT_REJECTED_ICMP": "It is answered with ICMP `port unreachable`: the client sees `connection refused`.",
        "VERDICT_REFUSED_TABLE_FULL": "It is answered with a TCP reset: the flow table has no room for a new flow.",
        "VERDICT_REFUSED_COLLISION": "It is answered with a TCP reset: no reply tuple is free for a new flow.",
        "VERDICT_REFUSED_MIDSTREAM": "It is answered with a TCP reset: nobody knows the stream that it goes on with.",
        "VERDICT_REFUSED_DENIED": "It is answered with a TCP reset or an ICMP error: a policy denies its source.",
        "VERDICT_REFUSED_LIMITED": "It is answered with a TCP reset: a policy allows its listener or source no more.",
        "VERDICT_TOO_BIG": "It is answered with ICMP: it is larger than its way on; send smaller ones.",
        "VERDICT_NEIGHBOUR": "ARP or NDP asks for a gateway's address, and is answered with this interface's MAC.",
        "VERDICT_PING": "An echo request to a gateway's address: the gateway answers it itself.",
        "VERDICT_RELATED": "An ICMP error about a flow: it is rewritten, and on its way to the end that it concerns.",
        "VERDICT_HELD": "A UDP fragment that comes before the first of its datagram: it is kept until that has come.",
        "VERDICT_RESET_LIMITED": "It ends a handshake over a policy's limit, and goes to its backend as a TCP reset.",
        "DROP_MALFORMED": "It is dropped: a header is truncated, or contradicts itself.",
        "DROP_FRAGMENT": "It is dropped: a fragment, and not of UDP; or one that overlaps, has no flow, or no room.",
        "DROP_PROTOCOL": "It is dropped: a gateway serves TCP and UDP, and answers echo requests.",
        "DROP_REJECT_SHARE": "It is dropped: it falls on the share of a backendRef that cannot be served.",
        "DROP_NO_BACKEND": "It is dropped: its listener has no pool, or the slot is empty. That is a defect.",
        "DROP_RATE_LIMITED": "It is dropped: an answer was due, but the limit of answers a second was reached.",
        "DROP_TABLE_FULL": "It is dropped: the flow table has no room for a new flow, and no answer could be sent.",
        "DROP_COLLISION": "It is dropped: no reply tuple is free for a new flow, and no answer could be sent.",
        "DROP_MIDSTREAM": "It is dropped: nobody knows the stream that it goes on with, and no answer could be sent.",
        "DROP_DENIED": "It is dropped: it would begin a flow, and a policy denies its source.",
        "DROP_LIMITED": "It is dropped: a policy allows no more connections, and no answer could be sent.",
        "DROP_NO_FLOW": "It is dropped: it has no flow, and is not worth an answer, or none can be made of it.",
        "DROP_MARTIAN": "It is dropped: its source is a gateway's address, which nobody can have.",
        "DROP_MOVING": "It is dropped: an upgrade carries the flows over and none begins; its sender tries again.",
        "DROP_INTERNAL": "It is dropped: a helper of the kernel failed. That is a defect.",
    }
)
