"""The strict door: what people send is read in one way only, and every mistake is named."""

import json
import os
from collections.abc import Callable
from typing import Annotated, Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec import Meta, Raw, Struct

from services import strict
from services.errors import Fault, Invalid, Malformed
from services.strict import decode_strict, parse_strict

EXAMPLES = 2000 if os.environ.get("MAILLAGE_SOAK") else 200


class Inner(Struct, frozen=True, rename={"start": "from"}):
    """Something inside."""

    code: Annotated[str, Meta(pattern="^[a-z]+$")]
    start: int | None = None


class Cat(Struct, frozen=True, tag="cat"):
    """One of two."""

    lives: int = 9


class Dog(Struct, frozen=True, tag="dog"):
    """The other."""

    tricks: tuple[str, ...] = ()


class Outer(Struct, frozen=True):
    """Something outside."""

    name: Annotated[str, Meta(min_length=1, max_length=5)]
    insee: Annotated[str, Meta(pattern=r"^\d{5}$", examples=["35238"])] | None = None
    inner: Inner | None = None
    many: tuple[Inner, ...] = ()
    pair: tuple[int, int] | None = None
    words: Annotated[tuple[str, ...], Meta(max_length=2)] = ()
    tables: dict[str, Inner] = {}
    pet: Cat | Dog | None = None
    extensions: dict[str, Raw] = {}

    def __post_init__(self) -> None:
        if self.name == "never":
            raise ValueError("not this one")


def faults(value: Any) -> dict[str, str]:
    """Each mistake in a value: pointer and message."""
    with pytest.raises(Invalid) as refused:
        decode_strict(json.dumps(value).encode(), Outer)
    return {fault.where: fault.what.format(**fault.args) for fault in refused.value.faults}


def test_every_mistake_is_named_at_once() -> None:
    """A person who made nine mistakes reads nine of them, each with its place."""
    found = faults(
        {
            "name": "",
            "inner": {"code": "A", "frm": 1},
            "many": [{"code": "a"}, {}, {"code": 1}],
            "pair": [1, "2"],
            "words": ["a", "b", "c"],
            "tables": {"a/b~c": {"code": "a", "from": 1.5}},
            "naem": 1,
        }
    )
    assert found == {
        "/name": "Something has to stand here.",
        "/inner/code": "This does not have the form ^[a-z]+$.",
        "/inner/frm": "Unknown name; did you mean from?",
        "/many/1/code": "This is required.",
        "/many/2/code": "Text is expected.",
        "/pair/1": "A whole number is expected.",
        "/words": "Too many: 2 at most.",
        "/tables/a~1b~0c/from": "A whole number is expected.",
        "/naem": "Unknown name; did you mean name?",
    }


@pytest.mark.parametrize(
    ("value", "where", "said"),
    [
        ({}, "/name", "This is required."),
        ([], "", "An object is expected."),
        ({"name": "a", "pet": {"type": "cow"}}, "/pet", "This is not what is expected here."),
        ({"name": "a", "pet": {"type": "cat", "lives": "9"}}, "/pet/lives", "A whole number is expected."),
        ({"name": "a", "pet": {"type": "dog", "lives": 9}}, "/pet/lives", "Unknown name."),
        ({"name": "a", "pair": [1]}, "/pair", "Exactly 2 items are expected."),
        ({"name": "a", "extensions": []}, "/extensions", "An object is expected."),
        ({"name": "a", "insee": "0null"}, "/insee", "This does not have the form of 35238."),
        ({"name": "toolong"}, "/name", "Too long: 5 characters at most."),
    ],
)
def test_a_mistake_is_found_wherever_it_stands(value: Any, where: str, said: str) -> None:
    """Lists, tables, alternatives and the whole body are looked into."""
    assert faults(value) == {where: said}


def test_a_refusal_of_the_whole_is_told() -> None:
    """What a Struct refuses by a rule of its own is an answer, not a crash."""
    assert faults({"name": "never"}) == {"": "This is not what is expected here."}


def test_raw_parts_keep_their_bytes() -> None:
    """Numbers, spaces and escapes of an extension go through as they were sent."""
    sent = rb'{"name":"a","extensions":{"x":{"a":  1.50, "b":"\u00e9", "c":1e2}}}'
    assert bytes(decode_strict(sent, Outer).extensions["x"]) == rb'{"a":  1.50, "b":"\u00e9", "c":1e2}'


def test_raw_parts_are_clean_json_as_well() -> None:
    """What is kept byte for byte and served to others is read in one way by all of them."""
    for part in (b'{"a":1,"a":2}', b"NaN", b"9007199254740993", rb'"\ud800"', rb'"\u0000"', b"01", b'"\xff"'):
        with pytest.raises(Malformed):
            decode_strict(b'{"name":"a","extensions":{"x":%b}}' % part, Outer)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"{} x",
        b"\xff\xfe{}",
        b"\xef\xbb\xbf{}",
        b'{"a":"\xc3"}',
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"a":-Infinity}',
        b'{"a":1e999}',
        b'{"a":1,"a":1}',
        b'{"a":{"b":1,"b":1}}',
        b'{"a":9007199254740993}',
        b'{"a":-9007199254740993}',
        b'{"a":' + b"9" * 10_000 + b"}",
        b'{"a":01}',
        b"{\"a\":'b'}",
        b'{"a":1,}',
        b'{"a":"\t"}',
        rb'{"a":"\ud800"}',
        rb'{"a":"\u0000"}',
        rb'{"\u0000":1}',
        b"[" * 65 + b"]" * 65,
        b"[" * 100_000,
        b'{"a":' * 70 + b"1" + b"}" * 70,
        "{}".encode("utf-16"),
    ],
)
def test_json_that_could_be_read_in_two_ways_is_refused(body: bytes) -> None:
    """No reader of ours and no reader of our neighbours is left to guess."""
    with pytest.raises(Malformed):
        parse_strict(body)


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b"[]",
        b" 1 ",
        b"9007199254740992",
        rb'"\\u0000"',
        rb'"\ud83d\ude00"',
        b"[" * 64 + b"]" * 64,
        b"[" + b",".join([b"[[]]"] * 100) + b"]",
        b'"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["',
    ],
)
def test_clean_json_is_read(body: bytes) -> None:
    """What only looks like a fault is none."""
    assert parse_strict(body) == json.loads(body)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    # PostgreSQL has no NUL, and UTF-8 no surrogates.
    | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.text(st.characters(codec="ascii", min_codepoint=1)), inner)
    ),
    max_leaves=20,
)


@given(JSON)
def test_all_clean_json_is_read_as_it_was_meant(value: Any) -> None:
    """Whatever can be written once is read the same."""
    assert parse_strict(json.dumps(value).encode()) == value


PIECES = st.lists(
    st.sampled_from(['\\"', ":", " ", "a", "\\u0022", "\\u003a", "\\u003A", "\\\\", "é"]), max_size=4
)
STRINGS = PIECES.map(lambda pieces: '"' + "".join(pieces) + '"')
COLONS = st.sampled_from([":", ": ", " :", "\t: ", "\n:"])
NUMBERS = st.sampled_from(
    ["1", "-0.5", "9007199254740992", "9007199254740993", "1e5", "123456789012345678901"]
)
TEXTS = st.recursive(
    STRINGS | NUMBERS,
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: "[" + ",".join(items) + "]")
        | st.lists(st.tuples(STRINGS, COLONS, inner).map("".join), max_size=4).map(
            lambda members: "{" + ",".join(members) + "}"
        )
    ),
    max_leaves=8,
)


def outcome(read: Callable[[bytes], Any], body: bytes) -> Any:
    try:
        return "read", read(body)
    except Malformed:
        return "refused"


@settings(max_examples=EXAMPLES)
@given(TEXTS)
@example('{"a":1,"a":"\\u0022:"}')
@example('{"a":1,"a":"x\\"\\u003a"}')
@example('{"a":1,"a" :2}')
@example('{"a":":b","a":1}')
def test_the_quick_way_and_the_sure_way_agree(text: str) -> None:
    """Whatever quotes, colons, escapes and spaces are made of, no field that is given twice slips through."""
    body = text.encode()
    assert outcome(parse_strict, body) == outcome(strict._examined, body)


class Node(Struct, frozen=True):
    """Something that holds its own kind."""

    name: str
    inner: "tuple[Node, ...]" = ()
    one: "Node | None" = None
    raw: dict[str, Raw] = {}


def test_a_struct_may_hold_its_own_kind() -> None:
    """Names are checked at every depth of a tree."""
    clean = {"name": "a", "inner": [{"name": "b", "one": {"name": "c"}}, {"name": "d", "one": None}]}
    assert decode_strict(json.dumps(clean).encode(), Node).inner[0].one == Node("c")
    clean["inner"][0]["one"]["nom"] = 1  # type: ignore[index]
    with pytest.raises(Invalid) as refused:
        decode_strict(json.dumps(clean).encode(), Node)
    assert [fault.where for fault in refused.value.faults] == ["/inner/0/one/nom"]


@given(st.dictionaries(st.sampled_from(["name", "inner", "many", "words", "x"]), JSON))
def test_whatever_is_sent_is_taken_or_refused_with_reasons(value: dict[str, Any]) -> None:
    """There is no third way: a Struct, or at least one mistake with its place."""
    try:
        found: tuple[Fault, ...] | Outer = decode_strict(json.dumps(value).encode(), Outer)
    except Invalid as refused:
        found = refused.faults
    assert isinstance(found, Outer) or all(fault.what.format(**fault.args) for fault in found)
    assert found
