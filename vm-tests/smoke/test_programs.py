"""Every BPF object loads on this kernel: its verifier takes all programs. What they cost it is put into the report.

The packet tables would fail too, each in its own way; here the verifier's own words come first, once per object.
"""

from pathlib import Path

import pytest

from loader.errors import VerifierRejected
from loader.objects import Object
from loader.spec import ObjectSpec

ROOT = Path(__file__).parents[2]
OBJECTS = sorted(source.name.removesuffix(".bpf.c") for source in (ROOT / "bpf").glob("*.bpf.c"))


@pytest.mark.parametrize("name", OBJECTS)
def test_object_loads(name, record_property):
    spec = ObjectSpec(ROOT / "build" / f"{name}.bpf.o", {}, {})
    said = ""
    try:
        with Object.load(spec, Path("/sys/fs/bpf/vmsmoke") / name) as loaded:
            for program in loaded.programs.values():
                record_property(f"verified_insns {program.name}", program.verified_insns)
    except VerifierRejected as error:
        said = f"{error}\n{error.log[-4000:]}"
    if said:
        pytest.fail(said, pytrace=False)
