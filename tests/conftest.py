"""What holds for every test: programs that are interrupted by tests notice it."""

from __future__ import annotations

import signal


def pytest_configure() -> None:
    """A shell has its jobs in the background ignore SIGINT (`make test &`), and what they start inherits that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
