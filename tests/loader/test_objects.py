"""Loading an object: settings, sizes, sharing by pins, and every way it can be refused."""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from loader.errors import (
    Incompatible,
    LayoutError,
    LoaderError,
    NoBpffs,
    PermissionDenied,
    UnknownName,
    VerifierRejected,
)
from loader.libbpf import ffi, lib
from loader.maps import Map
from loader.objects import Object
from loader.spec import ObjectSpec
from tests.loader.objects import REFUSED, SAMPLE, compiled

NOBODY = 65534
FRAME = bytes(64)


@pytest.fixture
def readable(bpffs: Path) -> Path:
    """The sample where everybody may read it."""
    return Path(shutil.copy(compiled(SAMPLE), bpffs.parent))


@pytest.fixture
def nobody(bpffs: Path, readable: Path) -> Iterator[None]:
    """The test runs without privileges, on a BPF filesystem that would let it write."""
    bpffs.chmod(0o777)
    ours = itertools.takewhile(lambda x: x != Path(tempfile.gettempdir()), bpffs.parents)
    for place in (readable, *ours):
        place.chmod(0o755)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def map_ids(pin_dir: Path) -> dict[str, int]:
    """The kernel's numbers of what is pinned."""
    found = {}
    for name in os.listdir(pin_dir):
        with Map.open_pinned(pin_dir / name) as pinned:
            found[name] = pinned.id
    return found


def test_every_map_but_the_objects_own_is_pinned(sample: Object, pin_dir: Path) -> None:
    assert sorted(os.listdir(pin_dir)) == ["counts", "devices", "events", "pairs", "table", "waiting"]
    assert sorted(sample.maps) == sorted(os.listdir(pin_dir))
    assert sample.program("count_first").id > 0
    assert sample.program("count_first").verified_insns > 0


@pytest.mark.parametrize(
    ("rodata", "told"), [({}, 41), ({"answer": 1000}, 999), ({"answer": 1000, "offset": -300}, 700)]
)
def test_settings_are_written_before_the_load(pin_dir: Path, rodata: dict[str, int], told: int) -> None:
    with Object.load(ObjectSpec(compiled(SAMPLE), rodata), pin_dir) as loaded:
        assert loaded.program("tell_settings").test_run(FRAME).retval == told


def test_maps_are_sized_before_the_load(pin_dir: Path) -> None:
    with Object.load(ObjectSpec(compiled(SAMPLE), max_entries={"table": 77}), pin_dir) as loaded:
        assert loaded.map("table").max_entries == 77


def test_two_objects_share_the_maps_of_one_pin_directory(sample: Object, pin_dir: Path) -> None:
    sample.map("counts").set(0, [5] * len(sample.map("counts").get(0)))
    with Object.load(ObjectSpec(compiled(SAMPLE, "MORE_COLOURS")), pin_dir) as second:
        assert second.map("counts").id == sample.map("counts").id
        second.program("count_first").test_run(FRAME)
    assert sum(sample.map("counts").get(0)) == 5 * len(sample.map("counts").get(0)) + 1


def test_maps_outlive_the_object(pin_dir: Path) -> None:
    with Object.load(ObjectSpec(compiled(SAMPLE)), pin_dir) as first:
        first.map("pairs").set(1, {"ends": [{"mac": b"abcdef", "mtu": 9000}] * 2})
    with Map.open_pinned(pin_dir / "pairs") as pairs:
        assert pairs.get(1) == {"ends": [{"mac": b"abcdef", "mtu": 9000}] * 2}


@pytest.mark.parametrize(
    ("variant", "sizes", "field"),
    [
        ("RENUMBERED", {}, "value.colour"),
        ("UNSIGNED", {}, "value.delta"),
        ("GROWN", {}, "value.extra"),
        ("HASH_TO_LRU", {}, "type"),
        ("MORE_COLOURS", {"table": 5}, "max_entries"),
    ],
)
def test_pins_of_another_layout_are_refused_by_name_and_left_alone(
    pin_dir: Path, variant: str, sizes: dict[str, int], field: str
) -> None:
    Object.load(ObjectSpec(compiled(SAMPLE)), pin_dir).close()
    before = map_ids(pin_dir)
    with pytest.raises(Incompatible) as refused:
        Object.load(ObjectSpec(compiled(SAMPLE, variant), max_entries=sizes), pin_dir)
    assert (refused.value.map, refused.value.field) == ("table", field)
    assert map_ids(pin_dir) == before


def test_a_renamed_member_of_an_array_of_structs_is_found(sample: Object, pin_dir: Path) -> None:
    (pin_dir / "table").unlink()
    with pytest.raises(Incompatible, match=r"pairs: value\.ends\[\]\.size is absent, wanted u16\[2\] at 6"):
        Object.load(ObjectSpec(compiled(SAMPLE, "RENAMED")), pin_dir)


def test_a_pin_that_is_no_map_is_refused(sample: Object, pin_dir: Path) -> None:
    (pin_dir / "table").unlink()
    assert lib().bpf_obj_pin(sample.program("drop_all").fd, os.fsencode(pin_dir / "table")) == 0
    with pytest.raises(LoaderError, match="table is a pinned bpf-prog, not a map"):
        Object.load(ObjectSpec(compiled(SAMPLE)), pin_dir)


def test_the_verifiers_refusal_keeps_its_whole_log_and_leaves_no_pin(pin_dir: Path) -> None:
    with pytest.raises(VerifierRejected) as refused:
        Object.load(ObjectSpec(compiled(REFUSED)), pin_dir)
    assert refused.value.program == "reads_too_far"
    assert "invalid access to packet" in refused.value.log
    assert refused.value.summary
    assert "processed" in refused.value.log
    assert len(str(refused.value)) < 200
    assert os.listdir(pin_dir) == []


def test_the_verifiers_log_is_kept_when_another_library_of_the_process_took_libbpfs_messages(pin_dir: Path) -> None:
    lib().libbpf_set_print(ffi.NULL)
    with pytest.raises(VerifierRejected, match="reads_too_far"):
        Object.load(ObjectSpec(compiled(REFUSED)), pin_dir)


def test_a_place_that_is_no_bpffs_is_refused_with_the_command_that_helps(tmp_path: Path) -> None:
    with pytest.raises(NoBpffs, match=f"mount -t bpf bpf {tmp_path}/v1"):
        Object.load(ObjectSpec(compiled(SAMPLE)), tmp_path / "v1")
    assert not (tmp_path / "v1").exists()


@pytest.mark.usefixtures("nobody")
def test_without_privileges_the_error_says_so(readable: Path, bpffs: Path) -> None:
    with pytest.raises(PermissionDenied, match="root"):
        Object.load(ObjectSpec(readable), bpffs / "v1")


@pytest.mark.parametrize(
    ("rodata", "sizes", "error"),
    [
        ({"no_such_setting": 1}, {}, UnknownName),
        ({}, {"no_such_map": 1}, UnknownName),
        ({}, {".rodata": 1}, UnknownName),
        ({"offset": 1 << 15}, {}, LayoutError),
    ],
)
def test_a_wrong_spec_is_refused(
    pin_dir: Path, rodata: dict[str, int], sizes: dict[str, int], error: type[Exception]
) -> None:
    with pytest.raises(error):
        Object.load(ObjectSpec(compiled(SAMPLE), rodata, sizes), pin_dir)


@pytest.mark.parametrize("content", [None, b"", b"no ELF file"])
def test_a_file_that_is_no_object_is_refused(pin_dir: Path, tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "broken.bpf.o"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(LoaderError, match=r"broken\.bpf\.o"):
        Object.load(ObjectSpec(path), pin_dir)


def test_unknown_names_are_named(sample: Object) -> None:
    with pytest.raises(UnknownName, match="nobody"):
        sample.program("nobody")
    with pytest.raises(UnknownName, match="nobody"):
        sample.map("nobody")


def test_what_would_not_fit_is_told_before_anything_is_loaded(pin_dir: Path) -> None:
    Object.load(ObjectSpec(compiled(SAMPLE)), pin_dir).close()
    (pin_dir / "counts").unlink()
    before = map_ids(pin_dir)
    told = Object.compare(ObjectSpec(compiled(SAMPLE, "GROWN"), max_entries={"pairs": 9}), pin_dir)
    assert {name: x.field for name, x in told.items() if x} == {"table": "value.extra", "pairs": "max_entries"}
    assert {name for name, x in told.items() if not x} == {"counts", "waiting", "devices", "events"}
    assert map_ids(pin_dir) == before


def test_a_successor_has_what_fits_in_common_and_the_rest_new(pin_dir: Path) -> None:
    after = pin_dir.with_name("v2")
    for _ in range(2):  # the second time it is there already
        with (
            Object.load(ObjectSpec(compiled(SAMPLE)), pin_dir) as first,
            Object.load_after(ObjectSpec(compiled(SAMPLE, "GROWN")), after, pin_dir, ("pairs",)) as second,
        ):
            common = {name for name in first.maps if first.map(name).id == second.map(name).id}
            assert common == {"counts", "waiting", "devices", "events"}
            second.program("count_first").test_run(FRAME)
            assert map_ids(after) == {name: x.id for name, x in second.maps.items()}
    assert "extra" in second.map("table").value.zero


def test_closing_gives_every_fd_back(pin_dir: Path) -> None:
    Object.load(ObjectSpec(compiled(SAMPLE)), pin_dir).close()  # what is opened once and kept is open now
    before = os.listdir("/proc/self/fd")
    with Object.load(ObjectSpec(compiled(SAMPLE)), pin_dir):
        pass
    for variant in ("RENUMBERED", "GROWN"):
        with pytest.raises(Incompatible):
            Object.load(ObjectSpec(compiled(SAMPLE, variant)), pin_dir)
    assert os.listdir("/proc/self/fd") == before


def test_one_program_beside_another_object_shares_what_it_borrows_and_pins_nothing(pin_dir: Path) -> None:
    with Object.load(ObjectSpec(compiled(SAMPLE), max_entries={"table": 5}), pin_dir) as first:
        pins = map_ids(pin_dir)
        second = Object.load_beside(ObjectSpec(compiled(SAMPLE)), pin_dir, ("table",), "count_first")
        with second:
            assert list(second.programs) == ["count_first"]
            assert second.map("table").id == first.map("table").id
            assert second.map("counts").id != first.map("counts").id
            before = list(first.map("counts").raw_items())
            second.program("count_first").test_run(FRAME)
            assert list(first.map("counts").raw_items()) == before
        assert map_ids(pin_dir) == pins


def test_what_is_borrowed_must_be_there_and_fit(pin_dir: Path) -> None:
    with pytest.raises(LoaderError, match="no map is pinned at"):
        Object.load_beside(ObjectSpec(compiled(SAMPLE)), pin_dir, ("table",), "count_first")
    with Object.load(ObjectSpec(compiled(SAMPLE)), pin_dir), pytest.raises(Incompatible):
        Object.load_beside(ObjectSpec(compiled(SAMPLE, "RENUMBERED")), pin_dir, ("table",), "count_first")
