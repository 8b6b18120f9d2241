"""`python -m lab.sweep`: removes what runs that died left behind. Labs in use are left alone."""

from __future__ import annotations

from lab.topology import sweep_all

if __name__ == "__main__":
    sweep_all()
