"""The door to libbpf and bpf(2): cffi in ABI mode, so that nothing is compiled on the user's machine.

Decides: which C functions the package uses, how their failures become typed errors, and where libbpf's messages go.
Rules: declarations are those of libbpf 1.1 (Debian 12); what that version lacks goes through `bpf` (the raw system
call). A structure handed to libbpf says its size first, so newer libraries understand it too. Only 64-bit Linux
(x86_64, aarch64): there a va_list travels as a pointer. Must never: load the library at import time.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import logging
import os
import platform
import threading
from collections.abc import Iterator
from typing import Any

from cffi import FFI

from loader.errors import LoaderError, NotSupported, from_errno

_log = logging.getLogger(__name__)

ffi: Any = FFI()
ffi.cdef(
    """
    struct open_opts {
        size_t sz; const char *object_name; bool relaxed_maps; const char *pin_root_path; uint32_t unused;
        const char *kconfig; const char *btf_custom_path; char *kernel_log_buf; size_t kernel_log_size;
        uint32_t kernel_log_level; size_t pad;
    };
    struct test_run_opts {
        size_t sz; const void *data_in; void *data_out; uint32_t data_size_in; uint32_t data_size_out;
        const void *ctx_in; void *ctx_out; uint32_t ctx_size_in; uint32_t ctx_size_out;
        uint32_t retval; int repeat; uint32_t duration; uint32_t flags; uint32_t cpu; uint32_t batch_size;
    };
    struct batch_opts { size_t sz; uint64_t elem_flags; uint64_t flags; };

    struct map_info {
        uint32_t type, id, key_size, value_size, max_entries, map_flags; char name[16];
        uint32_t ifindex, btf_vmlinux_value_type_id; uint64_t netns_dev, netns_ino;
        uint32_t btf_id, btf_key_type_id, btf_value_type_id, btf_vmlinux_id; uint64_t map_extra;
    };
    struct prog_info {
        uint32_t type, id; uint8_t tag[8]; uint32_t jited_prog_len, xlated_prog_len;
        uint64_t jited_prog_insns, xlated_prog_insns, load_time; uint32_t created_by_uid, nr_map_ids;
        uint64_t map_ids; char name[16]; uint32_t ifindex, gpl_compatible; uint64_t netns_dev, netns_ino;
        uint32_t nr_jited_ksyms, nr_jited_func_lens; uint64_t jited_ksyms, jited_func_lens;
        uint32_t btf_id, func_info_rec_size; uint64_t func_info; uint32_t nr_func_info, nr_line_info;
        uint64_t line_info, jited_line_info;
        uint32_t nr_jited_line_info, line_info_rec_size, jited_line_info_rec_size, nr_prog_tags;
        uint64_t prog_tags, run_time_ns, run_cnt, recursion_misses;
        uint32_t verified_insns, attach_btf_obj_id, attach_btf_id, pad;
    };
    struct btf_info { uint64_t btf; uint32_t btf_size, id; uint64_t name; uint32_t name_len, kernel_btf; };
    /* struct bpf_link_info with the member that a TCX link fills (kernel 6.6); of an XDP link it begins the same. */
    struct tcx_link_info { uint32_t type, id, prog_id, pad; uint32_t ifindex, attach_type; char rest[64]; };
    /* union bpf_attr for BPF_LINK_CREATE with the member that TCX reads (kernel 6.6); XDP reads no such member. */
    struct tcx_link_create {
        uint32_t prog_fd, target_ifindex, attach_type, flags, relative_fd, pad; uint64_t expected_revision;
    };
    /* The same for BPF_PROG_QUERY. */
    struct tcx_query {
        uint32_t target_ifindex, attach_type, query_flags, attach_flags; uint64_t prog_ids; uint32_t count, pad;
        uint64_t prog_attach_flags, link_ids, link_attach_flags, revision;
    };

    typedef int (*print_fn)(int level, const char *format, void *arguments);
    print_fn libbpf_set_print(print_fn fn);
    int libbpf_num_possible_cpus(void);
    int libbpf_probe_bpf_helper(int prog_type, int helper_id, const void *opts);

    void *bpf_object__open_file(const char *path, const struct open_opts *opts);
    int bpf_object__load(void *object);
    void bpf_object__close(void *object);
    void *bpf_object__btf(const void *object);
    void *bpf_object__next_map(const void *object, const void *map);
    void *bpf_object__next_program(const void *object, void *program);
    const char *bpf_program__name(const void *program);
    int bpf_program__fd(const void *program);
    int bpf_program__set_autoload(void *program, bool autoload);
    bool bpf_program__autoload(const void *program);
    const char *bpf_map__name(const void *map);
    int bpf_map__fd(const void *map);
    int bpf_map__type(const void *map);
    uint32_t bpf_map__key_size(const void *map);
    uint32_t bpf_map__value_size(const void *map);
    uint32_t bpf_map__max_entries(const void *map);
    uint32_t bpf_map__map_flags(const void *map);
    uint32_t bpf_map__btf_key_type_id(const void *map);
    uint32_t bpf_map__btf_value_type_id(const void *map);
    bool bpf_map__is_internal(const void *map);
    void *bpf_map__initial_value(void *map, size_t *size);
    int bpf_map__set_max_entries(void *map, uint32_t max_entries);
    int bpf_map__set_pin_path(void *map, const char *path);
    int bpf_map__reuse_fd(void *map, int fd);

    void *btf__parse(const char *path, void *btf_ext);
    const void *btf__raw_data(const void *btf, uint32_t *size);
    void btf__free(void *btf);

    int bpf_obj_get(const char *path);
    int bpf_obj_pin(int fd, const char *path);
    int bpf_obj_get_info_by_fd(int fd, void *info, uint32_t *size);
    int bpf_btf_get_fd_by_id(uint32_t id);
    int bpf_prog_get_fd_by_id(uint32_t id);
    int bpf_map_get_fd_by_id(uint32_t id);
    int bpf_map_create(int type, const char *name, uint32_t key, uint32_t value, uint32_t entries, const void *opts);
    int bpf_prog_load(int type, const char *name, const char *license, const void *insns, size_t count, void *opts);
    int bpf_map_lookup_elem(int fd, const void *key, void *value);
    int bpf_map_lookup_and_delete_elem(int fd, const void *key, void *value);
    int bpf_map_update_elem(int fd, const void *key, const void *value, uint64_t flags);
    int bpf_map_delete_elem(int fd, const void *key);
    int bpf_map_get_next_key(int fd, const void *key, void *next);
    int bpf_map_lookup_batch(int fd, void *in, void *out, void *keys, void *values, uint32_t *n, const void *opts);
    int bpf_map_update_batch(int fd, const void *keys, const void *values, uint32_t *n, const struct batch_opts *opts);
    int bpf_map_delete_batch(int fd, const void *keys, uint32_t *n, const struct batch_opts *opts);
    int bpf_link_update(int link_fd, int program_fd, const void *opts);
    int bpf_link_detach(int link_fd);
    int bpf_xdp_attach(int ifindex, int program_fd, uint32_t flags, const void *opts);
    int bpf_xdp_detach(int ifindex, uint32_t flags, const void *opts);
    int bpf_prog_test_run_opts(int fd, struct test_run_opts *opts);

    long syscall(long number, long command, void *attr, unsigned int size);
    int statfs(const char *path, void *buffer);
    int vsnprintf(char *out, size_t size, const char *format, void *arguments);
    """
)

_NR_BPF = {"x86_64": 321, "aarch64": 280}
# Room for one message. The longest is a verifier log; the memory is mapped only as far as it is written.
_MESSAGE_MAX = 64 << 20
_uncleared: Any = ffi.new_allocator(should_clear_after_alloc=False)


@functools.cache
def libc() -> Any:
    """The C library."""
    return ffi.dlopen(None)


@functools.cache
def lib() -> Any:
    """libbpf. NotSupported where it is not installed."""
    try:
        library = ffi.dlopen("libbpf.so.1")
    except OSError as error:
        raise NotSupported("libbpf.so.1 is not installed (Debian: apt install libbpf1)") from error
    library.libbpf_set_print(_print)
    return library


def scratch(size: int) -> Any:
    """`size` octets of memory with unspecified content, freed with the object."""
    return _uncleared("char[]", size)


def checked(result: int, what: str) -> int:
    """`result` of a libbpf function that returns a negative errno, or the typed error for it."""
    if result < 0:
        raise from_errno(-result, what)
    return result


def bpf(command: int, attr: Any, what: str) -> int:
    """bpf(2) itself, with `attr` a pointer to the members of union bpf_attr that `command` reads."""
    number = _NR_BPF.get(platform.machine())
    if number is None:
        raise NotSupported(f"bpf(2) on {platform.machine()} is not known here")
    result = int(libc().syscall(number, command, attr, ffi.sizeof(attr[0])))
    return checked(result if result >= 0 else -ffi.errno, what)


def info(struct: str, fd: int, **preset: int) -> Any:
    """BPF_OBJ_GET_INFO_BY_FD into a new `struct`, some members set before; what the kernel does not know stays 0."""
    out = ffi.new(f"struct {struct} *", preset)
    size = ffi.new("uint32_t *", ffi.sizeof(out[0]))
    checked(lib().bpf_obj_get_info_by_fd(fd, out, size), "reading an object's description")
    return out


def name_of(octets: Any) -> str:
    """A NUL-terminated C string as text."""
    text: str = ffi.string(octets).decode()
    return text


def pinned_fd(path: os.PathLike[str], kind: str) -> int | None:
    """An fd of the `kind` ("map", "link") pinned at `path`; None if nothing is there, LoaderError if a stranger is."""
    fd = lib().bpf_obj_get(os.fsencode(path))
    if fd == -errno.ENOENT:
        return None
    checked(fd, f"opening the pin {os.fspath(path)}")
    found = os.readlink(f"/proc/self/fd/{fd}").removeprefix("anon_inode:").strip("[]")
    if found not in (f"bpf-{kind}", f"bpf_{kind}"):
        os.close(fd)
        raise LoaderError(f"{os.fspath(path)} is a pinned {found}, not a {kind}")
    return int(fd)


@contextlib.contextmanager
def messages() -> Iterator[list[str]]:
    """Collects libbpf's warnings of this thread; outside of it they go to the log of this module.

    libbcc (0.26) shares our libbpf and takes its messages for itself whenever it loads a program: asked for anew here.
    """
    held: list[str] = []
    lib().libbpf_set_print(_print)
    _collector.into = held
    try:
        yield held
    finally:
        _collector.into = None


class _Collector(threading.local):
    into: list[str] | None = None


_collector = _Collector()


@ffi.callback("int(int, const char *, void *)")  # type: ignore[untyped-decorator]
def _print(level: int, form: Any, arguments: Any) -> int:
    if level != 0:  # LIBBPF_WARN
        return 0
    buffer = scratch(_MESSAGE_MAX)
    libc().vsnprintf(buffer, _MESSAGE_MAX, form, arguments)
    text = ffi.string(buffer).decode(errors="replace")
    if _collector.into is None:
        _log.warning("%s", text.rstrip())
    else:
        _collector.into.append(text)
    return 0
