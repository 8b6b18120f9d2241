"""Every verdict of the programs has its sentence, and no sentence is left of one that is gone."""

from __future__ import annotations

import pytest

from agent.settings import Settings
from agent.verdicts import MEANING
from loader.btf import Btf

VERDICTS = Btf.from_object_file(Settings().object_dir / "tc.bpf.o").enum("verdict")


def test_every_verdict_is_explained() -> None:
    assert set(MEANING) == {x.name for x in VERDICTS} - {"VERDICT_COUNT"}


def test_what_is_refused_has_a_twin_among_the_drops() -> None:
    """For when no answer can be sent: the cause has the same name in both."""
    refused = {x.name.removeprefix("VERDICT_REFUSED_") for x in VERDICTS if x.name.startswith("VERDICT_REFUSED_")}
    assert refused <= {x.name.removeprefix("DROP_") for x in VERDICTS}


@pytest.mark.parametrize(("verdict", "sentence"), MEANING.items())
def test_a_meaning_is_a_sentence(verdict: str, sentence: str) -> None:
    assert sentence[0].isupper()
    assert sentence.endswith(".")
    assert verdict.startswith("DROP_") == sentence.startswith("It is dropped")
