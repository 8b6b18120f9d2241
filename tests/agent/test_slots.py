"""What a slot depends on. That it is the programs' slot is asked in tests/agent/cli/test_explain.py: one is shown only
if it holds what they chose."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from agent.packet import TCP, UDP, Tuple
from agent.slots import slot_of, source_hash, tuple_hash

SEED = 0x70656E73
FOUR = Tuple(TCP, ip_address("10.0.0.1"), 40000, ip_address("10.0.0.2"), 80)
SIX = Tuple(UDP, ip_address("fd00::1"), 40000, ip_address("fd00::2"), 53)


@pytest.mark.parametrize("flow", [FOUR, SIX], ids=str)
def test_a_slot_is_one_of_the_pools(flow: Tuple) -> None:
    assert slot_of(flow, SEED, 4093) == tuple_hash(flow, SEED) % 4093


@pytest.mark.parametrize("flow", [FOUR, SIX], ids=str)
def test_every_part_of_a_tuple_counts(flow: Tuple) -> None:
    others = [
        flow.turned(),
        Tuple(flow.protocol, flow.source, flow.sport + 1, flow.destination, flow.dport),
        Tuple(flow.protocol, flow.source, flow.sport, flow.destination, flow.dport + 1),
        Tuple(TCP + UDP - flow.protocol, flow.source, flow.sport, flow.destination, flow.dport),
        Tuple(flow.protocol, flow.source + 1, flow.sport, flow.destination, flow.dport),
    ]
    hashes = {tuple_hash(x, SEED) for x in (flow, *others)} | {tuple_hash(flow, SEED + 1)}
    assert len(hashes) == len(others) + 2


@pytest.mark.parametrize("flow", [FOUR, SIX], ids=str)
def test_with_affinity_only_the_leading_bits_of_the_source_count(flow: Tuple) -> None:
    prefix = 24 if flow.source.version == 4 else 64
    same = Tuple(flow.protocol, flow.source + 9, flow.sport + 1, flow.destination + 1, flow.dport + 1)
    assert (
        slot_of(same, SEED, 4093, prefix) == slot_of(flow, SEED, 4093, prefix) == source_hash(flow, SEED, prefix) % 4093
    )
    other = Tuple(
        flow.protocol, flow.source + (1 << 64 if prefix == 64 else 256), flow.sport, flow.destination, flow.dport
    )
    assert source_hash(other, SEED, prefix) != source_hash(flow, SEED, prefix)
