"""What a folder of manifests says, over time: each file's last good state, merged.

Decides: which files count, what a file that is bad, half-written, empty or gone means, who wins when two files hold one
object.
Rules:
  - `*.yaml`, `*.yml`, `*.json` directly in the folder, links followed; hidden names are skipped (editors' and
    ConfigMap mounts' own).
  - A file that cannot be taken whole keeps its last good state, in memory and (when `keep` is given) over a restart.
  - A file with nothing in it, not even a comment, is one that is being written: to remove objects, remove the file. So
    is one of YAML that ends within a line and did not before: what is left of a file that was cut may well be valid.
  - A file that is gone counts as gone only when it is still gone a moment later: some editors remove, then create.
  - An object in two files stays with the file that had it first (at start: the first by name); the other is an error.
  - The order of files means nothing else.
Must never: watch or wait; the time is the caller's.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from pathlib import Path

from agent.sources import file as manifest_file
from agent.sources.base import SourceError, Update
from agent.sources.last_good import LastGood
from agent.sources.manifest import Located, Parsed, parse
from routes.objects.base import Object, ObjectKey

SUFFIXES = (".yaml", ".yml", ".json")

GONE_AFTER = 0.3  # seconds: longer than between an editor's unlink and its rename
UNFINISHED_AFTER = 3.0  # seconds: from then on a file that is still being written is reported


@dataclass(slots=True)
class _File:
    """One file as far as it was read."""

    signature: manifest_file.Signature | None = None
    digest: bytes | None = None  # of its text; the text itself may be megabytes
    good: dict[ObjectKey, Located] = field(default_factory=dict)
    errors: tuple[SourceError, ...] = ()
    notes: tuple[SourceError, ...] = ()
    had_end: bool | None = None  # whether its last good text ended with its last line; None: there was none yet
    writing_since: float | None = None
    gone_since: float | None = None


class FolderState:
    """The state of the folder `folder`; `keep` remembers good texts for the next start."""

    def __init__(self, folder: Path, keep: LastGood | None = None) -> None:
        self.folder = folder
        self._keep = keep
        self._files: dict[str, _File] = {}
        self._owners: dict[ObjectKey, str] = {}
        self._objects: dict[ObjectKey, Object] = {}
        self._last: Update | None = None
        self._listed = False

    @property
    def unsettled(self) -> bool:
        """Whether `read` should be called again soon although nothing new has happened."""
        return any(x.writing_since is not None or x.gone_since is not None for x in self._files.values())

    def read(self, now: float, touched: frozenset[str] = frozenset()) -> Update | None:
        """Look at the folder and say what is different since the last call; None = nothing.

        `now` is a monotonic time in seconds, `touched` names files to read again even if they look the same.
        """
        folder_errors: list[SourceError] = []
        try:
            names = sorted(x for x in os.listdir(self.folder) if x.endswith(SUFFIXES) and not x.startswith("."))
        except OSError as error:
            why = (error.strerror or str(error)).lower()
            folder_errors.append(SourceError(str(self.folder), 0, "", "", f"folder cannot be read: {why}"))
        else:
            for name in names:
                self._refresh(name, now, name in touched)
            for name in self._files.keys() - set(names):
                self._vanished(name, now)
            if not self._listed and self._keep is not None:
                self._keep.retain(names)
            self._listed = True
        return self._merge(folder_errors)

    def _refresh(self, name: str, now: float, touched: bool) -> None:
        known = self._files.setdefault(name, _File())
        known.gone_since = None
        path = self.folder / name
        settled = known.signature is not None and known.writing_since is None and not touched
        if settled and manifest_file.signature(path) == known.signature:
            return
        match manifest_file.read(path):
            case manifest_file.Text(text, signature):
                known.signature, known.writing_since = signature, None
                if (digest := blake2b(text.encode()).digest()) != known.digest:
                    known.digest = digest
                    self._take(name, known, text)
            case manifest_file.Unreadable(why, signature):
                known.signature, known.writing_since, known.digest = signature, None, None
                self._fail(name, known, self._error(name, why))
            case manifest_file.Unfinished():
                known.writing_since = now if known.writing_since is None else known.writing_since
                if now - known.writing_since >= UNFINISHED_AFTER:
                    self._fail(name, known, self._error(name, "is still open for writing by another process"))

    def _take(self, name: str, known: _File, text: str) -> None:
        parsed = parse(str(self.folder / name), text)
        known.notes = parsed.notes
        if parsed.errors:
            self._fail(name, known, *parsed.errors)
        elif not text.replace("---", "").strip():
            self._fail(name, known, self._error(name, "is empty; to remove its objects, remove the file"))
        elif self._is_cut(name, known, text):
            what = "ends within a line, and did not before: is it cut? If it is whole, end it with a newline"
            self._fail(name, known, self._error(name, what))
        else:
            known.good, known.errors, known.had_end = parsed.objects, (), _ends_with_a_line(text)
            if self._keep is not None:
                self._keep.save(name, text)

    def _is_cut(self, name: str, known: _File, text: str) -> bool:
        if _ends_with_a_line(text) or name.endswith(".json"):  # JSON that is cut is none
            return False
        if known.had_end is None:
            kept = self._keep.load(name) if self._keep is not None else None
            return kept is not None and _ends_with_a_line(kept)
        return known.had_end

    def _fail(self, name: str, known: _File, *errors: SourceError) -> None:
        known.errors = errors
        if not known.good:
            known.good = self._remembered(name).objects

    def _remembered(self, name: str) -> Parsed:
        text = self._keep.load(name) if self._keep is not None else None
        return parse(str(self.folder / name), text or "")

    def _vanished(self, name: str, now: float) -> None:
        known = self._files[name]
        known.gone_since = now if known.gone_since is None else known.gone_since
        if now - known.gone_since >= GONE_AFTER:
            del self._files[name]
            if self._keep is not None:
                self._keep.forget(name)

    def _error(self, name: str, message: str) -> SourceError:
        return SourceError(str(self.folder / name), 0, "", "", message)

    def _merge(self, folder_errors: list[SourceError]) -> Update | None:
        holders: dict[ObjectKey, list[str]] = {}
        for name in sorted(self._files):
            for key in self._files[name].good:
                holders.setdefault(key, []).append(name)
        owners = {
            key: self._owners[key] if self._owners.get(key) in names else names[0] for key, names in holders.items()
        }
        objects = {key: self._files[name].good[key].object for key, name in owners.items()}

        errors = folder_errors + [error for known in self._files.values() for error in known.errors]
        for key, names in holders.items():
            errors += [self._duplicate(key, name, owners[key]) for name in names if name != owners[key]]
        notes = [note for known in self._files.values() for note in known.notes]

        update = Update(
            upserts=tuple((key, new) for key, new in objects.items() if not _same(self._objects.get(key), new)),
            removed=tuple(sorted(self._objects.keys() - objects.keys())),
            errors=tuple(sorted(errors)),
            notes=tuple(sorted(notes)),
            synced=self._listed,
            absent=tuple(str(self.folder / name) for name, x in sorted(self._files.items()) if x.errors and not x.good),
        )
        if update == (self._last and replace(self._last, upserts=(), removed=())):
            return None
        self._owners, self._objects, self._last = owners, objects, update
        return update

    def _duplicate(self, key: ObjectKey, name: str, owner: str) -> SourceError:
        line = self._files[owner].good[key].line
        message = f"is also in {self.folder / owner}:{line}, and that one counts"
        return SourceError(str(self.folder / name), self._files[name].good[key].line, f"{key.kind} {key}", "", message)


def _ends_with_a_line(text: str) -> bool:
    return text.endswith("\n")


def _same(old: Object | None, new: Object) -> bool:
    return old is new or old == new
