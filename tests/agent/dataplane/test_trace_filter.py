"""What somebody looks for in; C out, in the words of bpf/bcc/tracer.c."""

from __future__ import annotations

import sys
from ipaddress import ip_address, ip_network

import pytest

from agent.dataplane.trace_filter import TraceFilter, expression

VERDICTS = ("VERDICT_NOT_OURS", "VERDICT_FORWARDED", "VERDICT_REPLIED", "DROP_MALFORMED", "DROP_FRAGMENT")
HOOKS = ("HOOK_UPLINK_INGRESS", "HOOK_UPLINK_EGRESS", "HOOK_LOCAL_EGRESS")


def word(text: str) -> str:
    """Four octets as a number of this machine."""
    return hex(int.from_bytes(bytes.fromhex(text), sys.byteorder))


NET4 = f"has_address4(p, {word('ffffff00')}, {word('0ac80000')})"
HOST4 = f"has_address4(p, 0xffffffff, {word('0ac8000a')})"
NET6 = f"HAS_ADDRESS6(p, 0xffffffff, {word('fd000200')}, 0x0, 0x0, 0x0, 0x0, 0x0, 0x0)"
HOST6 = (
    f"HAS_ADDRESS6(p, 0xffffffff, {word('fd000200')}, 0xffffffff, 0x0, 0xffffffff, 0x0, 0xffffffff, {word('00000010')})"
)


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (TraceFilter(), "1"),
        (TraceFilter(verdicts=frozenset({"VERDICT_REPLIED"})), "IN(0x4ULL, p->verdict)"),
        (TraceFilter(verdicts=frozenset({"DROP_MALFORMED", "DROP_FRAGMENT"})), "IN(0x18ULL, p->verdict)"),
        (TraceFilter(hooks=frozenset({"HOOK_LOCAL_EGRESS", "HOOK_UPLINK_INGRESS"})), "IN(0x5ULL, p->hook)"),
        (TraceFilter(protocols=frozenset({6})), "(is_protocol(p, 6))"),
        (TraceFilter(protocols=frozenset({58, 1})), "(is_protocol(p, 1) || is_protocol(p, 58))"),
        (TraceFilter(port=80), "has_port(p, 80)"),
        (TraceFilter(port=0), "has_port(p, 0)"),
        (TraceFilter(client=ip_network("10.200.0.0/24")), NET4),
        (TraceFilter(client=ip_network("fd00:200::/32")), NET6),
        (TraceFilter(gateway=ip_address("10.200.0.10")), HOST4),
        (TraceFilter(gateway=ip_address("fd00:200::10")), HOST6),
        (
            TraceFilter(
                frozenset({"VERDICT_FORWARDED"}),
                frozenset({"HOOK_UPLINK_EGRESS"}),
                ip_network("10.200.0.0/24"),
                ip_address("10.200.0.10"),
                443,
                frozenset({17}),
            ),
            "IN(0x2ULL, p->verdict) && IN(0x2ULL, p->hook) && (is_protocol(p, 17)) && has_port(p, 443) && "
            f"{NET4} && {HOST4}",
        ),
    ],
)
def test_expression(wanted: TraceFilter, said: str) -> None:
    assert expression(wanted, VERDICTS, HOOKS) == said
