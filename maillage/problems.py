"""What can go wrong: the docstring is what happened, the message what can be done about it."""

from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

import msgspec
from msgspec import Struct

# Answers of a server, or of a proxy before it, that it may give better a moment later.
PASSING = frozenset((429, 502, 503, 504))
LOST = frozenset(("cursor-too-old", "epoch-changed"))
CODE = "urn:maillage:problem:"


class Failure(Exception):
    """Something was asked that could not be had.

    `passing`: the same question may get an answer later. `retry_after`: after so many seconds, where the server
    says so.
    """

    passing = False
    retry_after: float | None = None


class Unreachable(Failure):
    """Nobody answered, or the answer was cut."""

    passing = True


class Unusable(Failure):
    """What answered is not what was asked for: it leads elsewhere, is too long, or means something else."""


class Mistake(Struct, frozen=True):
    """One mistake of a question: in which parameter, or where in a body, and what was expected."""

    detail: str
    parameter: str | None = None
    pointer: str | None = None


class Problem(Failure):
    """The server says why not (RFC 9457).

    `code` is its word for it, empty where it has none; `members` is all that it said.
    """

    def __init__(self, status: int, title: str, members: Mapping[str, Any]) -> None:
        self.status, self.title, self.members = status, title, members
        self.detail = str(members.get("detail") or "")
        self.code = str(members.get("type") or "").removeprefix(CODE)
        self.errors = _mistakes(members)
        self.passing = status in PASSING
        lines = (f"{status} {title} {self.detail}".strip(), *map(_line, self.errors))
        super().__init__(*map(_printable, lines))

    def __str__(self) -> str:
        return "\n".join(self.args)


class CursorGone(Problem):
    """One cannot read on from this cursor: begin anew with an export or a snapshot, and go on from its cursor."""


def problem(status: int, reason: str, headers: Mapping[str, str], body: bytes) -> Problem:
    """What an answer says that is none."""
    members = _members(body) if "json" in headers.get("Content-Type", "") else {}
    kind = CursorGone if str(members.get("type") or "").removeprefix(CODE) in LOST else Problem
    found = kind(status, str(members.get("title") or reason), members)
    found.retry_after = _seconds(headers.get("Retry-After"), headers.get("Date"))
    return found


def _members(body: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}


def _mistakes(members: Mapping[str, Any]) -> tuple[Mistake, ...]:
    try:
        return msgspec.convert(members.get("errors", ()), tuple[Mistake, ...])
    except msgspec.ValidationError:
        return ()


def _line(mistake: Mistake) -> str:
    where = mistake.parameter or mistake.pointer
    return f"  {where}: {mistake.detail}" if where else f"  {mistake.detail}"


def _printable(text: str) -> str:
    """Words of a server for a terminal: nothing that it would take for an order."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def _seconds(retry_after: str | None, date: str | None) -> float | None:
    """Seconds of a Retry-After, which may be a moment by the server's clock; None for what is neither."""
    if retry_after is None:
        return None
    if retry_after.isascii() and retry_after.isdigit():
        return float(retry_after[:9])
    try:
        return (parsedate_to_datetime(retry_after) - parsedate_to_datetime(date or "")).total_seconds()
    except (ValueError, TypeError):
        return None
