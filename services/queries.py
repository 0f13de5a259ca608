"""Queries: the parameters of an address as a Struct, strictly."""

from collections.abc import Iterator
from functools import cache
from math import isfinite
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import msgspec
from aiohttp import web
from msgspec import Struct
from multidict import MultiDict, MultiMapping

from services.errors import Args, Fault, Malformed
from services.mistakes import mistakes, stranger, worded
from services.strict import LARGEST


def question(request: web.Request, struct: type[Struct] | None) -> Struct | None:
    """The query as a Struct; Malformed names each parameter that is unknown, repeated or wrong."""
    # Most requests ask nothing, and then nothing needs to be parsed.
    if not request.rel_url.raw_query_string:
        return _unasked(struct)
    return _read(request.query, struct)


@cache
def _unasked(struct: type[Struct] | None) -> Struct | None:
    return _read(MultiDict(), struct)


def _read(given: MultiMapping[str], struct: type[Struct] | None) -> Struct | None:
    fields = _parameters(struct)
    faults: list[Fault] = []
    values: dict[str, Any] = {}
    for name in dict.fromkeys(given):
        if name not in fields:
            faults.append(Fault(name, *stranger(name, list(fields))))
        elif len(texts := given.getall(name)) > 1:
            faults.append(Fault(name, "This parameter is given more than once."))
        else:
            faults.extend(_parameter(values, name, texts[0], fields[name]))
    faults += [
        Fault(name, "This is required.")
        for name, field in fields.items()
        if field.required and name not in given
    ]
    if faults:
        raise Malformed("The query is not right.", faults=tuple(faults))
    if struct is None:
        return None
    try:
        return struct(**values)
    except (ValueError, TypeError) as error:
        fault = Fault("", "{reason}", {"reason": str(error)})
        raise Malformed("The query is not right.", faults=(fault,)) from None


def _parameter(values: dict[str, Any], name: str, text: str, field: Any) -> Iterator[Fault]:
    if "\0" in text:
        yield Fault(name, "The text holds a NUL character.")
        return
    value: Any = text.split(",") if _is_list(field.type) else text
    if value == [""]:
        value = []
    try:
        values[field.name] = converted = msgspec.convert(value, _said(field.type), strict=False)
        for each in converted if isinstance(converted, tuple | list) else (converted,):
            if isinstance(each, float) and not isfinite(each):
                yield Fault(name, "NaN and Infinity are not allowed.")
            elif isinstance(each, int) and abs(each) > LARGEST:
                yield Fault(name, "This number is too large.")
    except msgspec.ValidationError as error:
        yield Fault(name, *_query_mistake(value, field.type, error))


def _query_mistake(value: Any, annotation: Any, error: msgspec.ValidationError) -> tuple[str, Args]:
    for fault in mistakes(value, annotation):
        if fault.args.keys() & {"choices", "example"}:
            return fault.what, fault.args
    return worded(str(error))


@cache
def _parameters(struct: type[Struct] | None) -> dict[str, Any]:
    return {field.encode_name: field for field in msgspec.structs.fields(struct)} if struct else {}


@cache
def _said(annotation: Any) -> Any:
    """What a parameter can say: nothing only by being left out, and `null` is a word like others."""
    if get_origin(annotation) is Annotated:
        inner, *said = get_args(annotation)
        return Annotated[(_said(inner), *said)]
    members = tuple(each for each in get_args(annotation) if each is not NoneType)
    return Union[members] if get_origin(annotation) in (Union, UnionType) else annotation  # noqa: UP007


@cache
def _is_list(annotation: Any) -> bool:
    origin = get_origin(annotation)
    return origin in (tuple, list) or (origin is not None and any(map(_is_list, get_args(annotation))))
