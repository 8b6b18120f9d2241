"""Reading a BPF ring buffer (kernel 5.8). Records are octets; who knows their type unpacks them with `Btf.struct`.

Rules: one reader per buffer; a record is copied out before the kernel may use its room again. Nothing is lost here, but
a program that finds the buffer full drops its record, and only the program can count that.
"""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

from loader.errors import LoaderError, from_errno
from loader.libbpf import checked, ffi, lib
from loader.maps import Map


class RingBuffer:
    """The reading end of a ring-buffer map. Owns a mapping of its memory: a context manager."""

    def __init__(self, source: Map) -> None:
        self._records: list[bytes] = []
        self._callback = ffi.callback("int(void *, void *, size_t)", self._take)
        self._ring = lib().ring_buffer__new(source.fd, self._callback, ffi.NULL, ffi.NULL)
        if self._ring == ffi.NULL:
            raise from_errno(ffi.errno, f"reading ring buffer {source.name}")

    def poll(self, timeout: float = 0.0) -> list[bytes]:
        """All records there are, oldest first; waits up to `timeout` seconds for the first."""
        if self._ring is None:
            raise LoaderError("the ring buffer is closed")
        checked(lib().ring_buffer__poll(self._ring, int(timeout * 1000)), "reading a ring buffer")
        taken, self._records = self._records, []
        return taken

    def fileno(self) -> int:
        """Readable when there are records: for select and event loops."""
        return int(lib().ring_buffer__epoll_fd(self._ring))

    def close(self) -> None:
        """Unmaps the memory."""
        if self._ring is not None:
            lib().ring_buffer__free(self._ring)
            self._ring = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _take(self, _context: Any, data: Any, size: int) -> int:
        self._records.append(bytes(ffi.buffer(data, size)))
        return 0
