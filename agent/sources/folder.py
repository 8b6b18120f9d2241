"""A folder of manifests as a source: read in full, then watched.

Decides: when to look again. Changes are waited for with inotify and taken together when the folder has been quiet for a
moment, so that no file is read half way through an editor's save (store.py waits again, for several updates in a row,
whatever their source); besides, everything is compared by stat(2) every few seconds, because a link's target, a folder
that was replaced as a whole and an overflown queue make no event.
Rules: nothing that happens to the folder ends the iteration.
Must never: decide what a file means (that is folder_state.py).
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import watchfiles

from agent.sources.base import Update
from agent.sources.folder_state import FolderState
from agent.sources.last_good import LastGood

log = logging.getLogger(__name__)

QUIET_MS = 50  # a change is taken when nothing more has happened for so long
AT_LATEST_MS = 1000  # ... or when the oldest one is as old as this
LOOK_MS = 250  # how long a wait for events lasts
RESCAN_SECONDS = 3.0  # between two comparisons without any event


class FolderSource:
    """Manifests in `folder`; good texts are kept under `keep_in` for the next start if that is given."""

    def __init__(self, folder: Path, keep_in: Path | None = None) -> None:
        self._folder = folder
        self._state = FolderState(folder, LastGood(keep_in, folder) if keep_in is not None else None)

    @property
    def name(self) -> str:
        """For people."""
        return f"folder {self._folder}"

    def updates(self, stop: threading.Event) -> Iterator[Update]:
        """Yield the whole state first, then every change, until `stop` is set."""
        looked = -RESCAN_SECONDS
        for touched in self._wakeups(stop):
            now = time.monotonic()
            if not touched and not self._state.unsettled and now - looked < RESCAN_SECONDS:
                continue
            looked = now
            update = self._state.read(now, touched)
            if update is not None:
                yield update

    def _wakeups(self, stop: threading.Event) -> Iterator[frozenset[str]]:
        """File names that had events, or an empty set when LOOK_MS went by."""
        yield frozenset()
        while not stop.is_set():
            watched = _identity(self._folder)
            try:
                for changes in watchfiles.watch(
                    self._folder,
                    watch_filter=None,
                    debounce=AT_LATEST_MS,
                    step=QUIET_MS,
                    stop_event=stop,
                    rust_timeout=LOOK_MS,
                    yield_on_timeout=True,
                    recursive=False,
                ):
                    yield frozenset(os.path.basename(path) for _, path in changes)
                    if _identity(self._folder) != watched:
                        break
            except (OSError, RuntimeError) as error:
                # No folder, or no inotify watch left: comparing by stat still works.
                log.debug("cannot watch %s: %s", self._folder, error)
                stop.wait(LOOK_MS / 1000)
                yield frozenset()


def _identity(folder: Path) -> tuple[int, int] | None:
    try:
        status = folder.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
