"""How far `vagrant up` has come, read from what it writes while it runs.

Rules: everything is passed on to a file; a heading ("==> gw1: Booting VM...", but no item of a list) is a machine's
phase, and the machine that was named last is the one to look at when it ends there.
"""

import re
from collections.abc import Mapping
from typing import TextIO

from vmtest.progress import Lane

_SAID = re.compile(r"^(?:==>|   ) (?P<machine>[a-z0-9]+): +(?P<text>\S.*)$")


class Follower:
    """Takes lines, and moves the lanes of the machines that they speak of."""

    def __init__(self, lanes: Mapping[str, Lane], log: TextIO) -> None:
        self.last = ""
        self.text = ""
        self._lanes = lanes
        self._log = log

    def line(self, text: str) -> None:
        """One more, with its end."""
        self.text += text
        self._log.write(text)
        self._log.flush()
        found = _SAID.match(text)
        if found is None or found["machine"] not in self._lanes:
            return
        if self.last and self.last != found["machine"]:
            self._lanes[self.last].finish("up")
        self.last = found["machine"]
        if text.startswith("==>") and not found["text"].startswith("-"):
            self._lanes[self.last].enter(found["text"])
