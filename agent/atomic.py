"""Replacing a file so that a reader sees the old content or the new one, never a part."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path


def write_atomically(path: Path, content: bytes | Iterable[bytes], mode: int = 0o644) -> None:
    """Write `content`, or its pieces, to `path` through a temporary file beside it and rename(2). Raises OSError."""
    fd, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(fd, "wb") as file:
            os.fchmod(fd, mode)
            file.writelines((content,) if isinstance(content, bytes) else content)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
