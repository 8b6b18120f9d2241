"""The life of a UDP flow: sticky while it is used, chosen again when it was idle (RFC 4787 REQ-5: two minutes)."""

from __future__ import annotations

import pytest

from .conftest import BOTH_BUILDS
from .objects import FORWARDED, NOT_OURS, REPLIED, UDP_FLOW, UPLINK_INGRESS
from .rig import Rig
from .services import SPLIT
from .story import UDP, After, Row, backend, client, forget, replace, repool, tell, wait
from .world import Net

pytestmark = BOTH_BUILDS

STORIES: dict[str, tuple[tuple[Row, ...], After]] = {
    "a question and its answer": (
        (
            (client(data=b"question"), FORWARDED, UDP_FLOW),
            (backend(data=b"answer"), REPLIED, UDP_FLOW),
            (client(data=b""), FORWARDED, UDP_FLOW),
            (backend(data=b"!"), REPLIED, UDP_FLOW),
        ),
        After(connections=1, udp=1),
    ),
    "datagrams follow the first one": (
        (
            (client(data=b"1"), FORWARDED, UDP_FLOW),
            (repool(1),),
            (client(data=b"2"), FORWARDED, UDP_FLOW),
            (wait(25),),
            (client(data=b"3"), FORWARDED, UDP_FLOW),
            (backend(data=b"4"), REPLIED, UDP_FLOW),
        ),
        After(connections=1, udp=1),
    ),
    "one direction alone keeps it alive": (
        (
            (client(data=b"1"), FORWARDED, UDP_FLOW),
            (wait(25),),
            (backend(data=b"2"), REPLIED, UDP_FLOW),
            (wait(100),),
            (backend(data=b"3"), REPLIED, UDP_FLOW),
            (repool(1),),
            (client(data=b"4"), FORWARDED, UDP_FLOW),
        ),
        After(connections=1, udp=1),
    ),
    "never answered: forgotten after half a minute": (
        (
            (client(data=b"1"), FORWARDED, UDP_FLOW),
            (repool(1),),
            (wait(32),),
            (client(data=b"2", to=1), FORWARDED, UDP_FLOW),
        ),
        After(connections=2, udp=1),
    ),
    "idle for two minutes: the next datagram chooses again": (
        (
            (client(data=b"1"), FORWARDED, UDP_FLOW),
            (repool(1),),
            (wait(122),),
            (client(data=b"2", to=1), FORWARDED, UDP_FLOW),
            (backend(data=b"3", by=1), REPLIED, UDP_FLOW),
        ),
        After(connections=2, udp=1),
    ),
    "idle for two minutes: a late answer is nobody's": (
        (
            (client(data=b"1"), FORWARDED, UDP_FLOW),
            (wait(122),),
            (backend(data=b"2"), NOT_OURS, None),
        ),
        After(connections=1),
    ),
    "the table evicted the reply half: the request half puts it back": (
        (
            (repool(0),),
            (client(data=b"1"), FORWARDED, UDP_FLOW),
            (forget("reply"),),
            (repool(1),),
            (wait(2),),
            (client(data=b"2"), FORWARDED, UDP_FLOW),
            (backend(data=b"3"), REPLIED, UDP_FLOW),
        ),
        After(connections=1, udp=1),
    ),
    "the table evicted the request half: the reply half puts it back": (
        (
            (repool(0),),
            (client(data=b"1"), FORWARDED, UDP_FLOW),
            (forget("request"),),
            (repool(1),),
            (wait(2),),
            (backend(data=b"2"), REPLIED, UDP_FLOW),
            (client(data=b"3"), FORWARDED, UDP_FLOW),
        ),
        After(connections=1, udp=1),
    ),
    "another flow took the place of the evicted half: the rest gives way": (
        (
            (client(data=b"1"), FORWARDED, UDP_FLOW),
            (replace("reply"),),
            (repool(1),),
            (wait(2),),
            (client(data=b"2", to=1), FORWARDED, UDP_FLOW),
        ),
        # The reply half of the first backend stays alone until the table or ageing takes it.
        After(connections=2, udp=1, halves=1),
    ),
    "an answer from outside is nobody's": (
        (
            (client(data=b"1"), FORWARDED, UDP_FLOW),
            (backend(data=b"2", at=UPLINK_INGRESS), NOT_OURS, UDP_FLOW),
        ),
        After(connections=1, udp=1),
    ),
    "an answer without a question": (((backend(data=b"2"), NOT_OURS, None),), After()),
}


@pytest.mark.parametrize("story", STORIES)
def test_story(rig: Rig, net: Net, story: str) -> None:
    rows, after = STORIES[story]
    tell(rig, net, UDP, rows, after, port=SPLIT)
