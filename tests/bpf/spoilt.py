"""Packets that are spoilt: some octets, bits or the length are other than they were."""

from __future__ import annotations

import random

from .wire import CHECKSUM_AT, ETH, layout, with_checksums

EDGES = (0x00, 0x01, 0x7F, 0x80, 0xFE, 0xFF)


def mutated(dice: random.Random, frame: bytes) -> bytes:
    """Some octets, bits or the length changed; in half of the cases with checksums made right again."""
    made = bytearray(frame)
    for _ in range(dice.choice((0, 1, 1, 1, 2, 3, 8))):
        # The headers are where it matters, the Ethernet header seldom.
        at = dice.randrange(0 if dice.random() < 0.05 else 12, min(len(made), 100))
        if dice.random() < 0.5:
            made[at] ^= 1 << dice.randrange(8)
        else:
            made[at] = dice.choice(EDGES) if dice.random() < 0.5 else dice.randrange(256)
    if dice.random() < 0.1:
        del made[dice.randrange(ETH, len(made)) :]
    if dice.random() < 0.1:
        made += dice.randbytes(dice.choice((1, 2, 6, 200)))
    at_all = layout(bytes(made))
    if at_all is None or dice.random() < 0.5 or at_all.is_fragment:
        return bytes(made)
    field = CHECKSUM_AT.get(at_all.protocol)
    return with_checksums(bytes(made)) if field and at_all.l4 + field + 2 <= at_all.end else bytes(made)


def can_be_run(frame: bytes) -> bool:
    """The kernel runs no frame that ends within its IP header (offload.py sends those)."""
    ethertype = int.from_bytes(frame[12:14])
    return len(frame) >= ETH + {0x0800: 20, 0x86DD: 40}.get(ethertype, 0)
