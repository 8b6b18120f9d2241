"""What the witness tells of streams that end at the same moment."""

from __future__ import annotations

import json
import subprocess
import sys

_TELLING = """
import threading
from lab.traffic.witness import tell
threads = [threading.Thread(target=lambda: [tell({"octets": n}) for n in range(300)]) for _ in range(8)]
for x in threads: x.start()
for x in threads: x.join()
"""


def test_each_line_is_whole() -> None:
    said = subprocess.run([sys.executable, "-u", "-c", _TELLING], capture_output=True, check=True, text=True).stdout
    told = sorted(json.loads(line)["octets"] for line in said.splitlines())
    assert told == sorted([*range(300)] * 8)
