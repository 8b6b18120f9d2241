"""Reading back little by little sees that something is otherwise whenever reading back at once does."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agent.compile.image import ListenerEntry, ListenerKey
from agent.dataplane.apply import write_image
from agent.dataplane.changes import changes
from agent.dataplane.readback import read_state
from agent.dataplane.walk import differences
from routes.plan import Protocol

from .images import GATEWAY, GATEWAY6, backend, make_image, policy, pool

IMAGE = make_image(ports=(80, 81), pools={1: pool(2, 3), 2: pool(3)}, backends={2: backend(), 3: backend(3)})
OTHERS = [
    IMAGE,
    make_image(gateways={GATEWAY: 0, GATEWAY6: 1}, ports=(80,)),
    make_image(gateways={GATEWAY: 1}, ports=(80, 82)),
    replace(IMAGE, listeners={**IMAGE.listeners, ListenerKey(GATEWAY, 80, Protocol.TCP): ListenerEntry(1, 2)}),
    replace(IMAGE, pools={1: pool(2), 2: pool(3)}),
    replace(IMAGE, backends={2: backend(), 3: backend(3, generation=2)}),
    replace(IMAGE, backends={2: backend()}),
    replace(IMAGE, policies={1: policy("10.0.0.0/8", "!2001:db8::/32")}),
    replace(IMAGE, policies={1: policy("10.0.0.0/8", "!2001:db8::/32", flags=11)}),
    replace(IMAGE, policies={1: policy("10.0.0.0/8", "2001:db8::/32")}),
    replace(IMAGE, policies={1: policy("10.0.0.0/8"), 3: policy("!2001:db8::/32")}),
]


@pytest.mark.parametrize("held", OTHERS)
@pytest.mark.parametrize("wanted", OTHERS)
def test_a_difference_is_found_if_there_is_one(loaded, held, wanted) -> None:
    write_image(loaded.tables, held)
    at_once = changes(read_state(loaded.tables, wanted.pools), wanted).differences()
    found = [x for slice_ in differences(loaded.tables, lambda: wanted) for x in slice_]
    assert set(found) <= set(at_once)
    assert bool(found) == (held != wanted)


def test_what_is_wanted_may_change_meanwhile(loaded) -> None:
    write_image(loaded.tables, IMAGE)
    now = [IMAGE]
    for slice_ in differences(loaded.tables, lambda: now[-1]):
        assert slice_ == ()
        if len(now) == 1:
            now.append(OTHERS[4])
            write_image(loaded.tables, OTHERS[4])
