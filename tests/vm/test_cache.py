"""An entry of the cache is whole or not there."""

import os
import time
from pathlib import Path

import pytest
from vmtest.cache import KEEP_DAYS, Cache, recipe
from vmtest.errors import VmError

CONTENT = "what was built"


class Builder:
    """Fills an entry, and counts how often it was asked to."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, folder: Path) -> None:
        self.calls += 1
        (folder / "deep").mkdir()
        (folder / "deep" / "image").write_text(CONTENT)


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def cache(tmp_path, said) -> Cache:
    return Cache(tmp_path / "cache", said.append)


def test_an_entry_is_made_once(cache):
    build = Builder()
    for _ in range(2):
        with cache.locked():
            assert (cache.entry("root-1", build) / "deep" / "image").read_text() == CONTENT
    assert build.calls == 1


def test_a_build_that_failed_leaves_no_entry(cache, tmp_path):
    def dies(folder: Path) -> None:
        (folder / "image").write_text("half")
        raise VmError("the network is gone")

    with cache.locked(), pytest.raises(VmError):
        cache.entry("root-1", dies)
    build = Builder()
    with cache.locked():
        cache.entry("root-1", build)
    assert build.calls == 1
    assert sorted(path.name for path in (tmp_path / "cache").iterdir()) == ["lock", "root-1"]


@pytest.mark.parametrize(
    "harm",
    [
        pytest.param(lambda entry: (entry / "deep" / "image").write_text(CONTENT[:-1]), id="cut file"),
        pytest.param(lambda entry: (entry / "deep" / "image").unlink(), id="missing file"),
        pytest.param(lambda entry: (entry / "seal.json").unlink(), id="missing seal"),
        pytest.param(lambda entry: (entry / "seal.json").write_text('{"deep/im'), id="cut seal"),
    ],
)
def test_a_harmed_entry_is_made_again_with_a_word(cache, said, harm):
    build = Builder()
    with cache.locked():
        harm(cache.entry("root-1", build))
        entry = cache.entry("root-1", build)
    assert (entry / "deep" / "image").read_text() == CONTENT
    assert any("incomplete" in line and str(entry) in line for line in said)


def test_what_nobody_used_for_long_goes_and_what_is_used_stays(cache):
    build = Builder()
    with cache.locked():
        unused, used = (cache.entry(name, build) for name in ("unused", "used"))
    long_ago = time.time() - (KEEP_DAYS + 1) * 86400
    for entry in (unused, used):
        os.utime(entry, (long_ago, long_ago))
    # A use that needs no lock of its own: two lines of the same run share one.
    cache.entry("used", build)
    with cache.locked():
        assert not unused.exists()
        assert used.exists()


def test_a_recipe_names_its_ingredients_in_their_order():
    assert recipe("a", "b") == recipe("a", "b")
    assert len({recipe("a", "b"), recipe("b", "a"), recipe("ab"), recipe("a", "b", "")}) == 4
