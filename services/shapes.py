"""Annotations taken apart once: what a value of a type is made of, and which names it may have."""

from collections.abc import Iterator, Mapping
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec
from msgspec import Struct


class Shape(Struct, frozen=True):
    """An annotation, taken apart once: its type, what is asked beside it, and the parts it has."""

    base: Any
    annotation: Any
    origin: Any
    args: tuple[Any, ...]
    fields: Mapping[str, Any]
    required: tuple[str, ...]


@cache
def taken_apart(annotation: Any) -> Shape:
    """The shape of an annotation; remembered, as typing is slow to ask."""
    base = get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation
    fields: dict[str, Any] = {}
    required: list[str] = []
    if is_struct(base):
        for field in msgspec.structs.fields(base):
            fields[field.encode_name] = field.type
            if field.required:
                required.append(field.encode_name)
    return Shape(base, annotation, get_origin(base), get_args(base), fields, tuple(required))


def _chosen(value: Any, shape: Shape) -> Any:
    """The one member of a union that `value` can be meant for; None where that cannot be told."""
    members = [arg for arg in shape.args if arg is not NoneType]
    if len(members) == 1:
        return members[0]
    structs = [m for m in members if is_struct(taken_apart(m).base)]
    for member in structs:
        config = member.__struct_config__
        if isinstance(value, dict) and config.tag_field and value.get(config.tag_field) == config.tag:
            return member
    return None


def names(shape: Shape) -> list[str]:
    """The names that an object of this Struct may have, its tag included."""
    tag = shape.base.__struct_config__.tag_field
    return [*shape.fields, *([tag] if tag else [])]


def parts(value: Any, shape: Shape, path: str) -> Iterator[tuple[Any, Any, str]]:
    """The parts of `value` that have an annotation of their own: value, annotation, pointer."""
    if shape.fields and isinstance(value, dict):
        for name, annotation in shape.fields.items():
            if name in value:
                yield value[name], annotation, f"{path}/{escaped(name)}"
    elif shape.origin in (list, tuple, set, frozenset) and isinstance(value, list):
        same = shape.origin is not tuple or shape.args[1:] == (Ellipsis,)
        annotations = shape.args[:1] * len(value) if same else shape.args
        for index, (item, annotation) in enumerate(zip(value, annotations, strict=False)):
            yield item, annotation, f"{path}/{index}"
    elif shape.origin is dict and isinstance(value, dict):
        for name, item in value.items():
            yield item, shape.args[1], f"{path}/{escaped(name)}"
    elif shape.origin in (Union, UnionType) and value is not None:
        member = _chosen(value, shape)
        if member is not None:
            yield value, member, path


def is_struct(base: Any) -> bool:
    """Whether a type is a Struct."""
    return isinstance(base, type) and issubclass(base, Struct)


@cache
def holds_struct(annotation: Any) -> bool:
    """Whether a Struct can stand somewhere in values of this annotation."""
    shape = taken_apart(annotation)
    if is_struct(shape.base):
        return True
    return shape.origin is not Literal and any(holds_struct(arg) for arg in shape.args if arg is not Ellipsis)


def escaped(name: str) -> str:
    """A name as one step of a JSON pointer (RFC 6901)."""
    return name.replace("~", "~0").replace("/", "~1")
