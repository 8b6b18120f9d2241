"""Numbers with units, as people read them."""

from __future__ import annotations


def size(octets: float) -> str:
    """Octets with a binary unit: `12.3 MiB`."""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if octets < 1024 or unit == "TiB":
            break
        octets /= 1024
    return f"{octets:.0f} {unit}" if unit == "B" else f"{octets:.1f} {unit}"


def bits(rate: float) -> str:
    """Bits per second with a decimal unit: `1.2 Gbit/s`."""
    for unit in ("bit/s", "kbit/s", "Mbit/s", "Gbit/s"):
        if rate < 1000 or unit == "Gbit/s":
            break
        rate /= 1000
    return f"{rate:.0f} {unit}" if unit == "bit/s" else f"{rate:.1f} {unit}"
