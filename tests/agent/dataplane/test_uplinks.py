"""Which interfaces are hooked as uplinks."""

from __future__ import annotations

import pytest

from agent.dataplane.fib import Route
from agent.dataplane.links import Link
from agent.dataplane.uplinks import choose


def link(index: int, name: str, *, ethernet: bool = True) -> Link:
    return Link(index, name, "", bytes(6), 1500, ethernet, 0, False)


LINKS = {
    x.index: x
    for x in (
        link(1, "lo", ethernet=False),
        link(2, "eth0"),
        link(3, "eth1"),
        link(4, "wg0", ethernet=False),
        link(5, "penstock0"),
    )
}


@pytest.mark.parametrize(
    ("wanted", "defaults", "hooked", "chosen", "note"),
    [
        (("eth1",), [], [], [3], None),
        (("eth0", "eth1"), [], [], [2, 3], None),
        (("eth0", "eth9"), [], [], [2], "uplink eth9 does not exist (yet)"),
        (("eth0",), [3], [3], [2], None),  # named ones only, whatever the routes say
        (("wg0",), [], [], [], "wg0 is not an Ethernet interface"),
        (("auto",), [2], [], [2], None),
        (("auto",), [2, 3], [], [2, 3], None),
        (("auto",), [3], [2], [2, 3], None),  # the default route moved: flows on eth0 go on
        (("auto",), [], [2], [2], None),  # the default route flaps
        (("auto",), [], [], [], "no interface carries a default route"),
        (("auto",), [2, 5], [5], [2], None),  # never our own interface
        (("auto",), [4], [], [], "wg0 is not an Ethernet interface"),
        (("auto",), [9], [8], [], "no interface carries a default route"),  # gone between two dumps
    ],
)
def test_uplinks(
    wanted: tuple[str, ...], defaults: list[int], hooked: list[int], chosen: list[int], note: str | None
) -> None:
    routes = [Route(4, 0, 0, x) for x in defaults] + [Route(4, 10 << 24, 8, 3)]
    uplinks = choose(wanted, LINKS, routes, hooked)
    assert sorted(uplinks.links) == chosen
    assert [note in x for x in uplinks.notes] == [True] if note else uplinks.notes == ()
