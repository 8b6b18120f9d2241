"""What `make wheel` ships: all that runs on a node, and nothing of the laboratory."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

TREE = Path(__file__).resolve().parents[1]
PACKAGES = {"agent", "loader", "routes", "proxy"}


def run(*words: str | Path, cwd: Path) -> str:
    done = subprocess.run(list(map(str, words)), cwd=cwd, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, (done.stdout, done.stderr)
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, for setuptools leaves things in a tree."""
    copy = tmp_path_factory.mktemp("wheel") / "tree"
    copy.mkdir()
    for name in ("agent", "loader", "routes", "proxy", "lab", "bpf", "build"):
        shutil.copytree(
            TREE / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", "lib", "bdist.*", "wheel")
        )
    for name in ("pyproject.toml", "LICENSE", "README.md"):
        shutil.copy(TREE / name, copy)
    run(
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "-q",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        copy.parent,
        ".",
        cwd=copy,
    )
    (made,) = copy.parent.glob("*.whl")
    return made


def test_it_has_the_packages_whole_and_no_others(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as opened:
        names = {x for x in opened.namelist() if not x.split("/")[0].startswith("penstock-")}
    assert names == {str(x.relative_to(TREE)) for name in PACKAGES for x in (TREE / name).rglob("*.py")}


def test_what_is_installed_runs_without_the_tree(wheel: Path, tmp_path: Path) -> None:
    run(sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv", cwd=tmp_path)
    python = tmp_path / "venv" / "bin" / "python"
    run(sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-deps", wheel, cwd=tmp_path)
    (packages,) = (tmp_path / "venv" / "lib").glob("python*/site-packages")
    # The libraries it needs are those of this environment: a path in a .pth has no .pth of its own read.
    (packages / "libraries.pth").write_text(sysconfig.get_path("purelib"))
    said = run(
        tmp_path / "venv" / "bin" / "penstock", "check", "--strict", TREE / "examples" / "quickstart", cwd=tmp_path
    )
    assert "errors: 0" in said
    asked = "import agent.installed as x; print(x.__file__, x.OBJECTS, x.SOURCES)"
    module, objects, sources = map(Path, run(python, "-c", asked, cwd=tmp_path).split())
    assert module == packages / "agent" / "installed.py"
    for name in ("tc.bpf.o", "xdp.bpf.o", "age.bpf.o"):
        assert (objects / name).read_bytes() == (TREE / "build" / name).read_bytes()
    assert {x.relative_to(sources) for x in sources.rglob("*.h")} == {
        x.relative_to(TREE / "bpf") for x in (TREE / "bpf").rglob("*.h")
    }
    assert (sources / "bcc" / "tracer.c").is_file()
