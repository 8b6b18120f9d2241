"""The life of a TCP flow, packet by packet (bpf/tcp_state.h has the rules)."""

from __future__ import annotations

import pytest

from .conftest import BOTH_BUILDS
from .objects import (
    ADOPTED,
    ADOPTED_BOTH,
    CLOSED,
    CLOSING,
    ESTABLISHED,
    FORWARDED,
    NO_FLOW,
    NOT_OURS,
    REPLIED,
    RESET,
    SYN,
    SYN_ACK,
    UPLINK_INGRESS,
)
from .rig import Rig
from .services import SPLIT
from .story import HANDSHAKE, TCP, After, Row, backend, client, forget, repool, tell, wait
from .world import Net

pytestmark = BOTH_BUILDS

# One further than an RST may be from what its receiver acknowledged last (bpf/tcp_state.h).
TOO_FAR = (1 << 23) + 1
# Within that, and farther than one can be who has sent nothing but a handshake and a word.
FAR_AHEAD = 5 << 20

STORIES: dict[str, tuple[tuple[Row, ...], After]] = {
    # RFC 5961 section 3: whoever guesses a tuple does not know the numbers. The ends ignore it, and so do we.
    "a blind RST costs nothing": (
        (
            *HANDSHAKE,
            (client("PA", seq=101, ack=501, data=b"ping"), FORWARDED, ESTABLISHED),
            (backend("A", seq=501, ack=105), REPLIED, ESTABLISHED),
            (client("R", seq=104), FORWARDED, ESTABLISHED),
            (client("R", seq=105 + TOO_FAR), FORWARDED, ESTABLISHED),
            (backend("R", seq=500), REPLIED, ESTABLISHED),
            (backend("RA", seq=501 + TOO_FAR, ack=105), REPLIED, ESTABLISHED),
            (client("PA", seq=105, ack=501, data=b"pong"), FORWARDED, ESTABLISHED),
            (client("R", seq=109), FORWARDED, RESET),
        ),
        After(connections=1, established=1),
    ),
    "a forged ACK lasts until the next true one": (
        (
            *HANDSHAKE,
            (client("A", seq=1, ack=501 + (1 << 29)), FORWARDED, ESTABLISHED),
            (backend("RA", seq=501, ack=101), REPLIED, ESTABLISHED),
            (client("A", seq=101, ack=501), FORWARDED, ESTABLISHED),
            (client("A", seq=1, ack=501 + (3 << 30)), FORWARDED, ESTABLISHED),
            (backend("FA", seq=501, ack=101), REPLIED, ESTABLISHED),
            (client("A", seq=101, ack=502), FORWARDED, ESTABLISHED),
            (backend("RA", seq=502, ack=101), REPLIED, RESET),
        ),
        After(connections=1, established=1),
    ),
    "an ACK may move by a whole window, and back when it was overtaken": (
        (
            *HANDSHAKE,
            (client("A", seq=101, ack=501 + (1 << 30)), FORWARDED, ESTABLISHED),
            (client("A", seq=101, ack=501), FORWARDED, ESTABLISHED),
            (client("A", seq=101, ack=501 + (1 << 30)), FORWARDED, ESTABLISHED),
            (backend("FA", seq=501 + (1 << 30), ack=101), REPLIED, CLOSING),
        ),
        After(connections=1, established=1),
    ),
    "a connection that begins at other numbers while the last one seems open": (
        (
            *HANDSHAKE,
            (client("S", seq=0x7000_0000), FORWARDED, ESTABLISHED),
            (backend("SA", seq=0x9000_0000, ack=0x7000_0001), REPLIED, ESTABLISHED),
            (client("A", seq=0x7000_0001, ack=0x9000_0001), FORWARDED, ESTABLISHED),
            (client("FA", seq=0x7000_0001, ack=0x9000_0001), FORWARDED, CLOSING),
            (backend("FA", seq=0x9000_0001, ack=0x7000_0002), REPLIED, CLOSED),
        ),
        After(connections=1, established=1),
    ),
    "an RST ahead of all that its sender has sent ends nothing, not even behind such a FIN": (
        (
            *HANDSHAKE,
            (client("PA", seq=101, ack=501, data=b"ping"), FORWARDED, ESTABLISHED),
            (client("R", seq=105 + FAR_AHEAD), FORWARDED, ESTABLISHED),
            (client("R", seq=105 + 300), FORWARDED, ESTABLISHED),
            (backend("RA", seq=501 + FAR_AHEAD, ack=105), REPLIED, ESTABLISHED),
            (client("FA", seq=105 + FAR_AHEAD, ack=501), FORWARDED, CLOSING),
            (client("R", seq=106 + FAR_AHEAD), FORWARDED, CLOSING),
            (client("R", seq=106), FORWARDED, RESET),
        ),
        After(connections=1, established=1),
    ),
    "an RST behind data that is not acknowledged yet": (
        (
            *HANDSHAKE,
            *((client("PA", seq=101 + 1400 * x, ack=501, data=b"x" * 1400), FORWARDED, ESTABLISHED) for x in range(50)),
            (client("R", seq=101 + 1400 * 50), FORWARDED, RESET),
        ),
        After(connections=1, established=1),
    ),
    "... where sequence numbers wrap": (
        (
            (client("S", seq=0xFFFFFF00), FORWARDED, SYN),
            (backend("SA", seq=0xFFFFFF00, ack=0xFFFFFF01), REPLIED, SYN_ACK),
            (client("A", seq=0xFFFFFF01, ack=0xFFFFFF01), FORWARDED, ESTABLISHED),
            (client("PA", seq=0xFFFFFF01, ack=0xFFFFFF01, data=b"x" * 1400), FORWARDED, ESTABLISHED),
            (backend("PA", seq=0xFFFFFF01, ack=0xFFFFFF01, data=b"x" * 1400), REPLIED, ESTABLISHED),
            (client("R", seq=0x479 + 400), FORWARDED, ESTABLISHED),
            (backend("FA", seq=0x479, ack=0x479), REPLIED, CLOSING),
            (client("R", seq=0x479), FORWARDED, RESET),
        ),
        After(connections=1, established=1),
    ),
    "... of a connection met in mid-stream": (
        (
            (client("PA", seq=5000, ack=6000, data=b"who knows me?"), FORWARDED, ADOPTED),
            (backend("A", seq=6000, ack=5013), REPLIED, ADOPTED_BOTH),
            (client("PA", seq=5013, ack=6000, data=b"thanks"), FORWARDED, ESTABLISHED),
            (client("R", seq=5019 + 400), FORWARDED, ESTABLISHED),
            (client("R", seq=5019), FORWARDED, RESET),
        ),
        After(connections=1, established=1),
    ),
    "a FIN that overtakes data": (
        (
            *HANDSHAKE,
            (client("FA", seq=101 + 1400, ack=501), FORWARDED, CLOSING),
            (client("PA", seq=101, ack=501, data=b"x" * 1400), FORWARDED, CLOSING),
            (backend("FA", seq=501, ack=102 + 1400), REPLIED, CLOSED),
        ),
        After(connections=1, established=1),
    ),
    "handshake, data, half-close, close, and again": (
        (
            *HANDSHAKE,
            (client("PA", seq=101, ack=501, data=b"ping"), FORWARDED, ESTABLISHED),
            (backend("A", seq=501, ack=105), REPLIED, ESTABLISHED),
            (backend("PA", seq=501, ack=105, data=b"pong!"), REPLIED, ESTABLISHED),
            (client("FA", seq=105, ack=506), FORWARDED, CLOSING),
            (backend("PA", seq=506, ack=106, data=b"still talking"), REPLIED, CLOSING),
            (client("A", seq=106, ack=519), FORWARDED, CLOSING),
            (backend("FA", seq=519, ack=106), REPLIED, CLOSED),
            (client("A", seq=106, ack=520), FORWARDED, CLOSED),
            (client("S", seq=9000), FORWARDED, SYN),
            (backend("SA", seq=7000, ack=9001), REPLIED, SYN_ACK),
            (client("A", seq=9001, ack=7001), FORWARDED, ESTABLISHED),
        ),
        After(connections=2, established=1),
    ),
    "the backend closes first": (
        (
            *HANDSHAKE,
            (backend("FPA", seq=501, ack=101, data=b"bye"), REPLIED, CLOSING),
            (backend("FPA", seq=501, ack=101, data=b"bye"), REPLIED, CLOSING),
            (client("FA", seq=101, ack=505), FORWARDED, CLOSED),
            (backend("A", seq=505, ack=102), REPLIED, CLOSED),
        ),
        After(connections=1, established=1),
    ),
    "sequence numbers wrap": (
        (
            (client("S", seq=0xFFFFFFFF), FORWARDED, SYN),
            (backend("SA", seq=0xFFFFFFFF, ack=0), REPLIED, SYN_ACK),
            (client("A", seq=0, ack=0), FORWARDED, ESTABLISHED),
        ),
        After(connections=1, established=1),
    ),
    "ECN is set up in passing": (
        (
            (client("SEC", seq=100), FORWARDED, SYN),
            (backend("SAE", seq=500, ack=101), REPLIED, SYN_ACK),
            (client("AE", seq=101, ack=501), FORWARDED, ESTABLISHED),
        ),
        After(connections=1, established=1),
    ),
    "a SYN sent again goes where the first one went": (
        (
            (repool(0),),
            (client("S", seq=100), FORWARDED, SYN),
            (repool(1),),
            (client("S", seq=100), FORWARDED, SYN),
            (backend("SA", seq=500, ack=101), REPLIED, SYN_ACK),
            (client("S", seq=100), FORWARDED, SYN_ACK),
        ),
        After(half_open=1),
    ),
    "a SYN with another number is another connection": (
        (
            (repool(0),),
            (client("S", seq=100), FORWARDED, SYN),
            (repool(1),),
            (client("S", seq=4000, to=1), FORWARDED, SYN),
            (backend("SA", seq=500, ack=101, by=1), REPLIED, SYN),
            (backend("SA", seq=500, ack=4001, by=1), REPLIED, SYN_ACK),
        ),
        After(half_open=1),
    ),
    "a SYN-ACK of another number is passed and not believed": (
        (
            (client("S", seq=100), FORWARDED, SYN),
            (backend("SA", seq=500, ack=100), REPLIED, SYN),
            (backend("SA", seq=500, ack=101 + 65536), REPLIED, SYN),
            (client("A", seq=101, ack=501), FORWARDED, SYN),
        ),
        After(half_open=1),
    ),
    "only the ACK of exactly the backend's number is believed": (
        (
            (client("S", seq=100), FORWARDED, SYN),
            (client("A", seq=101, ack=501), FORWARDED, SYN),
            (backend("SA", seq=500, ack=101), REPLIED, SYN_ACK),
            (client("A", seq=101, ack=500), FORWARDED, SYN_ACK),
            (client("A", seq=101, ack=502), FORWARDED, SYN_ACK),
            (client("A", seq=100, ack=501), FORWARDED, SYN_ACK),
            (client("A", seq=101 + 65536, ack=501), FORWARDED, SYN_ACK),
            (client("P", seq=101, ack=501, data=b"no ACK flag"), FORWARDED, SYN_ACK),
            (client("A", seq=101, ack=501), FORWARDED, ESTABLISHED),
        ),
        After(connections=1, established=1),
    ),
    "the bare ACK is lost, data completes the handshake": (
        (
            *HANDSHAKE[:2],
            (client("PA", seq=101 + 1448, ack=501, data=b"second segment"), FORWARDED, ESTABLISHED),
        ),
        After(connections=1, established=1),
    ),
    "a SYN-ACK from outside is nobody's word": (
        (
            (client("S", seq=100), FORWARDED, SYN),
            (backend("SA", seq=500, ack=101, at=UPLINK_INGRESS), NOT_OURS, SYN),
            (client("A", seq=101, ack=501), FORWARDED, SYN),
        ),
        After(half_open=1),
    ),
    "a reply from outside is nobody's word": (
        (
            *HANDSHAKE,
            (backend("RA", seq=501, ack=101, at=UPLINK_INGRESS), NOT_OURS, ESTABLISHED),
        ),
        After(connections=1, established=1),
    ),
    "the backend refuses, the client tries again": (
        (
            (client("S", seq=100), FORWARDED, SYN),
            (backend("RA", seq=0, ack=101), REPLIED, RESET),
            (client("S", seq=100), FORWARDED, SYN),
            (backend("SA", seq=500, ack=101), REPLIED, SYN_ACK),
        ),
        After(half_open=1),
    ),
    "the client gives up within the handshake": (
        (
            *HANDSHAKE[:2],
            (client("R", seq=101), FORWARDED, RESET),
            (client("S", seq=7000), FORWARDED, SYN),
        ),
        After(half_open=1),
    ),
    "the SYN-ACK comes again": (
        (
            *HANDSHAKE,
            (backend("SA", seq=500, ack=101), REPLIED, ESTABLISHED),
            (client("A", seq=101, ack=501), FORWARDED, ESTABLISHED),
        ),
        After(connections=1, established=1),
    ),
    "a blind RST from the client's side costs nothing": (
        (
            *HANDSHAKE,
            (client("R", seq=132), FORWARDED, RESET),
            (backend("A", seq=501, ack=101), REPLIED, RESET),
            (client("PA", seq=101, ack=501, data=b"alive"), FORWARDED, ESTABLISHED),
        ),
        After(connections=1, established=1),
    ),
    "a blind RST from the backend's side costs nothing": (
        (
            *HANDSHAKE,
            (client("FA", seq=101, ack=501), FORWARDED, CLOSING),
            (backend("R", seq=532), REPLIED, RESET),
            (client("A", seq=102, ack=501), FORWARDED, RESET),
            (backend("PA", seq=501, ack=102, data=b"alive"), REPLIED, CLOSING),
            (backend("FA", seq=506, ack=102), REPLIED, CLOSED),
        ),
        After(connections=1, established=1),
    ),
    "a new connection after an RST": (
        (
            *HANDSHAKE,
            (backend("RA", seq=501, ack=101), REPLIED, RESET),
            (client("S", seq=3000), FORWARDED, SYN),
            (backend("SA", seq=4000, ack=3001), REPLIED, SYN_ACK),
            (client("A", seq=3001, ack=4001), FORWARDED, ESTABLISHED),
        ),
        After(connections=2, established=1),
    ),
    "a SYN on a live flow is for the backend to judge (RFC 5961 section 4)": (
        (
            *HANDSHAKE,
            (client("S", seq=0xBEEF), FORWARDED, ESTABLISHED),
            (backend("A", seq=501, ack=101), REPLIED, ESTABLISHED),
            (client("FA", seq=101, ack=501), FORWARDED, CLOSING),
            (client("S", seq=0xBEEF), FORWARDED, CLOSING),
        ),
        After(connections=1, established=1),
    ),
    "a connection met in mid-stream is adopted when both ends go on": (
        (
            (client("PA", seq=5000, ack=6000, data=b"who knows me?"), FORWARDED, ADOPTED),
            (client("PA", seq=5000, ack=6000, data=b"who knows me?"), FORWARDED, ADOPTED),
            (backend("A", seq=6000, ack=5013), REPLIED, ADOPTED_BOTH),
            (client("PA", seq=5013, ack=6000, data=b"thanks"), FORWARDED, ESTABLISHED),
        ),
        After(connections=1, established=1),
    ),
    "a connection met in mid-stream that the backend does not know": (
        (
            (client("A", seq=5000, ack=6000), FORWARDED, ADOPTED),
            (backend("R", seq=6000), REPLIED, RESET),
            (client("A", seq=5000, ack=6000), FORWARDED, ADOPTED),
        ),
        After(half_open=1),
    ),
    "a client's reset that the backend did not believe": (
        (
            (client("S", seq=100), FORWARDED, SYN),
            (backend("SA", seq=500, ack=101), REPLIED, SYN_ACK),
            (client("R", seq=100), FORWARDED, RESET),
            (client("A", seq=101, ack=501), FORWARDED, RESET),
            (client("P", seq=101, ack=501), FORWARDED, ESTABLISHED),
        ),
        After(connections=1, established=1),
    ),
    "a backend that refuses is not made to agree by a client that knows nothing": (
        (
            (client("S", seq=100), FORWARDED, SYN),
            (backend("RA", seq=0, ack=101), REPLIED, RESET),
            (client("A", seq=101, ack=1), FORWARDED, ADOPTED),
        ),
        After(half_open=1),
    ),
    "a FIN whose number cannot be right": (
        (
            *HANDSHAKE,
            (client("FA", seq=0x7000_0000, ack=501), FORWARDED, ESTABLISHED),
        ),
        After(connections=1, established=1),
    ),
    # A backend in the middle of a handshake that nobody finished answers strangers, too (RFC 5961 section 5).
    "the middle of a stream is believed of a client only that knows where the backend is": (
        (
            (client("A", seq=5000, ack=1), FORWARDED, ADOPTED),
            (backend("A", seq=1 << 31, ack=4000), REPLIED, ADOPTED_BOTH),
            (client("A", seq=5000, ack=1), FORWARDED, ADOPTED_BOTH),
            (client("A", seq=5000, ack=(1 << 31) + (1 << 22)), FORWARDED, ADOPTED_BOTH),
            (client("P", seq=5000, ack=1 << 31), FORWARDED, ADOPTED_BOTH),
            (client("A", seq=5000, ack=(1 << 31) - 1448), FORWARDED, ESTABLISHED),
        ),
        After(connections=1, established=1),
    ),
    "... wherever that is meanwhile": (
        (
            (client("A", seq=5000, ack=0), FORWARDED, ADOPTED),
            (backend("A", seq=0xFFFFFF00, ack=5000, data=b"x" * 256), REPLIED, ADOPTED_BOTH),
            (backend("A", seq=1 << 24, ack=5000), REPLIED, ADOPTED_BOTH),
            (client("A", seq=5000, ack=1 << 24), FORWARDED, ESTABLISHED),
        ),
        After(connections=1, established=1),
    ),
    "a SYN is no middle of a stream": (
        (
            (client("A", seq=100, ack=1), FORWARDED, ADOPTED),
            (client("S", seq=100), FORWARDED, SYN),
            (backend("SA", seq=500, ack=101), REPLIED, SYN_ACK),
            (client("A", seq=101, ack=77), FORWARDED, SYN_ACK),
        ),
        After(half_open=1),
    ),
    "a SYN-ACK is no word about the middle of a stream": (
        (
            (client("A", seq=100, ack=1), FORWARDED, ADOPTED),
            (backend("SA", seq=500, ack=101), REPLIED, ADOPTED),
            (client("A", seq=101, ack=77), FORWARDED, ADOPTED),
        ),
        After(half_open=1),
    ),
    "an RST without a flow": (((client("R", seq=1), NO_FLOW, None), (client("RA", seq=1), NO_FLOW, None)), After()),
    "a SYN-ACK without a flow": (((client("SA", seq=1, ack=1), NO_FLOW, None),), After()),
    "a reply without a flow": (((backend("A", seq=1, ack=1), NOT_OURS, None),), After()),
    "a handshake is forgotten after a minute": (
        (
            *HANDSHAKE[:2],
            (wait(50),),
            (backend("SA", seq=500, ack=101), REPLIED, SYN_ACK),
            (wait(62),),
            (backend("SA", seq=500, ack=101), NOT_OURS, None),
            (client("S", seq=100), FORWARDED, SYN),
        ),
        After(half_open=1),
    ),
    "half-open: half a pair counts as absent": (
        (
            (client("S", seq=100), FORWARDED, SYN),
            (forget("reply"),),
            (client("S", seq=100), FORWARDED, SYN),
            (forget("request"),),
            (backend("SA", seq=500, ack=101), NOT_OURS, None),
            (client("S", seq=100), FORWARDED, SYN),
        ),
        After(half_open=1),
    ),
    "established: half a pair counts as absent, a SYN begins anew": (
        (
            *HANDSHAKE,
            (forget("reply"),),
            (client("S", seq=3000), FORWARDED, SYN),
            (backend("SA", seq=4000, ack=3001), REPLIED, SYN_ACK),
            (client("A", seq=3001, ack=4001), FORWARDED, ESTABLISHED),
        ),
        After(connections=2, established=1),
    ),
    "established: a reply half left alone gives way": (
        (
            *HANDSHAKE,
            (forget("request"),),
            (wait(3),),  # before that another CPU might be putting in the other half
            (backend("FA", seq=501, ack=101), NOT_OURS, None),
            (client("S", seq=3000), FORWARDED, SYN),
            (backend("SA", seq=4000, ack=3001), REPLIED, SYN_ACK),
            (client("A", seq=3001, ack=4001), FORWARDED, ESTABLISHED),
        ),
        After(connections=2, established=1),
    ),
}


@pytest.mark.parametrize("story", STORIES)
def test_story(rig: Rig, net: Net, story: str) -> None:
    rows, after = STORIES[story]
    tell(rig, net, TCP, rows, after, port=SPLIT)
