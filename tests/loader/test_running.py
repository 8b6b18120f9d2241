"""What a program in the kernel was loaded with."""

from __future__ import annotations

from pathlib import Path

import pytest

from loader.errors import KernelError
from loader.objects import Object
from loader.running import constants, tag
from loader.spec import ObjectSpec
from tests.loader.objects import SAMPLE, compiled


def test_constants_are_those_that_were_set(pin_dir: Path) -> None:
    with Object.load(ObjectSpec(compiled(SAMPLE), {"offset": 7}), pin_dir) as loaded:
        for program in loaded.programs.values():
            found = constants(program.id)
            assert found["offset"] == 7


def test_a_tag_tells_programs_apart_and_not_their_loads(sample: Object, pin_dir: Path) -> None:
    with Object.load(ObjectSpec(compiled(SAMPLE)), pin_dir) as again:
        for name, program in sample.programs.items():
            assert tag(program.id) == tag(again.program(name).id)
    assert len({tag(x.id) for x in sample.programs.values()}) > 1


def test_a_program_that_is_gone(pin_dir: Path) -> None:
    with Object.load(ObjectSpec(compiled(SAMPLE)), pin_dir) as loaded:
        number = next(iter(loaded.programs.values())).id
    with pytest.raises(KernelError, match=f"opening program {number}"):
        constants(number)
