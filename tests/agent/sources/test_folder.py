"""A real folder, really watched: what is done to it arrives, in the end, whatever way it was done."""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent.sources.base import Update
from agent.sources.folder import FolderSource

DEADLINE = 20.0  # seconds; only a failure takes so long


def service(name: str, port: int = 80) -> str:
    return f"---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec:\n  ports:\n  - port: {port}\n"


class Watched:
    """Applies a source's updates on a thread, as the agent does."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.running: dict[str, int] = {}
        self.updates: list[Update] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def _follow(self) -> None:
        for update in FolderSource(self.path).updates(self._stop):
            for key, decoded in update.upserts:
                self.running[key.name] = decoded.spec.ports[0].port  # type: ignore[union-attr]
            for key in update.removed:
                del self.running[key.name]
            self.updates.append(update)

    def until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + DEADLINE
        while not condition():
            assert time.monotonic() < deadline, (self.running, self.updates[-1:])
            assert self._thread.is_alive()
            time.sleep(0.01)

    def until_running(self, **ports: int) -> None:
        self.until(lambda: self.running == ports)

    def close(self) -> None:
        self._stop.set()
        self._thread.join(DEADLINE)
        assert not self._thread.is_alive()


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    path = tmp_path / "manifests"
    path.mkdir()
    (path / "a.yaml").write_text(service("one"))
    watched = Watched(path)
    watched.until_running(one=80)
    yield watched
    watched.close()


def test_a_file_written_in_place(watched: Watched) -> None:
    (watched.path / "a.yaml").write_text(service("one", 81))
    watched.until_running(one=81)


def test_a_file_renamed_over(watched: Watched) -> None:
    (watched.path / ".tmp").write_text(service("one", 81))
    (watched.path / ".tmp").rename(watched.path / "a.yaml")
    watched.until_running(one=81)


def test_files_come_and_go(watched: Watched) -> None:
    (watched.path / "b.yaml").write_text(service("two"))
    watched.until_running(one=80, two=80)
    (watched.path / "a.yaml").unlink()
    watched.until_running(two=80)


def test_a_writer_that_takes_its_time_is_waited_for(watched: Watched) -> None:
    with (watched.path / "a.yaml").open("w") as writer:
        writer.write(service("two"))
        writer.flush()
        (watched.path / "b.yaml").write_text(service("three"))  # shows that the folder is looked at meanwhile
        watched.until(lambda: "three" in watched.running)
        assert watched.running["one"] == 80
        writer.write(service("four"))
    watched.until_running(two=80, three=80, four=80)


def test_a_mounted_configmap_is_swapped(watched: Watched) -> None:
    for name, port in (("..1", 80), ("..2", 81)):
        (watched.path / name).mkdir()
        (watched.path / name / "b.yaml").write_text(service("two", port))
    (watched.path / "..data").symlink_to("..1")
    (watched.path / "b.yaml").symlink_to("..data/b.yaml")
    watched.until_running(one=80, two=80)
    (watched.path / "..tmp").symlink_to("..2")
    (watched.path / "..tmp").rename(watched.path / "..data")
    watched.until_running(one=80, two=81)


def test_the_target_of_a_link_elsewhere_is_written(watched: Watched, tmp_path: Path) -> None:
    (tmp_path / "elsewhere.yaml").write_text(service("two"))
    (watched.path / "b.yaml").symlink_to(tmp_path / "elsewhere.yaml")
    watched.until_running(one=80, two=80)
    (tmp_path / "elsewhere.yaml").write_text(service("two", 81))
    watched.until_running(one=80, two=81)


def test_the_folder_itself_is_replaced(watched: Watched, tmp_path: Path) -> None:
    shutil.copytree(watched.path, tmp_path / "next")
    (tmp_path / "next" / "a.yaml").write_text(service("one", 81))
    watched.path.rename(tmp_path / "before")
    (tmp_path / "next").rename(watched.path)
    watched.until_running(one=81)
    (watched.path / "a.yaml").write_text(service("one", 82))
    watched.until_running(one=82)


def test_the_folder_goes_and_comes(watched: Watched, tmp_path: Path) -> None:
    watched.path.rename(tmp_path / "away")
    watched.until(lambda: bool(watched.updates[-1].errors))
    assert watched.running == {"one": 80}
    (tmp_path / "away").rename(watched.path)
    watched.until(lambda: not watched.updates[-1].errors)
    (watched.path / "a.yaml").write_text(service("one", 81))
    watched.until_running(one=81)


def test_a_folder_that_is_a_link_to_a_version(tmp_path: Path) -> None:
    for name, port in (("v1", 80), ("v2", 81)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.yaml").write_text(service("one", port))
    (tmp_path / "current").symlink_to("v1")
    with contextlib.closing(Watched(tmp_path / "current")) as watched:
        watched.until_running(one=80)
        (tmp_path / "tmp").symlink_to("v2")
        os.replace(tmp_path / "tmp", tmp_path / "current")
        watched.until_running(one=81)
