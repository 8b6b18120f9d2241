"""Which of a policy's ranges decides."""

from __future__ import annotations

from ipaddress import ip_address

from agent.dataplane.apply import write_image
from agent.dataplane.policies import deciding

from .images import make_image, policy

FIRST = policy("10.0.0.0/8", "!10.66.0.0/16", "10.66.1.0/24", "!2001:db8::/32")
SECOND = policy("!10.66.1.1/32")


def test_the_longest_prefix_of_the_policy_itself_decides(loaded) -> None:
    write_image(loaded.tables, make_image(ports=(80, 81), policies={1: FIRST, 2: SECOND}))
    decided = {
        (number, source): str(found.network) if found is not None else None
        for number in (1, 2)
        for source in ("10.1.0.1", "10.66.2.1", "10.66.1.1", "11.0.0.1", "2001:db8::1", "2001:db9::1")
        for found in [deciding(loaded.tables, number, ip_address(source))]
    }
    assert {key: network for key, network in decided.items() if network} == {
        (1, "10.1.0.1"): "10.0.0.0/8",
        (1, "10.66.2.1"): "10.66.0.0/16",
        (1, "10.66.1.1"): "10.66.1.0/24",
        (1, "2001:db8::1"): "2001:db8::/32",
        (2, "10.66.1.1"): "10.66.1.1/32",
    }
