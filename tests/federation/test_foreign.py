"""Bytes of other nodes cost no more than they are long."""

from time import process_time

from hypothesis import given
from hypothesis import strategies as st

from services import foreign


def walked(raw: bytes) -> int:
    """How deep brackets nest outside texts, byte by byte."""
    depth = deepest = 0
    inside = escaped = False
    for byte in raw.decode():
        if inside:
            inside = escaped or byte != '"'
            escaped = not escaped and byte == "\\"
        elif byte == '"':
            inside = True
        elif byte in "{[":
            depth += 1
            deepest = max(deepest, depth)
        elif byte in "}]":
            depth -= 1
    return deepest


TEXTS = st.text('[]{}"\\a:,', max_size=60).map(
    lambda text: '"' + text.replace("\\", "").replace('"', "") + '"'
)
JSON = st.lists(
    st.one_of(st.sampled_from(["[", "]", "{", "}", ",", "1", r'"\\"', r'"\"["']), TEXTS), max_size=300
)


@given(JSON)
def test_nesting_is_counted_outside_texts_only(tokens: list[str]) -> None:
    """However brackets and quotes stand, as deep as a reader would find them is what counts as too deep."""
    raw = "".join(tokens).encode()
    deep = walked(raw) > foreign.DEEPEST
    assert (foreign.flaw(raw) is not None) == deep
    assert (foreign.flaw(b"[" * 70 + raw) is not None) == (walked(b"[" * 70 + raw) > foreign.DEEPEST)


def test_a_long_line_is_looked_at_quickly() -> None:
    """As many brackets and quotes as a whole page may hold do not hold up a reader for long."""
    raw = b"[]" * 5_000_000 + b'"' + rb"\"" * 2_000_000 + b'"'
    began = process_time()
    assert foreign.flaw(raw) is None
    assert process_time() - began < 1


def test_a_text_that_never_ends_is_looked_at_quickly() -> None:
    """A string without an end, full of escaped quotes, costs no more than one with an end."""
    raw = b"[" * (foreign.DEEPEST + 1) + b'"' + rb"\"" * 120_000
    for cut in (raw, raw + b"\\"):
        began = process_time()
        assert foreign.flaw(cut) is not None
        assert len(foreign.shallow(cut)) < len(cut)
        assert process_time() - began < 1
