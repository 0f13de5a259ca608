"""Mistakes: where a JSON value is not what a type describes, each with its place and in words for people."""

import re
from collections.abc import Iterator
from difflib import get_close_matches
from functools import cache
from typing import Annotated, Any, Literal, get_args, get_origin

import msgspec
from msgspec import Raw, Struct, ValidationError

from services.errors import Args, Fault
from services.shapes import Shape, escaped, is_struct, names, parts, taken_apart


def mistakes(value: Any, annotation: Any) -> tuple[Fault, ...]:
    """Every way in which a JSON value is not what `annotation` describes, in the order of its fields."""
    return tuple(_mistakes(value, annotation, ""))


def worded(message: str) -> tuple[str, Args]:
    """What msgspec says, as one of our messages and its arguments."""
    message = message.split(" - at `")[0]
    for wording in _WORDINGS:
        if match := re.fullmatch(wording.pattern, message, re.DOTALL):
            return wording.template, match.groupdict()
    return "This is not what is expected here.", {}


def stranger(name: str, known: list[str]) -> tuple[str, Args]:
    """The message for a name that nobody knows, with the closest known one."""
    close = get_close_matches(name, known, 1)
    if close:
        return "Unknown name; did you mean {close}?", {"close": close[0]}
    return "Unknown name.", {}


def _mistakes(value: Any, annotation: Any, path: str) -> Iterator[Fault]:
    shape = taken_apart(annotation)
    if shape.base is Raw or shape.base is Any:
        return
    found = False
    inner = list(parts(value, shape, path))
    for item, of, pointer in inner:
        for fault in _mistakes(item, of, pointer):
            found = True
            yield fault
    if isinstance(value, dict) and is_struct(shape.base):
        for name in shape.required:
            if name not in value:
                found = True
                yield Fault(f"{path}/{escaped(name)}", "This is required.")
        for name in value:
            if name not in (known := names(shape)):
                found = True
                yield Fault(f"{path}/{escaped(name)}", *stranger(name, known))
    if not found and not _holds_raw(annotation):
        yield from _own(value, shape, path)


@cache
def _holds_raw(annotation: Any) -> bool:
    """Whether a value of this annotation cannot be converted from Python values, because bytes are kept."""
    seen, found = set(), [annotation]
    for each in found:
        shape = taken_apart(each)
        if shape.base is Raw:
            return True
        if each not in seen and shape.origin is not Literal:
            seen.add(each)
            found += [inner for inner in (*shape.fields.values(), *shape.args) if inner is not Ellipsis]
    return False


def _own(value: Any, shape: Shape, path: str) -> Iterator[Fault]:
    """What is wrong with the value itself, its parts being right."""
    choices = shape.args if shape.origin is Literal else ()
    if choices and value not in choices:
        yield Fault(path, "One of these is expected: {choices}.", {"choices": ", ".join(map(str, choices))})
        return
    try:
        msgspec.convert(value, shape.annotation)
    except ValidationError as error:
        yield Fault(path, *_formed(shape.annotation, *worded(str(error))))


def _formed(annotation: Any, what: str, args: Args) -> tuple[str, Args]:
    """A message about a pattern, by an example where there is one."""
    if "pattern" in args and (example := _example(annotation)):
        return "This does not have the form of {example}.", {"example": example}
    return what, args


def _example(annotation: Any) -> str:
    """The first example that `Meta` gives: people understand one better than a pattern."""
    for each in get_args(annotation)[1:] if get_origin(annotation) is Annotated else ():
        for example in getattr(each, "examples", None) or ():
            return str(example)
    return ""


def overall(error: ValidationError) -> Fault:
    """The mistake that msgspec found, with its path (`$.a[0].b`) as a JSON pointer."""
    _, _, path = str(error).partition(" - at `$")
    pointer = re.sub(r"\[(\d+)\]", r"/\1", path.rstrip("`")).replace("[...]", "").replace(".", "/")
    return Fault(pointer, *worded(str(error)))


class _Wording(Struct, frozen=True):
    """What msgspec says, as a pattern, and how we say it."""

    pattern: str
    template: str


_WORDINGS = (
    _Wording(r"Expected `str` of length >= 1", "Something has to stand here."),
    _Wording(r"Expected `str` of length >= (?P<least>\d+)", "Too short: {least} characters at least."),
    _Wording(r"Expected `str` of length <= (?P<most>\d+)", "Too long: {most} characters at most."),
    _Wording(r"Expected `array` of (?:at most )?length <= (?P<most>\d+)", "Too many: {most} at most."),
    _Wording(r"Expected `array` of (?:at least )?length >= (?P<least>\d+)", "Too few: {least} at least."),
    _Wording(r"Expected `array` of length (?P<exact>\d+).*", "Exactly {exact} items are expected."),
    _Wording(r"Expected `object` of length <= (?P<most>\d+)", "Too many: {most} at most."),
    _Wording(r"Expected `object` of length >= (?P<least>\d+)", "Too few: {least} at least."),
    _Wording(
        r"Expected `str` matching regex ['\"](?P<pattern>.+)['\"]", "This does not have the form {pattern}."
    ),
    _Wording(r"Expected `(?:int|float)` >= (?P<least>\S+)", "Too small: {least} at least."),
    _Wording(r"Expected `(?:int|float)` <= (?P<most>\S+)", "Too large: {most} at most."),
    _Wording(r"Expected `(?:int|float)` > (?P<least>\S+)", "Too small: more than {least} is expected."),
    _Wording(r"Expected `(?:int|float)` < (?P<most>\S+)", "Too large: less than {most} is expected."),
    _Wording(r"Expected `str(?: \| null)?`.*", "Text is expected."),
    _Wording(r"Expected `int(?: \| null)?`.*", "A whole number is expected."),
    _Wording(r"Expected `float(?: \| null)?`.*", "A number is expected."),
    _Wording(r"Expected `bool(?: \| null)?`.*", "true or false is expected."),
    _Wording(r"Expected `array(?: \| null)?`.*", "A list is expected."),
    _Wording(r"Expected `object(?: \| null)?`.*", "An object is expected."),
    _Wording(r"Expected `(?P<expected>[^`]+)`.*", "This is expected here: {expected}."),
    _Wording(r"(?:Number|Integer value) out of range", "This number is too large."),
    _Wording(r"Invalid UUID", "This is not a UUID."),
    _Wording(r"Invalid RFC3339 encoded \w+", "A date or time as in RFC 3339 is expected."),
    _Wording(r"Object missing required field `(?P<name>[^`]+)`", "The field {name} is required."),
)
