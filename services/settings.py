"""Settings of a service: one frozen Struct, filled from the environment."""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Annotated, Any, TypeVar, get_args, get_origin

import msgspec
from msgspec import NODEFAULT, Meta, Struct
from msgspec.structs import FieldInfo

from services.errors import Fault, Misconfigured
from services.mistakes import mistakes

T = TypeVar("T", bound=Struct)

_TRUTH = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


def load(struct: type[T], prefix: str, environ: Mapping[str, str]) -> T:
    """The settings named `<prefix><FIELD>` in `environ`; lists and tables are written as JSON.

    Misconfigured names the variable and what it should hold, and never repeats a value: it may be secret.
    """
    fields = {prefix + field.name.upper(): field for field in msgspec.structs.fields(struct)}
    for variable in environ:
        if variable.startswith(prefix) and variable not in fields:
            raise _unknown(variable, prefix, list(fields))
    values: dict[str, Any] = {}
    for variable, field in fields.items():
        if variable in environ:
            values[field.name] = _value(variable, field, environ[variable])
        elif field.required:
            raise Misconfigured(
                "{variable} is required: {meaning}",
                {"variable": variable, "meaning": description(field.type)},
            )
    return struct(**values)


def documented(struct: type[Struct], prefix: str) -> list[tuple[str, str, str, str]]:
    """Every setting: its variable, type, default (empty where it is required) and description."""
    return [
        (prefix + field.name.upper(), _type_name(field.type), _default(field), description(field.type))
        for field in msgspec.structs.fields(struct)
    ]


def description(annotation: Any) -> str:
    """What `Meta(description=...)` says of a field."""
    metas = [meta for meta in _metas(annotation) if isinstance(meta, Meta) and meta.description]
    return next((meta.description or "" for meta in metas), "")


def _metas(annotation: Any) -> Iterator[Any]:
    if get_origin(annotation) is Annotated:
        yield from get_args(annotation)[1:]
    for inner in get_args(annotation):
        yield from _metas(inner)


def _value(variable: str, field: FieldInfo, text: str) -> Any:
    try:
        return msgspec.convert(_readable(text, field.type), field.type, strict=False)
    except msgspec.ValidationError:
        faults = mistakes(_readable(text, field.type), field.type) or (Fault("", "This is not valid."),)
        fault = faults[0]
        args = {"variable": variable, "expectation": fault.what.format(**fault.args)}
        raise Misconfigured("{variable}: {expectation}", args) from None
    except msgspec.DecodeError:
        raise Misconfigured("{variable} must be written as JSON.", {"variable": variable}) from None


def _readable(text: str, annotation: Any) -> Any:
    """The text of a variable as a value that can be converted: JSON for lists and tables, words for truth."""
    base = _base(annotation)
    if base is bool:
        return _TRUTH.get(text.strip().lower(), text)
    if (get_origin(base) or base) in (list, tuple, set, frozenset, dict) or _is_struct(base):
        return msgspec.json.decode(text)
    return _number(text, base)


def _number(text: str, base: Any) -> Any:
    try:
        return base(text) if base in (int, float) else text
    except ValueError:
        return text


def _base(annotation: Any) -> Any:
    """The type below Annotated and `| None`."""
    if get_origin(annotation) is Annotated:
        return _base(get_args(annotation)[0])
    members = [arg for arg in get_args(annotation) if arg is not type(None)]
    if type(None) in get_args(annotation) and len(members) == 1:
        return _base(members[0])
    return annotation


def _is_struct(base: Any) -> bool:
    return isinstance(base, type) and issubclass(base, Struct)


def _type_name(annotation: Any) -> str:
    base = _base(annotation)
    origin = get_origin(base) or base
    if origin in (list, tuple, set, frozenset):
        return "JSON list"
    if origin is dict or _is_struct(base):
        return "JSON object"
    return {str: "text", int: "whole number", float: "number", bool: "yes or no"}.get(base, _choices(base))


def _choices(base: Any) -> str:
    return " or ".join(map(str, get_args(base))) or str(getattr(base, "__name__", base))


def _default(field: FieldInfo) -> str:
    if field.required:
        return ""
    value = field.default if field.default is not NODEFAULT else field.default_factory()
    if value is None:
        return "none"
    return value if isinstance(value, str) and value else msgspec.json.encode(value).decode()


def _unknown(variable: str, prefix: str, known: list[str]) -> Misconfigured:
    # Compared without the prefix: all settings of a service are alike in that.
    names = [each.removeprefix(prefix) for each in known]
    close = [prefix + each for each in get_close_matches(variable.removeprefix(prefix), names, 3)]
    if close:
        args = {"variable": variable, "close": ", ".join(close)}
        return Misconfigured("{variable} is no setting; did you mean {close}?", args)
    return Misconfigured("{variable} is no setting.", {"variable": variable})
