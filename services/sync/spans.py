"""`datetime=`: a moment, a day, or a span of them that may be open (OGC API Features, RFC 3339). Pure."""

import re
from datetime import UTC, datetime, time

# In an address that was not encoded, a plus is a space. GDAL ends a date with `T`.
INSTANT = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"(?:[Tt ](?:([0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?)([Zz]|[-+ ][0-9]{2}:[0-9]{2})?)?)?"
)
Span = tuple[datetime | None, datetime | None]


def span(text: str) -> Span | None:
    """The first and the last moment that are meant; None at an open end. None for what is no such text."""
    ends = text.split("/")
    if len(ends) > 2 or text in ("", ".."):
        return None
    try:
        found = [_ends(end) for end in ends]
    except (ValueError, OverflowError):
        return None
    since, until = found[0][0], found[-1][1]
    if since is None and until is None and len(ends) == 2:
        return None, None
    return None if since and until and since > until else (since, until)


def _ends(text: str) -> Span:
    """The first and the last moment of one side; nothing of an open one. ValueError for what is none."""
    if text in ("", ".."):
        return None, None
    match = INSTANT.fullmatch(text)
    if match is None:
        raise ValueError(text)
    day, clock, zone = match.groups()
    if clock is None:
        start = datetime.fromisoformat(day).replace(tzinfo=UTC)
        return start, datetime.combine(start, time.max, UTC)
    offset = "+00:00" if zone in (None, "Z", "z") else zone.replace(" ", "+")
    moment = datetime.fromisoformat(f"{day}T{_microseconds(clock)}{offset}").astimezone(UTC)
    return moment, moment


def _microseconds(clock: str) -> str:
    """A clock time with at most six decimals, which is as fine as times are kept."""
    seconds, point, decimals = clock.partition(".")
    return seconds + point + decimals[:6].ljust(6, "0") if point else seconds
