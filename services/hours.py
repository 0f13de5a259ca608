"""Opening hours in OSM's syntax as lines for people, where they say no more than days and times. Pure."""

import re

import opening_hours
from msgspec import Struct

DAYS = ("Mo", "Tu", "We", "Th", "Fr", "Sa", "Su", "PH")
_DAY = "|".join(DAYS)
_RULE = re.compile(
    rf"(?:(?P<days>(?:{_DAY})(?:-(?:{_DAY}))?(?:,(?:{_DAY})(?:-(?:{_DAY}))?)*) )?"
    r"(?P<times>closed|off|\d\d:\d\d-\d\d:\d\d(?:,\d\d:\d\d-\d\d:\d\d)*)"
)


class Line(Struct, frozen=True):
    """Days (`Mo`, or first and last of several) and the spans of time; none where it is closed then."""

    days: tuple[tuple[str, str], ...]
    spans: tuple[tuple[str, str], ...]


def lines(text: str) -> list[Line] | None:
    """What the hours say, day by day; None where they say more than that, or cannot be read."""
    try:
        rules = opening_hours.OpeningHours(text).normalize()
    except opening_hours.ParserError:  # type: ignore[attr-defined] # it is not in the stubs
        return None
    if str(rules) == "24/7":
        return [Line(days=(), spans=(("00:00", "24:00"),))]
    found = [_RULE.fullmatch(rule) for rule in str(rules).split("; ")]
    return [_line(rule) for rule in found if rule] if all(found) else None


def _line(rule: re.Match[str]) -> Line:
    days = [day.partition("-") for day in (rule["days"] or "").split(",") if day]
    spans = [] if rule["times"] in ("closed", "off") else rule["times"].split(",")
    return Line(
        days=tuple((first, last or first) for first, _, last in days),
        spans=tuple((span[:5], span[6:]) for span in spans),
    )
