"""Headers of bpf/ that XDP may include, and such that need what XDP lacks: those do not compile for it.

Else a verifier would be the first to say so, on somebody's node.
"""

from __future__ import annotations

import platform
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CLANG = re.search(r"^CLANG *:= *(\S+)", (ROOT / "Makefile").read_text(), re.MULTILINE)


@pytest.mark.parametrize("lacks", ["reject.h", "deliver.h", "pull.h", "translate.h", "fragment.h"])
def test_xdp_cannot_include_what_needs_an_sk_buff(lacks: str) -> None:
    assert "poisoned" in _said(f'#define PENSTOCK_XDP\n#include "{lacks}"\n')
    assert _said(f'#include "{lacks}"\n') == ""


@pytest.mark.parametrize("shared", ["alive.h", "rewrite.h", "unanswered.h", "way_out.h"])
def test_the_core_is_for_both(shared: str) -> None:
    assert _said(f'#define PENSTOCK_XDP\n#include "{shared}"\n') == ""


def _said(source: str) -> str:
    assert CLANG is not None
    flags = ["-target", "bpf", "-fsyntax-only", "-Wall", "-Wno-unused", "-Ibpf", "-x", "c"]
    includes = f"-I/usr/include/{platform.machine()}-linux-gnu"
    done = subprocess.run(
        [CLANG[1], *flags, includes, "-"], input=source, cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done.stderr
