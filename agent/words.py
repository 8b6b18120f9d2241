"""Names of bpf/abi.h as people read them, and as label values and JSON have them.

Rules: both forms are the name in lower case without the prefix that its column says already, so that either is found
by searching bpf/abi.h without regard to case. DROP_ stays: it tells a drop from an answer.
"""

from __future__ import annotations


def label(name: str) -> str:
    """`VERDICT_REJECTED_RST` -> `rejected_rst`, `DROP_TABLE_FULL` -> `drop_table_full`, `HOOK_COUNT` -> `count`."""
    for prefix in ("VERDICT_", "HOOK_", "FLOW_"):
        name = name.removeprefix(prefix)
    return name.lower()


def words(name: str) -> str:
    """For tables: `label` with spaces."""
    return label(name).replace("_", " ")
