"""Names of bpf/abi.h as people read them."""

from __future__ import annotations


def words(name: str) -> str:
    """`VERDICT_FORWARDED` -> `forwarded`, `DROP_TABLE_FULL` -> `drop table full`, `HOOK_COUNT` -> `count`."""
    for prefix in ("VERDICT_", "HOOK_", "FLOW_"):
        name = name.removeprefix(prefix)
    return name.lower().replace("_", " ")
