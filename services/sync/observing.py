"""What is counted of places: which fields say something, when they opened and closed, how fresh they are. Pure."""

from calendar import monthrange
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date
from typing import Literal, get_args

from msgspec import Struct

# In the order of a place, without what every place says; of coverage, also without what only closed ones can say.
Field = Literal[
    "alternate_names",
    "opened_on",
    "closed_on",
    "verified_on",
    "address",
    "position",
    "families",
    "types",
    "services",
    "summary",
    "description",
    "website",
    "links",
    "phone",
    "email",
    "opening_hours",
    "opening_hours_text",
    "accessibility",
    "surface",
    "operator",
    "identifiers",
    "labels",
    "photos",
]
FIELDS: tuple[Field, ...] = get_args(Field)
COVERED = tuple(field for field in FIELDS if field != "closed_on")
Age = Literal["under-6-months", "6-to-12-months", "1-to-2-years", "over-2-years", "unknown"]
AGES: tuple[tuple[Age, int], ...] = (("under-6-months", 6), ("6-to-12-months", 12), ("1-to-2-years", 24))
Days = Iterable[tuple[str | None, int]]


class Dated(Struct, frozen=True):
    """How many places by year, by month where the month is known too, and how many without a date.

    A place with a month is in its year as well.
    """

    years: dict[str, int]
    months: dict[str, int]
    unknown: int


class Span(Struct, frozen=True):
    """A class of ages: days from `since` to `until`, both included; None at an open end."""

    since: date | None
    until: date | None


class AsOf(Struct, frozen=True):
    """Which position an answer is of, and the time of the event there; of an empty log it has none."""

    cursor: str
    time: str | None


class Unsaid(Struct, frozen=True):
    """Places that say none."""

    family: int
    type: int
    label: int
    departement: int


class Records(Struct, frozen=True):
    """How many records a network has in these places, and how many of them say something of each field."""

    records: int
    fields: dict[str, int]


class Coverage(Struct, frozen=True):
    """Of how many places something is said, by field; and by network in how many of its own records.

    `networks` is null for the past: the log tells what was shown, not who else said it.
    """

    fields: dict[str, int]
    networks: dict[str, Records] | None


class Freshness(Struct, frozen=True):
    """Places by age at a day: of `verified_on`, when somebody last checked it, and of the last event about it."""

    at: date | None
    verified: dict[Age, int]
    updated: dict[Age, int]


class Stats(Struct, frozen=True):
    """Places in all, and by what they say: one may be of several networks, families, words, labels, areas, licences.

    `without`: places that have none. `erased`: places of that time of which no more is known than that they were;
    they are in no other number. `openings` and `closings` are by what places say of themselves: of those that are no
    projects, and of those that are closed, `unknown` counts the ones without a date. `licenses` and `areas` are null
    for the past.
    """

    as_of: AsOf
    places: int
    networks: dict[str, int]
    families: dict[str, int]
    types: dict[str, int]
    labels: dict[str, int]
    statuses: dict[str, int]
    departements: dict[str, int]
    licenses: dict[str, int] | None
    areas: dict[str, int] | None
    without: Unsaid
    erased: int
    openings: Dated
    closings: Dated
    coverage: Coverage
    freshness: Freshness


def said(fields: Collection[str]) -> tuple[Field, ...]:
    """Of the fields that are told of a place, those that not every place has."""
    return tuple(field for field in FIELDS if field in fields)


def dated(days: Days) -> Dated:
    """Places by dates that may be no more than a year or a month, empty where there is none."""
    years: Counter[str] = Counter()
    months: Counter[str] = Counter()
    unknown = 0
    for day, number in days:
        if not day:
            unknown += number
            continue
        years[day[:4]] += number
        if len(day) > 4:
            months[day[:7]] += number
    return Dated(dict(sorted(years.items())), dict(sorted(months.items())), unknown)


def earlier(day: date, months: int) -> date:
    """So many months before a day; the last of its month where that has no such day."""
    year, month = divmod(day.year * 12 + day.month - 1 - months, 12)
    return date(year, month + 1, min(day.day, monthrange(year, month + 1)[1]))


def spans(today: date) -> dict[Age, Span]:
    """The classes of ages at a day, youngest first; what lies ahead of it is young."""
    found: dict[Age, Span] = {}
    until: date | None = None
    for age, months in AGES:
        since = earlier(today, months)
        found[age] = Span(since, until)
        until = date.fromordinal(since.toordinal() - 1)
    return {**found, "over-2-years": Span(None, until)}


def aged(days: Days, today: date) -> dict[Age, int]:
    """Places by the age of a date at a day; of all classes, those without a date last."""
    found: dict[Age, int] = dict.fromkeys((*spans(today), "unknown"), 0)
    for day, number in days:
        found[_age(day, today)] += number
    return found


def _age(day: str | None, today: date) -> Age:
    if not day:
        return "unknown"
    for age, span in spans(today).items():
        if span.since is None or day >= span.since.isoformat():
            return age
    raise AssertionError(day)


def run(years: Mapping[str, int], least: int, most: int) -> Sequence[tuple[int, int]]:
    """The last years without a gap, of these numbers at least and at most, each with its number."""
    known = {int(year): number for year, number in years.items()}
    if not known:
        return ()
    last = max(known)
    first = min(max(min(known), last - most + 1), last - least + 1)
    return [(year, known.get(year, 0)) for year in range(first, last + 1)]
