"""Steps in (what happens to the folder, and when), updates out."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.sources.base import Update
from agent.sources.folder_state import GONE_AFTER, UNFINISHED_AFTER, FolderState
from agent.sources.last_good import LastGood


def service(name: str, port: int = 80) -> str:
    return f"---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec:\n  ports:\n  - port: {port}\n"


class Folder:
    """A folder, its state, and a clock that moves only when told."""

    def __init__(self, path: Path, keep: Path | None = None) -> None:
        self.path = path
        self.now = 1000.0
        self.state = FolderState(path, LastGood(keep, path) if keep else None)
        self.running: dict[str, int] = {}
        self.last: Update | None = None

    def write(self, name: str, text: str) -> None:
        (self.path / name).write_text(text)

    def look(self, touched: frozenset[str] = frozenset(), after: float = 1.0) -> Update | None:
        self.now += after
        update = self.state.read(self.now, touched)
        if update is not None:
            self.last = update
            for key, decoded in update.upserts:
                self.running[key.name] = decoded.spec.ports[0].port  # type: ignore[union-attr]
            for key in update.removed:
                del self.running[key.name]
        return update

    @property
    def errors(self) -> list[str]:
        assert self.last is not None
        return [str(x).replace(f"{self.path}/", "") for x in self.last.errors]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    path = tmp_path / "manifests"
    path.mkdir()
    return Folder(path)


def test_first_look_yields_all_and_the_next_nothing(folder: Folder) -> None:
    folder.write("a.yaml", service("one") + service("two"))
    folder.write("b.yml", service("three"))
    folder.write("c.json", '{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "x"}, "spec": {}}')
    update = folder.state.read(0.0)
    assert update is not None
    assert sorted(key.name for key, _ in update.upserts) == ["one", "three", "two", "x"]
    assert (update.removed, update.errors, update.synced) == ((), (), True)
    assert folder.state.read(1.0) is None


def test_an_empty_folder_is_synced(folder: Folder) -> None:
    assert folder.look() == Update((), (), (), (), True)
    assert folder.look() is None


@pytest.mark.parametrize("name", [".hidden.yaml", "notes.txt", "a.yaml~", "a.yaml.swp", "4913", "#a.yaml#"])
def test_other_files_do_not_count(folder: Folder, name: str) -> None:
    folder.write(name, "nonsense: [")
    assert folder.look() == Update((), (), (), (), True)


def test_only_what_changed_is_in_an_update(folder: Folder) -> None:
    folder.write("a.yaml", service("one") + service("two"))
    folder.look()
    folder.write("a.yaml", service("two", 81) + service("three"))
    update = folder.look()
    assert update is not None
    assert ([key.name for key, _ in update.upserts], [key.name for key in update.removed]) == (
        ["two", "three"],
        ["one"],
    )
    folder.write("a.yaml", "# a comment more\n" + service("two", 81) + service("three"))
    assert folder.look() is None


def test_a_write_that_keeps_size_and_times_is_seen_when_touched(folder: Folder) -> None:
    folder.write("a.yaml", service("one", 80))
    folder.look()
    before = (folder.path / "a.yaml").stat()
    folder.write("a.yaml", service("one", 81))
    os.utime(folder.path / "a.yaml", ns=(before.st_atime_ns, before.st_mtime_ns))
    folder.look(frozenset({"a.yaml"}))
    assert folder.running == {"one": 81}


@pytest.mark.parametrize(
    ("text", "errors"),
    [
        ("kind: [", ["a.yaml:2: while parsing a flow node did not find expected node content"]),
        ("3", ["a.yaml:1: document 1: expected an object, got int"]),
        ("kind: Service", ["a.yaml:1: Service (document 1): apiVersion: is required"]),
        (
            service("one") + service("two", 0),
            ["a.yaml:14: Service two: spec.ports[0].port: 0 is not a whole number from 1 to 65535"],
        ),
        (
            service("one", 0) + service("two").replace("80", "x"),
            [
                "a.yaml:7: Service one: spec.ports[0].port: 0 is not a whole number from 1 to 65535",
                "a.yaml:14: Service two: spec.ports[0].port: 'x' is not a whole number from 1 to 65535",
            ],
        ),
        (
            service("one") + service("one", 81),
            ["a.yaml:9: Service one: is in this file twice, at line 2 as well"],
        ),
    ],
)
def test_a_bad_file_is_refused_whole_and_its_last_good_state_stays(
    folder: Folder, text: str, errors: list[str]
) -> None:
    folder.write("a.yaml", service("one") + service("old"))
    folder.write("b.yaml", service("other"))
    folder.look()
    folder.write("a.yaml", text + ("\n" if text == "kind: [" else ""))
    update = folder.look()
    assert update is not None
    assert (update.upserts, update.removed) == ((), ())
    assert folder.errors == errors
    assert folder.running == {"one": 80, "old": 80, "other": 80}
    folder.write("a.yaml", service("one", 82))
    folder.look()
    assert (folder.errors, folder.running) == ([], {"one": 82, "other": 80})


def test_a_file_bad_from_the_start_hides_no_other(folder: Folder) -> None:
    folder.write("a.yaml", service("one") + "kind: [")
    folder.write("b.yaml", service("other"))
    update = folder.look()
    assert (folder.running, len(folder.errors)) == ({"other": 80}, 1)
    assert update is not None
    assert update.absent == (str(folder.path / "a.yaml"),)


@pytest.mark.parametrize("restarted", [False, True])
def test_a_file_that_is_cut_within_a_line_changes_nothing(tmp_path: Path, restarted: bool) -> None:
    """Wherever it is cut; some of what is left is valid: port 808 instead of 8080, no second object."""
    path = tmp_path / "manifests"
    path.mkdir()
    whole = service("one") + service("two", 8080)
    folder = Folder(path, tmp_path / "keep")
    folder.write("a.yaml", whole)
    folder.look()
    for cut in (whole[:x] for x in range(1, len(whole)) if whole[x - 1] != "\n"):
        if restarted:
            folder = Folder(path, tmp_path / "keep")
        folder.write("a.yaml", cut)
        folder.look()
        assert (folder.running, len(folder.errors)) == ({"one": 80, "two": 8080}, 1), cut


def test_a_file_whose_last_line_never_had_an_end_is_whole(folder: Folder) -> None:
    folder.write("a.yaml", service("one").rstrip())
    folder.look()
    folder.write("a.yaml", service("one", 81).rstrip())
    folder.look()
    assert (folder.errors, folder.running) == ([], {"one": 81})
    folder.write("a.yaml", service("one", 82))
    folder.look()
    folder.write("a.yaml", service("one", 8).rstrip())
    folder.look()
    assert folder.running == {"one": 82}
    assert folder.errors == [
        "a.yaml: ends within a line, and did not before: is it cut? If it is whole, end it with a newline"
    ]


@pytest.mark.parametrize("text", ["", "\n\n", "---\n", "---\n---\n"])
def test_a_file_that_is_emptied_is_being_written(folder: Folder, text: str) -> None:
    folder.write("a.yaml", service("one"))
    folder.look()
    folder.write("a.yaml", text)
    folder.look()
    assert folder.errors == ["a.yaml: is empty; to remove its objects, remove the file"]
    folder.write("a.yaml", "# nothing here on purpose\n")
    folder.look()
    assert (folder.errors, folder.running) == ([], {})


def test_a_file_open_for_writing_is_not_read(folder: Folder) -> None:
    folder.write("a.yaml", service("one") + service("two"))
    folder.look()
    with (folder.path / "a.yaml").open("w") as writer:
        writer.write(service("one"))
        writer.flush()  # half of it, and good YAML
        assert folder.look(after=0.1) is None
        assert folder.state.unsettled
        folder.look(after=UNFINISHED_AFTER)
        assert folder.errors == ["a.yaml: is still open for writing by another process"]
        writer.write(service("two", 81))
    folder.look(after=0.1)
    assert (folder.errors, folder.running, folder.state.unsettled) == ([], {"one": 80, "two": 81}, False)


def test_a_temporary_file_renamed_over_the_old_one(folder: Folder) -> None:
    folder.write("a.yaml", service("one"))
    folder.look()
    folder.write(".a.yaml.tmp", service("one", 81))
    assert folder.look() is None
    (folder.path / ".a.yaml.tmp").rename(folder.path / "a.yaml")
    folder.look()
    assert folder.running == {"one": 81}


def test_an_editor_that_removes_and_creates_removes_nothing(folder: Folder) -> None:
    folder.write("a.yaml", service("one"))
    folder.look()
    (folder.path / "a.yaml").rename(folder.path / "a.yaml~")
    assert folder.look(after=0.01) is None
    assert folder.state.unsettled
    folder.write("a.yaml", service("one", 81))
    folder.look(after=2 * GONE_AFTER)
    assert (folder.running, folder.state.unsettled) == ({"one": 81}, False)


def test_a_file_that_stays_away_takes_its_objects_along(folder: Folder) -> None:
    folder.write("a.yaml", service("one"))
    folder.write("b.yaml", service("two"))
    folder.look()
    (folder.path / "a.yaml").unlink()
    assert folder.look(after=0.01) is None
    folder.look(after=2 * GONE_AFTER)
    assert folder.running == {"two": 80}


def test_renaming_a_file_changes_nothing(folder: Folder) -> None:
    folder.write("a.yaml", service("one"))
    folder.look()
    (folder.path / "a.yaml").rename(folder.path / "b.yaml")
    while folder.state.unsettled or folder.look() is not None:
        assert folder.running == {"one": 80}
        folder.look()
    assert (folder.running, folder.errors) == ({"one": 80}, [])


def test_a_configmap_mount_is_swapped_at_once(folder: Folder) -> None:
    def version(name: str, *texts: str) -> None:
        (folder.path / name).mkdir()
        for i, text in enumerate(texts):
            (folder.path / name / f"{i}.yaml").write_text(text)
        (folder.path / "..data_tmp").symlink_to(name)
        (folder.path / "..data_tmp").rename(folder.path / "..data")

    version("..2024_01", service("one"), service("two"))
    for i in range(2):
        (folder.path / f"{i}.yaml").symlink_to(f"..data/{i}.yaml")
    folder.look()
    assert folder.running == {"one": 80, "two": 80}
    version("..2024_02", service("one", 81), service("three"))
    update = folder.look()
    assert update is not None
    assert folder.running == {"one": 81, "three": 80}


def test_the_same_object_in_two_files(folder: Folder) -> None:
    folder.write("b.yaml", service("one", 80))
    folder.look()
    folder.write("a.yaml", service("two") + service("one", 81))
    folder.look()
    message = "Service default/one: is also in {}/b.yaml:2, and that one counts"
    assert folder.last is not None
    assert [str(x) for x in folder.last.errors] == [f"{folder.path}/a.yaml:9: {message.format(folder.path)}"]
    assert folder.running == {"one": 80, "two": 80}
    (folder.path / "b.yaml").unlink()
    folder.look()
    folder.look()
    assert (folder.errors, folder.running) == ([], {"one": 81, "two": 80})


def test_at_start_the_first_file_by_name_has_an_object_that_two_have(folder: Folder) -> None:
    folder.write("b.yaml", service("one", 81))
    folder.write("a.yaml", service("one", 80))
    folder.look()
    assert (folder.running, len(folder.errors)) == ({"one": 80}, 1)


@pytest.fixture
def strange(folder: Folder) -> Iterator[Folder]:
    folder.write("a.yaml", service("one"))
    folder.look()
    yield folder
    folder.look()
    assert folder.running == {"one": 80}


def test_a_fifo_does_not_hang_us(strange: Folder) -> None:
    os.mkfifo(strange.path / "b.yaml")
    strange.look()
    assert strange.errors == ["b.yaml: is not a regular file"]


def test_a_link_to_nothing(strange: Folder) -> None:
    (strange.path / "b.yaml").symlink_to("nowhere")
    strange.look()
    assert strange.errors == ["b.yaml: is a symbolic link to nothing"]


def test_a_folder_with_a_manifest_name(strange: Folder) -> None:
    (strange.path / "b.yaml").mkdir()
    strange.look()
    assert strange.errors == ["b.yaml: is not a regular file"]


def test_a_file_that_is_not_text(strange: Folder) -> None:
    (strange.path / "b.yaml").write_bytes(b"a: 1\nb: \xff\n")
    strange.look()
    assert strange.errors == ["b.yaml: is not UTF-8 at line 2"]


def test_a_file_with_a_byte_order_mark(strange: Folder) -> None:
    (strange.path / "b.yaml").write_bytes(b"\xef\xbb\xbf# nothing\n")
    assert strange.look() is None


def test_unknown_kinds_are_noted_and_no_error(strange: Folder) -> None:
    strange.write("b.yaml", "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\n")
    update = strange.look()
    assert update is not None
    assert [(x.line, x.object, x.field) for x in update.notes] == [(1, "Deployment web", "")]
    assert update.errors == ()


def test_a_folder_that_goes_away_changes_nothing(folder: Folder) -> None:
    folder.write("a.yaml", service("one"))
    folder.look()
    folder.path.rename(folder.path.with_name("moved"))
    folder.look()
    assert folder.errors == [f"{folder.path}: folder cannot be read: no such file or directory"]
    folder.path.with_name("moved").rename(folder.path)
    folder.write("a.yaml", service("one", 81))
    folder.look()
    assert (folder.errors, folder.running) == ([], {"one": 81})


def test_a_folder_that_was_never_there_is_not_synced(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "later")
    update = folder.look()
    assert update is not None
    assert not update.synced
    folder.path.mkdir()
    assert folder.look() == Update((), (), (), (), True)


def test_a_bad_file_runs_on_over_a_restart(folder: Folder, tmp_path: Path) -> None:
    first = Folder(folder.path, tmp_path / "keep")
    first.write("a.yaml", service("one"))
    first.write("b.yaml", service("two"))
    first.look()
    first.write("a.yaml", "kind: [\n")
    (first.path / "b.yaml").unlink()
    second = Folder(folder.path, tmp_path / "keep")
    update = second.look()
    assert (second.running, len(second.errors)) == ({"one": 80}, 1)
    assert update is not None
    assert update.absent == ()


def test_a_file_removed_while_nobody_looked_is_not_remembered(folder: Folder, tmp_path: Path) -> None:
    first = Folder(folder.path, tmp_path / "keep")
    first.write("a.yaml", service("one"))
    first.look()
    (first.path / "a.yaml").unlink()
    second = Folder(folder.path, tmp_path / "keep")
    second.look()
    second.write("a.yaml", "kind: [\n")
    second.look()
    assert second.running == {}
