"""The strict door: JSON from people, decoded into Structs, with every mistake named by a JSON pointer."""

import json
from collections.abc import Callable
from functools import cache
from math import isfinite
from types import NoneType, UnionType
from typing import Annotated, Any, TypeVar, Union

import msgspec
from msgspec import Meta, ValidationError

from services.errors import Args, Invalid, Malformed
from services.mistakes import mistakes, overall
from services.shapes import holds_struct, is_struct, names, parts, taken_apart

T = TypeVar("T")

DEEPEST = 64
LARGEST = 2**53

_TOO_DEEP = "The JSON is nested too deeply: {depth} levels at most."
_DOUBTFUL = object()
_DISGUISES = (b"\\u00", b" :", b"\t:", b"\n:", b"\r:")
_NULS = (b"\\u0000",)


def parse_strict(body: bytes) -> Any:
    """The JSON value in `body`; Malformed for anything that two readers could read differently.

    That is: invalid UTF-8, NaN, Infinity, a name given twice, whole numbers beyond 2^53, nesting deeper than
    64, lone surrogates and NUL characters (which PostgreSQL cannot store).
    """
    value = _clean(body)
    return _examined(body) if value is _DOUBTFUL else value


def ambiguity(body: bytes) -> str | None:
    """Why two readers could read this JSON differently, nesting and NUL apart; None where they could not.

    For what was not sent by people: it is not refused, and must be no other thing on another machine.
    """
    if _plain(body) is not _DOUBTFUL:
        return None
    try:
        _scanned(body)
    except Malformed as doubt:
        # A name in it may hold half a character.
        return doubt.detail.format(**doubt.arguments).encode(errors="replace").decode()
    return None


def _clean(body: bytes) -> Any:
    """The value where cheap signs prove that nothing is wrong with the body; else `_DOUBTFUL`."""
    if body.count(b"{") + body.count(b"[") > DEEPEST or any(map(body.__contains__, _NULS)):
        return _DOUBTFUL
    return _plain(body)


def _plain(body: bytes) -> Any:
    """The value where cheap signs prove that everybody reads the same; else `_DOUBTFUL`.

    msgspec refuses what is no JSON and, by the type that is asked for, numbers of any size, but keeps the last
    of two fields of one name. When what it read is written again as it was, no field was dropped; nor when it
    has as many `":` as the body: only a space before a colon, or a quote or colon written as an escape, could
    hide one.
    """
    try:
        value = _PLAIN.decode(body)
        again = msgspec.json.encode(value)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return _DOUBTFUL
    if again != body and (any(map(body.__contains__, _DISGUISES)) or body.count(b'":') != again.count(b'":')):
        return _DOUBTFUL
    return value


def _examined(body: bytes) -> Any:
    """The value, read slowly and surely, and with the place of the fault."""
    value = _scanned(body)
    if _depth(value) > DEEPEST:
        raise Malformed(_TOO_DEEP, {"depth": DEEPEST})
    if _has_nul(value):
        raise Malformed("The text holds a NUL character.")
    return value


def _scanned(body: bytes) -> Any:
    """The value as the standard library reads it with its hooks; Malformed where another reader may not."""
    try:
        value = _SCANNER.decode(body.decode())
        msgspec.json.decode(body)
    except UnicodeDecodeError as error:
        args: Args = {"offset": error.start}
        raise Malformed("The text is not UTF-8: byte {offset} does not fit.", args) from None
    except json.JSONDecodeError as error:
        args = {"line": error.lineno, "column": error.colno}
        raise Malformed("This is not JSON: line {line}, column {column}.", args) from None
    except RecursionError:
        raise Malformed(_TOO_DEEP, {"depth": DEEPEST}) from None
    except msgspec.DecodeError:
        raise Malformed("This is not JSON: a character or a number in it is not allowed.") from None
    return value


def decode_strict(body: bytes, struct: type[T]) -> T:
    """`body` as a `struct`; Malformed where it is not clean JSON, Invalid with a pointer to each mistake.

    Fields of type Raw keep the sender's bytes.
    """
    value = parse_strict(body)
    try:
        decoded: T = _decoder(struct).decode(body)  # type: ignore[arg-type]
    except ValidationError as error:
        raise Invalid(faults=mistakes(value, struct) or (overall(error),)) from None
    if (strangers := _strangers(struct)) and strangers(value):
        raise Invalid(faults=mistakes(value, struct))
    return decoded


class _Names:
    """The names that a Struct knows, and the fields in which other Structs stand."""

    def __init__(self, struct: Any) -> None:
        self._known = frozenset(names(taken_apart(struct)))
        self._inner: list[tuple[str, Callable[[Any], bool]]] = []

    def look_into(self, struct: Any) -> None:
        """Find the fields in which other Structs stand; apart from the rest, as a Struct may hold its own kind."""
        for name, annotation in taken_apart(struct).fields.items():
            if strangers := _strangers(annotation):
                self._inner.append((name, strangers))

    def strange(self, value: Any) -> bool:
        """Whether an object, or one inside it, has a name that nobody knows."""
        if not value.keys() <= self._known:
            return True
        return any(name in value and strangers(value[name]) for name, strangers in self._inner)


_NAMES: dict[Any, _Names] = {}


def _strangers(annotation: Any) -> Callable[[Any], bool] | None:
    """The test of whether a decoded value holds a name that nobody knows; None where no Struct can stand.

    Made once a type, as taking annotations apart costs more than decoding.
    """
    if not holds_struct(annotation):
        return None
    shape = taken_apart(annotation)
    if is_struct(shape.base):
        if shape.base not in _NAMES:
            _NAMES[shape.base] = _Names(shape.base)
            _NAMES[shape.base].look_into(shape.base)
        return _NAMES[shape.base].strange
    inner = [_strangers(arg) for arg in shape.args if arg not in (Ellipsis, NoneType)]
    last = inner[-1] if inner else None
    if last is not None and shape.origin in (list, tuple) and len(inner) == 1:
        return lambda value: any(map(last, value))
    if last is not None and shape.origin is dict:
        return lambda value: any(map(last, value.values()))
    if last is not None and shape.origin in (Union, UnionType) and len(inner) == 1:
        return lambda value: value is not None and last(value)
    return lambda value: _is_strange(value, annotation)


def _is_strange(value: Any, annotation: Any) -> bool:
    """The same for what is rare: alternatives of Structs, and lists whose items differ in kind."""
    shape = taken_apart(annotation)
    tests = ((_strangers(inner), item) for item, inner, _ in parts(value, shape, ""))
    return any(strangers(item) for strangers, item in tests if strangers)


class _Scanner(json.JSONDecoder):
    """The standard library's decoder, since msgspec lets a name given twice and huge numbers pass."""

    def __init__(self) -> None:
        super().__init__(
            object_pairs_hook=_once, parse_int=_exact, parse_float=_finite, parse_constant=_constant
        )


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise Malformed("The name {name} is given twice.", {"name": twice[:64]})
    return found


def _exact(text: str) -> int:
    # The length first: Python takes quadratic time, or refuses, to read thousands of digits.
    if len(text) > 17 or abs(int(text)) > LARGEST:
        raise Malformed("A whole number beyond 2^53 is not the same number for every reader.")
    return int(text)


def _finite(text: str) -> float:
    if not isfinite(number := float(text)):
        raise Malformed("NaN and Infinity are not JSON.")
    return number


def _constant(text: str) -> float:
    raise Malformed("NaN and Infinity are not JSON.")


_SCANNER = _Scanner()


def _json(levels: int) -> Any:
    """The type of JSON nested no deeper than this, whose whole numbers everybody has."""
    flat: Any = Annotated[int, Meta(ge=-LARGEST, le=LARGEST)] | float | str | bool | None
    found = flat
    for _ in range(levels):
        found = flat | list[found] | dict[str, found]  # type: ignore[valid-type] # made as it runs
    return found


# What is deeper is doubtful: asking for a type costs nothing where the rest is read as well.
_PLAIN: msgspec.json.Decoder[Any] = msgspec.json.Decoder(_json(6))


@cache
def _decoder(struct: Any) -> msgspec.json.Decoder[Any]:
    decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(struct)
    return decoder


def _depth(value: Any) -> int:
    """How many lists and objects stand inside one another."""
    deepest, level = 0, [value]
    while level := [each for each in level if isinstance(each, dict | list)]:
        deepest += 1
        level = [inner for each in level for inner in (each.values() if isinstance(each, dict) else each)]
    return deepest


def _has_nul(value: Any) -> bool:
    match value:
        case str():
            return "\0" in value
        case dict():
            return any("\0" in key or _has_nul(inner) for key, inner in value.items())
        case list():
            return any(map(_has_nul, value))
    return False
