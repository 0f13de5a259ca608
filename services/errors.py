"""Failures are few: the docstring is the title, the detail is a message with named arguments.

Messages are English format strings that serve as gettext ids; the French stands in `web/locale`.
"""

from collections.abc import Mapping
from typing import ClassVar

from msgspec import Struct

Args = Mapping[str, str | int | float]


class Fault(Struct, frozen=True):
    """One mistake: where (a JSON pointer, a parameter, or a column) and what was expected."""

    where: str
    what: str
    args: Args = {}


class Failure(Exception):
    """Something was asked that cannot be done."""

    code: ClassVar[str] = "failure"

    def __init__(
        self,
        detail: str = "",
        args: Args | None = None,
        *,
        faults: tuple[Fault, ...] = (),
        extra: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.arguments: Args = args or {}
        self.faults = faults
        self.extra: Mapping[str, object] = extra or {}


class Malformed(Failure):
    """The request could not be read."""

    code = "malformed"


class Unauthorized(Failure):
    """A valid token is needed."""

    code = "unauthorized"


class Forbidden(Failure):
    """Your token does not allow this."""

    code = "forbidden"


class NotFound(Failure):
    """There is nothing here."""

    code = "not-found"


class NotAllowed(Failure):
    """This address does not take that method."""

    code = "method-not-allowed"


class Conflict(Failure):
    """This contradicts what is already there."""

    code = "conflict"


class Gone(Failure):
    """This was here and has been taken back."""

    code = "gone"


class Stale(Failure):
    """The record has changed since you read it."""

    code = "stale"


class TooLarge(Failure):
    """The request is too large."""

    code = "too-large"


class Unsupported(Failure):
    """This media type is not understood here."""

    code = "unsupported-media-type"


class Invalid(Failure):
    """Some of what was sent is not valid."""

    code = "invalid"


class Missing(Failure):
    """A precondition is required."""

    code = "precondition-required"


class TooMany(Failure):
    """Too many requests."""

    code = "too-many"


class Unavailable(Failure):
    """The service cannot do this now."""

    code = "unavailable"


class Misconfigured(Failure):
    """The settings are not right."""

    code = "misconfigured"


class Untrue(Failure):
    """What a node sent does not prove: its signatures, numbers or roots do not fit."""

    code = "untrue"


class Forked(Untrue):
    """A node signed two things that contradict each other."""

    code = "forked"


class Corrupt(Failure):
    """What is stored here is not what was proven."""

    code = "corrupt"
