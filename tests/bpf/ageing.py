"""Ageing as the agent starts it. The program sees real seconds: every wait is for a condition."""

from __future__ import annotations

from collections.abc import Callable

from lab.wait import until
from loader.objects import Object
from loader.spec import ObjectSpec

from . import objects as o
from .rig import Rig
from .services import SIZES

FRAME = bytes(64)


def start_ageing(rig: Rig) -> None:
    """As the agent does; the program is closed at once: the timer goes on without it."""
    with Object.load(ObjectSpec(o.AGE_OBJECT, dict(rig.settings), SIZES), rig.pins) as loaded:
        assert loaded.program("start_ageing").test_run(FRAME).retval == 0


def wait_until(is_so: Callable[[], bool], meanwhile: Callable[[], None] = lambda: None) -> None:
    def seen() -> bool:
        meanwhile()
        return is_so()

    until(seen, "ageing gets there")
