"""Two reports in, lines for the log out."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest

from agent.narrate import News, news
from agent.report import (
    AppliedReport,
    Condition,
    Conditions,
    ListenerReport,
    ObjectStatus,
    Report,
    SourceReport,
)
from agent.sources.base import SourceError

BAD, WORSE = SourceError("a.yaml", 3, "Service x", "spec", "is bad"), SourceError("b.yaml", 0, "", "", "is a FIFO")
SOURCE = SourceReport("folder x", True, 1.0)
QUIET = Report("node", 7, 1.0, 1.0, SOURCE, AppliedReport(1.0, 1.0, 0.25), uplinks=("eth0",))
SERVED = ListenerReport(1, "apps/b", "web", ("10.0.0.1",), 80, "TCP", None, None, ())
TAKEN = Condition("Accepted", "False", "PortUnavailable", "a has it", 1, "")
LOSER = ObjectStatus("Gateway", "apps", "b", (Conditions("listener web", (TAKEN,)),))


def route(*parents: str) -> ObjectStatus:
    """With parents whose ResolvedRefs is True, or False with that message."""
    conditions = (
        Condition("ResolvedRefs", "False" if x else "True", "BackendNotFound" if x else "ResolvedRefs", x, 1, "")
        for x in parents
    )
    places = tuple(Conditions(f"parent {i}", (x,)) for i, x in enumerate(conditions))
    return ObjectStatus("TCPRoute", "apps", "web", places)


NO_PORT = "Service apps/web has no TCP port 81"
LOST = News(logging.WARNING, f"TCPRoute apps/web: ResolvedRefs=False (BackendNotFound): {NO_PORT}")


@pytest.mark.parametrize(
    ("before", "after", "lines"),
    [
        ({}, {}, []),
        (
            {},
            {"source": replace(SOURCE, errors=(BAD,))},
            [News(logging.ERROR, "a.yaml:3: Service x: spec: is bad (its last good state goes on)")],
        ),
        ({"source": replace(SOURCE, errors=(BAD,))}, {"source": replace(SOURCE, errors=(BAD,))}, []),
        (
            {"source": replace(SOURCE, errors=(BAD,))},
            {"source": replace(SOURCE, errors=(BAD, WORSE))},
            [News(logging.ERROR, "b.yaml: is a FIFO (its last good state goes on)")],
        ),
        (
            {},
            {"source": replace(SOURCE, errors=(BAD, WORSE), absent=("b.yaml",))},
            [
                News(logging.ERROR, "a.yaml:3: Service x: spec: is bad (its last good state goes on)"),
                News(
                    logging.ERROR,
                    "b.yaml: is a FIFO (there is no last good state of it: NONE of its objects is in force)",
                ),
            ],
        ),
        ({"source": replace(SOURCE, errors=(BAD, WORSE))}, {"source": replace(SOURCE, errors=(BAD,))}, []),
        (
            {"source": replace(SOURCE, errors=(BAD,))},
            {},
            [News(logging.INFO, "folder x can be read in full again")],
        ),
        ({}, {"objects": (LOSER,)}, [News(logging.WARNING, "Gateway apps/b listener web is not served: a has it")]),
        (
            {"listeners": (SERVED,)},
            {"objects": (LOSER,), "listeners": ()},
            [News(logging.WARNING, "Gateway apps/b listener web is not served any more: a has it")],
        ),
        ({"objects": (LOSER,)}, {"objects": (LOSER, LOSER)}, []),
        ({"objects": (LOSER,)}, {}, []),
        ({"objects": (route(""),)}, {"objects": (route(NO_PORT),)}, [LOST]),
        ({}, {"objects": (route(NO_PORT, NO_PORT),)}, [LOST]),  # once, at however many parents
        ({"objects": (route(NO_PORT),)}, {"objects": (route(NO_PORT, NO_PORT),)}, []),
        (
            {"objects": (route(NO_PORT),)},
            {"objects": (route(""),)},
            [News(logging.INFO, "TCPRoute apps/web: ResolvedRefs=True again")],
        ),
        ({"objects": (route(NO_PORT),)}, {"objects": ()}, []),
        ({}, {"unserved": ("port taken",)}, [News(logging.WARNING, "port taken")]),
        ({"unserved": ("port taken",)}, {}, []),
        ({}, {"notes": ("rp_filter is strict",)}, [News(logging.WARNING, "rp_filter is strict")]),
        ({}, {"uplinks": ("eth0", "eth1")}, [News(logging.INFO, "uplinks: eth0, eth1")]),
        ({}, {"uplinks": ()}, [News(logging.INFO, "uplinks: none")]),
        (
            {},
            {"applied": AppliedReport(2.0, 2.0, 0.25)},
            [News(logging.INFO, "0 listeners are held by the kernel (applied and read back in 250 ms)")],
        ),
        ({}, {"applied": AppliedReport(1.0, 31.0, 0.25)}, []),  # read back once more
        ({}, {"applied": AppliedReport(2.0, 2.0, 0.25, "table full")}, []),  # the loop has said so
    ],
)
def test_only_what_is_new_is_told(before: dict[str, object], after: dict[str, object], lines: list[News]) -> None:
    assert list(news(replace(QUIET, **before), replace(QUIET, **after))) == lines  # type: ignore[arg-type]
