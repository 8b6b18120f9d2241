"""Types read from an object file: no kernel and no privilege needed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from loader.btf import Btf
from loader.errors import LayoutError, LoaderError, UnknownName
from tests.loader.objects import SAMPLE, compiled


@pytest.fixture(scope="module")
def btf() -> Btf:
    return Btf.from_object_file(compiled(SAMPLE))


def test_an_enum_is_a_python_enum_with_the_same_names_and_numbers(btf: Btf) -> None:
    assert [(x.name, int(x)) for x in btf.enum("colour")] == [("RED", 1), ("GREEN", 2)]


def test_a_struct_has_the_compilers_size_and_offsets(btf: Btf) -> None:
    record = btf.struct("record")
    assert record.size == 32
    assert [(x.path, x.offset, x.size, x.kind) for x in record.fields] == [
        ("count", 0, 8, "u64"),
        ("colour", 8, 4, "enum colour"),
        ("delta", 12, 4, "s32"),
        ("inner.mac", 16, 6, "u8[6]"),
        ("inner.mtu", 22, 2, "u16"),
        ("list", 24, 6, "u16[3]"),
        ("flag", 30, 1, "u8"),
        ("pad", 31, 1, "u8"),
    ]


def test_settings_are_variables_of_a_section(btf: Btf) -> None:
    assert {"answer", "offset"} <= btf.section(".rodata").keys()
    assert not btf.section(".no_such_section")


@pytest.mark.parametrize("ask", [lambda b: b.struct("nobody"), lambda b: b.enum("nobody"), lambda b: b.enum("record")])
def test_an_unknown_name_is_named(btf: Btf, ask: Callable[[Btf], object]) -> None:
    with pytest.raises(UnknownName, match=r"nobody|record"):
        ask(btf)


def test_a_file_without_btf_is_refused(tmp_path: Path) -> None:
    plain = tmp_path / "plain.o"
    plain.write_bytes(b"no ELF file")
    with pytest.raises(LoaderError, match=r"plain\.o"):
        Btf.from_object_file(plain)


def test_octets_that_are_not_btf_are_refused() -> None:
    with pytest.raises(LayoutError):
        Btf(bytes(64))
