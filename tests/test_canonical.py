"""Text folds and JSON is written the same on every machine."""

import unicodedata

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from services.canonical import fold, jcs


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("L’Atelier de l'Œuvre", "l atelier de l oeuvre"),
        ("  ÉCOLE — n°3 (Straße) ", "ecole n 3 strasse"),
        ("Ænima", "aenima"),
        ("Saint‑Étienne\u00a0: le\u200bLieu", "saint etienne lelieu"),
        ("ﬁlature", "filature"),
        ("…", ""),
        ("東京 Ωμέγα 🏠", "東京 Ωμέγα 🏠"),
    ],
)
def test_text_folds_to_what_a_person_would_call_the_same(text: str, folded: str) -> None:
    """Accents, case, ligatures and punctuation do not tell two names apart; other scripts are left alone."""
    assert fold(text) == folded


@given(st.text())
def test_folding_twice_changes_nothing(text: str) -> None:
    """What is folded stays as it is."""
    assert fold(fold(text)) == fold(text)


@given(st.text(alphabet="àâäçéèêëîïôöùûüÿœæñÀÉ' -azAZ09"))
def test_composed_and_decomposed_accents_fold_to_the_same(text: str) -> None:
    """A Mac writes é as two characters and is understood all the same."""
    assert fold(unicodedata.normalize("NFD", text)) == fold(unicodedata.normalize("NFC", text))


def test_every_french_capital_folds_like_its_small_letter() -> None:
    """A name in capitals is the same name."""
    small = "abcdefghijklmnopqrstuvwxyzàâäçéèêëîïôöùûüÿœæ"
    assert fold(small.upper()) == fold(small)


def test_json_has_one_writing() -> None:
    """Keys are sorted, numbers are written as ECMAScript does, text stays UTF-8."""
    assert jcs({"b": 1.0, "a": [1e21, "é", None, True]}) == '{"a":[1e+21,"é",null,true],"b":1}'.encode()


def test_json_that_has_no_canonical_form_is_refused() -> None:
    """NaN has no place in a digest."""
    with pytest.raises(rfc8785.CanonicalizationError):
        jcs(float("nan"))
