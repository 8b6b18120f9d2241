"""A BPF object in the kernel: its programs and maps, the maps shared with others by pinning.

Decides: the order of a load - bpffs there, file open, settings written, pins compared, then and only then the kernel.
Rules: a map whose name begins with a dot is the object's own (.rodata, .bss); every other one is pinned under its name,
or found there and used, so two objects loaded with one pin directory share their maps, and an agent that starts again
finds its own. An object that is loaded beside another uses those of its maps that it names, and has the rest to itself:
nothing of it is pinned. One that is to take the place of what is pinned elsewhere has those maps that fit in common
with it, and the others new; `compare` tells beforehand. A program array is the programs' own too, and not even we hold
it open: the kernel empties it when nobody does any more, and so whoever puts a program there takes it along when he
goes, however he goes. A load that fails leaves no pin behind that it made. Closing gives the fds back, unpins nothing.
Must never: attach; remove a pin.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeAlias

from loader import bpffs, rodata
from loader.btf import Btf, raw_data
from loader.codec import Codec, octets_codec
from loader.errors import Incompatible, LoaderError, UnknownName
from loader.libbpf import checked, ffi, lib, messages, name_of, pinned_fd
from loader.maps import Map, MapType
from loader.pins import MapShape, require_compatible
from loader.program import Program
from loader.spec import ObjectSpec
from loader.verifier import load_error

_Settle: TypeAlias = Callable[[Any, MapShape, str], None]
"""What becomes of one of the maps before the load: libbpf's image of it, the shape it must have, its name."""


class Object:
    """An object that is loaded. Owns the fds of its programs and maps: a context manager."""

    def __init__(self, handle: Any, btf: Btf, maps: dict[str, Map], programs: dict[str, Program]) -> None:
        self.btf = btf
        self.maps = maps
        self.programs = programs
        self._handle = handle

    @classmethod
    def load(cls, spec: ObjectSpec, pin_dir: Path) -> Object:
        """Loads `spec`, its maps pinned under `pin_dir` (made if it is not there).

        NoBpffs, UnknownName (a setting or map that is not in the object), Incompatible (a pin of another layout),
        VerifierRejected, PermissionDenied, NotSupported.
        """
        bpffs.make_directory(pin_dir)
        return _opened(spec, lambda image, shape, name: _pin_or_reuse(image, shape, pin_dir / name))

    @classmethod
    def load_after(cls, spec: ObjectSpec, pin_dir: Path, predecessor: Path, anew: Collection[str] = ()) -> Object:
        """As `load`; what is not pinned under `pin_dir` yet is taken from under `predecessor`, and pinned here too, if
        it is there, fits and is not one of `anew`."""
        bpffs.make_directory(pin_dir)

        def inherit(image: Any, shape: MapShape, name: str) -> None:
            if not (pin_dir / name).exists() and name not in anew:
                with contextlib.suppress(Incompatible):
                    _reuse_pinned(image, shape, predecessor / name)
            _pin_or_reuse(image, shape, pin_dir / name)

        return _opened(spec, inherit)

    @staticmethod
    def shapes(spec: ObjectSpec) -> Mapping[str, MapShape]:
        """Every map that `load` would pin, as it would be. Nothing reaches the kernel. LoaderError, UnknownName."""
        handle = _open(spec.path)
        try:
            return _settled(handle, spec)[2]
        finally:
            lib().bpf_object__close(handle)

    @staticmethod
    def compare(spec: ObjectSpec, pin_dir: Path) -> Mapping[str, Incompatible | None]:
        """Every map that `load` would pin, and what is wrong with the one that is pinned under its name, if any is.

        Nothing reaches the kernel. LoaderError, UnknownName as `load`.
        """
        handle = _open(spec.path)
        try:
            _, images, shapes = _settled(handle, spec)
            return {name: _misfit(shapes[name], pin_dir / name) for name in images}
        finally:
            lib().bpf_object__close(handle)

    @classmethod
    def load_beside(cls, spec: ObjectSpec, pin_dir: Path, borrowed: Collection[str], program: str) -> Object:
        """Loads one program of `spec`: with the maps `borrowed` as they are pinned under `pin_dir`, whatever their
        sizes, and the others new.

        Pins nothing: what is new goes with the object. LoaderError (one of `borrowed` is not pinned), and as `load`.
        """

        def borrow(image: Any, shape: MapShape, name: str) -> None:
            if name in borrowed:
                _borrow(image, shape, pin_dir / name)

        return _opened(spec, borrow, program)

    def program(self, name: str) -> Program:
        """The program of that function name."""
        if name not in self.programs:
            raise UnknownName(f"no program {name}")
        return self.programs[name]

    def map(self, name: str) -> Map:
        """The map of that name."""
        if name not in self.maps:
            raise UnknownName(f"no map {name}")
        return self.maps[name]

    def close(self) -> None:
        """Gives all fds back. Pins, and what is attached, stay."""
        if self._handle is not None:
            lib().bpf_object__close(self._handle)
            self._handle = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def _open(path: Path) -> Any:
    with messages() as said:
        handle = lib().bpf_object__open_file(os.fsencode(path), ffi.NULL)
    if handle == ffi.NULL:
        error = LoaderError(f"{path} is no BPF object that can be opened: {os.strerror(ffi.errno)}")
        for line in said:
            error.add_note(line.rstrip())
        raise error
    return handle


def _opened(spec: ObjectSpec, settle: _Settle, only: str | None = None) -> Object:
    handle = _open(spec.path)
    try:
        for x in _programs(handle):
            if only is not None and name_of(lib().bpf_program__name(x)) != only:
                checked(lib().bpf_program__set_autoload(x, False), "leaving out a program")
        return _load(handle, spec, settle)
    except BaseException:
        lib().bpf_object__close(handle)
        raise


def _settled(handle: Any, spec: ObjectSpec) -> tuple[Btf, Mapping[str, Any], Mapping[str, MapShape]]:
    """With its settings written: the types, libbpf's image and the shape of each map that is shared."""
    btf = Btf(raw_data(lib().bpf_object__btf(handle)))
    images = {name_of(lib().bpf_map__name(x)): x for x in _maps(handle)}
    rodata.write(next((x for n, x in images.items() if n.endswith(rodata.SECTION)), None), btf, spec.rodata)
    shared = {n: x for n, x in images.items() if not _is_array(x) and not lib().bpf_map__is_internal(x)}
    for name, entries in spec.max_entries.items():
        if name not in shared:
            raise UnknownName(f"no map {name} in {spec.path}")
        checked(lib().bpf_map__set_max_entries(shared[name], entries), f"sizing map {name}")
    return btf, shared, {name: _shape(image, btf) for name, image in shared.items()}


def _load(handle: Any, spec: ObjectSpec, settle: _Settle) -> Object:
    btf, shared, shapes = _settled(handle, spec)
    for name, image in shared.items():
        settle(image, shapes[name], name)
    with messages() as said:
        result = lib().bpf_object__load(handle)
    if result < 0:
        raise load_error(-result, spec.path, said)
    for image in filter(_is_array, _maps(handle)):
        _let_go(lib().bpf_map__fd(image))
    maps = {n: Map(lib().bpf_map__fd(x), n, shapes[n].key, shapes[n].value) for n, x in shared.items()}
    programs = {}
    for x in filter(lib().bpf_program__autoload, _programs(handle)):
        name = name_of(lib().bpf_program__name(x))
        programs[name] = Program(lib().bpf_program__fd(x), name)
    return Object(handle, btf, maps, programs)


def _is_array(image: Any) -> bool:
    """Of programs."""
    return bool(lib().bpf_map__type(image) == MapType.PROG_ARRAY)


def _let_go(fd: int) -> None:
    """Closes the map behind `fd`. The number itself is libbpf's, which closes it with the object."""
    nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.dup2(nothing, fd, inheritable=False)
    finally:
        os.close(nothing)


def _pin_or_reuse(image: Any, wanted: MapShape, path: Path) -> None:
    if not _reuse_pinned(image, wanted, path):
        checked(lib().bpf_map__set_pin_path(image, os.fsencode(path)), f"pinning {path}")


def _reuse_pinned(image: Any, wanted: MapShape, path: Path) -> bool:
    """False if nothing is pinned there."""
    fd = pinned_fd(path, "map")
    if fd is None:
        return False
    try:
        _reuse(image, wanted, Map(fd, path.name))
    finally:
        os.close(fd)
    return True


def _misfit(wanted: MapShape, path: Path) -> Incompatible | None:
    fd = pinned_fd(path, "map")
    if fd is None:
        return None
    try:
        require_compatible(Map(fd, path.name), wanted)
    except Incompatible as error:
        return error
    finally:
        os.close(fd)
    return None


def _borrow(image: Any, wanted: MapShape, path: Path) -> None:
    with Map.open_pinned(path) as pinned:
        _reuse(image, dataclasses.replace(wanted, max_entries=pinned.max_entries), pinned)


def _reuse(image: Any, wanted: MapShape, pinned: Map) -> None:
    require_compatible(pinned, wanted)
    checked(lib().bpf_map__reuse_fd(image, pinned.fd), f"using the pinned map {pinned.name}")


def _shape(image: Any, btf: Btf) -> MapShape:
    return MapShape(
        type=lib().bpf_map__type(image),
        key=_codec(btf, lib().bpf_map__btf_key_type_id(image), lib().bpf_map__key_size(image)),
        value=_codec(btf, lib().bpf_map__btf_value_type_id(image), lib().bpf_map__value_size(image)),
        max_entries=lib().bpf_map__max_entries(image),
        flags=lib().bpf_map__map_flags(image),
    )


def _codec(btf: Btf, type_id: int, size: int) -> Codec:
    return btf.codec(type_id) if type_id else octets_codec(size)


def _maps(handle: Any) -> Iterator[Any]:
    image = lib().bpf_object__next_map(handle, ffi.NULL)
    while image != ffi.NULL:
        yield image
        image = lib().bpf_object__next_map(handle, image)


def _programs(handle: Any) -> Iterator[Any]:
    program = lib().bpf_object__next_program(handle, ffi.NULL)
    while program != ffi.NULL:
        yield program
        program = lib().bpf_object__next_program(handle, program)
