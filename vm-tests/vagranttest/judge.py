"""Whether what the client got and what both gateways counted is one story. Pure: texts in, complaints out.

Rules: everybody answered who should, by each family; no question stayed without an answer; each gateway carried some
of it; for each backend both gateways together counted exactly the connections that the client made; and `vagrant up`
told the person who typed it.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping

BACKENDS = ("backend1", "backend2")
ADDRESSES = ("192.168.61.10", "[fd00:61::10]")
NOBODY = "nobody"
_ANSWERED = re.compile(r"(?P<name>\S+) answered for (?P<address>\S+): (?P<count>\d+) times")

Answers = Mapping[tuple[str, str], int]
"""Address of the gateway, who answered -> how often."""


def answers(text: str) -> Counter[tuple[str, str]]:
    """What vagrant/ask.sh printed, anywhere in that text."""
    found: Counter[tuple[str, str]] = Counter()
    for match in _ANSWERED.finditer(text):
        found[match["address"], match["name"]] += int(match["count"])
    return found


def connections(status: str) -> Counter[str]:
    """Backend -> connections, from what `penstock status -o json` printed."""
    listeners = json.loads(status)["traffic"]["listeners"]
    found: Counter[str] = Counter()
    for backend in (backend for listener in listeners for backend in listener["backends"]):
        found[backend["name"].partition("/")[2].partition(":")[0]] += backend["connections"]
    return found


def wrong(up: str, asked: str, counted: Mapping[str, Mapping[str, int]]) -> list[str]:
    """What is not as it should be. `up` is what `vagrant up` printed, `asked` what the client got after that,
    `counted`: gateway -> backend -> connections.
    """
    got = answers(up) + answers(asked)
    return [*_untold(up, counted), *_unanswered(got), *_miscounted(got, counted)]


def _untold(up: str, gateways: Iterable[str]) -> Iterable[str]:
    if not answers(up):
        yield "`vagrant up` did not show who answered the client"
    for gateway in gateways:
        for backend in BACKENDS:
            if not re.search(rf"\b{gateway}: +default/{backend}:\d+ +\d", up):
                yield f"`vagrant up` did not show what {gateway} counted for {backend}"


def _unanswered(got: Answers) -> Iterable[str]:
    for address in ADDRESSES:
        for backend in BACKENDS:
            if not got.get((address, backend)):
                yield f"{backend} never answered for {address}"
        if failed := got.get((address, NOBODY)):
            yield f"{failed} questions to {address} had no answer"


def _miscounted(got: Answers, counted: Mapping[str, Mapping[str, int]]) -> Iterable[str]:
    for gateway, of_backends in counted.items():
        if not sum(of_backends.values()):
            yield f"{gateway} carried nothing"
    for backend in BACKENDS:
        made = sum(count for (_, name), count in got.items() if name == backend)
        seen = sum(of_backends.get(backend, 0) for of_backends in counted.values())
        if made != seen:
            yield f"{backend} answered {made} times, and the gateways together counted {seen} connections to it"
