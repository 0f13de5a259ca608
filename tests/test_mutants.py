"""The hand-made mutants stand in lines that are there."""

from pathlib import Path

import pytest

from tests.mutants import MUTANTS, Mutant

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_changes_one_line_and_its_test_is_there(mutant: Mutant) -> None:
    """What a mutant replaces stands once in its file, and the test that kills it is one of its file's."""
    assert (ROOT / mutant.file).read_text("utf-8").count(mutant.before) == 1
    file, _, name = mutant.test.partition("::")
    assert f"def {name.partition('[')[0]}" in (ROOT / file).read_text("utf-8")
