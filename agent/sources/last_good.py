"""Texts of manifest files that were good, kept over a restart of the agent.

Decides: nothing; it is a cupboard. A file that is bad when the agent starts runs on with the text kept here.
Rules: one copy per manifest file, replaced atomically, readable for its owner only (manifests may hold secrets). A
cupboard that cannot be written costs only this safety, so errors are logged and not raised.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Collection
from pathlib import Path

from agent.atomic import write_atomically

log = logging.getLogger(__name__)


class LastGood:
    """Copies of the files of one folder, under `directory`. Other folders' copies lie beside it and are left alone."""

    def __init__(self, directory: Path, folder: Path) -> None:
        mark = hashlib.sha256(str(folder.absolute()).encode()).hexdigest()[:16]
        self._directory = directory / mark

    def save(self, name: str, text: str) -> None:
        """Keep `text` as the good state of the file `name`."""
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            write_atomically(self._directory / name, text.encode(), mode=0o600)
        except OSError as error:
            log.warning("cannot keep a copy of %s: %s", name, error)

    def load(self, name: str) -> str | None:
        """The good state of the file `name`, None if there is none."""
        try:
            return (self._directory / name).read_text()
        except (OSError, UnicodeDecodeError):
            return None

    def retain(self, names: Collection[str]) -> None:
        """Forget every file that is not among `names`: it was removed while no agent was there to see."""
        try:
            kept = [x.name for x in self._directory.iterdir()]
        except OSError:
            return
        for name in set(kept) - set(names):
            self.forget(name)

    def forget(self, name: str) -> None:
        """The file `name` is gone on purpose."""
        try:
            (self._directory / name).unlink(missing_ok=True)
        except OSError as error:
            log.warning("cannot remove the copy of %s: %s", name, error)
