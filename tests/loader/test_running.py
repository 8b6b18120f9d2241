"""What a program in the kernel was loaded with."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from loader.errors import KernelError
from loader.objects import Object
from loader.program import Program
from loader.running import constants, program_array, tag
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


TC_ACT_SHOT, TC_ACT_PIPE = 2, 3  # linux/pkt_cls.h


def until_alone(program: Program) -> None:
    """The kernel empties an array some time after it was closed."""
    deadline = time.monotonic() + 10
    while program.test_run(bytes(64)).retval != TC_ACT_PIPE:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_who_is_put_into_a_program_array_stays_while_that_is_open(sample: Object) -> None:
    host, guest = sample.program("ask_guest"), sample.program("drop_all")
    assert host.test_run(bytes(64)).retval == TC_ACT_PIPE
    array = program_array(host.id, "guests")
    assert array is not None
    with array:
        array.set(0, guest.fd)
        assert host.test_run(bytes(64)).retval == TC_ACT_SHOT
    until_alone(host)


def test_a_program_array_is_neither_pinned_nor_shared(sample: Object, pin_dir: Path) -> None:
    assert not (pin_dir / "guests").exists()
    assert "guests" not in sample.maps
    with Object.load(ObjectSpec(compiled(SAMPLE)), pin_dir) as again:
        arrays = [program_array(x.program("ask_guest").id, "guests") for x in (sample, again)]
        assert len({x.id for x in arrays if x}) == 2
        for array in arrays:
            assert array is not None
            array.close()


def test_a_program_without_such_an_array(sample: Object) -> None:
    assert program_array(sample.program("drop_all").id, "guests") is None
    assert program_array(sample.program("ask_guest").id, "hosts") is None
