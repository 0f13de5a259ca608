"""The tables of the observatory: what is counted, in words, with the list behind each number, and as CSV."""

from collections.abc import Callable, Iterable, Iterator, Mapping

from msgspec import Struct

from services import forms
from services.canonical import fold
from services.communes import departement_name
from services.landmarks import LICENSES, WORDS
from services.languages import Language
from services.sync import legends, observing
from services.sync.observing import Dated, Stats

Cell = str | int
LIVING = "open,paused,closed"


class Words(Struct, frozen=True):
    """The language, and what networks, their words and named areas are called."""

    language: Language
    networks: Mapping[str, str]
    types: Mapping[str, str]
    areas: Mapping[str, str]


class Row(Struct, frozen=True):
    """A line of a table: its cells, how it is called, what is counted, of how many, and the filters of the list behind.

    `filters` is None where no list shows just these.
    """

    cells: tuple[Cell, ...]
    label: str
    number: int
    whole: int
    filters: Mapping[str, str] | None = None


class Table(Struct, frozen=True):
    """Lines under the names of columns; `missing`: how many places are in none."""

    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    missing: int = 0


def csv(table: Table, told: tuple[str, str, str]) -> bytes:
    """A table as CSV: each line says who computes the view, at which position it is and of which time."""
    lines = [forms.line((*table.columns, "computed_by", "position", "time"))]
    lines += (forms.line(forms.guarded(str(cell)) for cell in (*row.cells, *told)) for row in table.rows)
    return b"".join(lines)


def _coded(
    column: str, filter: str, numbers: Mapping[str, int], label: Callable[[str], str], stats: Stats
) -> Iterator[Row]:
    """Rows by code, in the order of what these are called."""
    for code, number in sorted(numbers.items(), key=lambda each: (fold(label(each[0])), each[0])):
        yield Row((code, label(code), number), label(code), number, stats.places, {filter: code})


def _simple(column: str, rows: Iterable[Row], missing: int = 0) -> Table:
    return Table((column, "label", "places"), tuple(rows), missing)


def _families(stats: Stats, words: Words) -> Table:
    called = WORDS["family"][words.language]
    rows = _coded("family", "family", stats.families, lambda code: called.get(code, code), stats)
    return _simple("family", rows, stats.without.family)


def _types(stats: Stats, words: Words) -> Table:
    rows = _coded("type", "type", stats.types, lambda code: words.types.get(code, code), stats)
    return _simple("type", rows, stats.without.type)


def _statuses(stats: Stats, words: Words) -> Table:
    called = WORDS["status"][words.language]
    found = ((code, stats.statuses.get(code, 0)) for code in ("project", "open", "paused", "closed"))
    rows = (
        Row((code, called[code], n), called[code], n, stats.places, {"status": code}) for code, n in found
    )
    return _simple("status", rows)


def _departements(stats: Stats, words: Words) -> Table:
    rows = (
        Row((code, departement_name(code) or "", n), f"{code} {departement_name(code) or ''}".strip(), n, stats.places,
            {"departement": code})
        for code, n in sorted(stats.departements.items())
    )  # fmt: skip
    return _simple("departement", rows, stats.without.departement)


def _networks(stats: Stats, words: Words) -> Table:
    rows = _coded("network", "network", stats.networks, lambda id: words.networks.get(id, id), stats)
    return _simple("network", rows)


def _areas(stats: Stats, words: Words) -> Table:
    rows = _coded("area", "area", stats.areas or {}, lambda id: words.areas.get(id, id), stats)
    return _simple("area", rows)


def _labels(stats: Stats, words: Words) -> Table:
    return _simple("label", _coded("label", "label", stats.labels, str, stats), stats.without.label)


def _licenses(stats: Stats, words: Words) -> Table:
    known = {code: n for code, n in (stats.licenses or {}).items() if code != "?"}
    rows = [*_coded("license", "license", known, lambda code: LICENSES.get(code, code), stats)]
    none = (stats.licenses or {}).get("?", 0)
    if none:
        called = legends.NO_LICENSE[words.language]
        rows.append(Row(("", called, none), called, none, stats.places))
    return _simple("license", rows)


def _years(dated: Dated, words: Words, filter: str, unknown: Mapping[str, str] | None) -> Table:
    """By year; those without a date last."""
    whole = sum(dated.years.values()) + dated.unknown
    rows = [Row((year, n), year, n, whole, {filter: str(int(year))}) for year, n in dated.years.items()]
    if dated.unknown:
        rows.append(Row(("", dated.unknown), legends.UNKNOWN[words.language], dated.unknown, whole, unknown))
    return Table(("year", "places"), tuple(rows), dated.unknown)


def _months(dated: Dated) -> Table:
    """By month; in a row without a month those of which only the year is known, in one without a year the rest."""
    whole = sum(dated.years.values()) + dated.unknown
    rows: list[Row] = []
    for year, number in dated.years.items():
        inside = {month: n for month, n in dated.months.items() if month[:4] == year}
        rows += (Row((year, month[5:], n), month, n, whole) for month, n in inside.items())
        if left := number - sum(inside.values()):
            rows.append(Row((year, "", left), year, left, whole))
    if dated.unknown:
        rows.append(Row(("", "", dated.unknown), "", dated.unknown, whole))
    return Table(("year", "month", "places"), tuple(rows), dated.unknown)


def _openings(stats: Stats, words: Words) -> Table:
    return _years(stats.openings, words, "opened_year", {"unsaid": "opened_on", "status": LIVING})


def _closings(stats: Stats, words: Words) -> Table:
    return _years(stats.closings, words, "closed_year", {"unsaid": "closed_on", "status": "closed"})


def _coverage(stats: Stats, words: Words) -> Table:
    called, whole = legends.FIELDS[words.language], stats.places
    rows = (
        Row((field, called[field], n, whole), called[field], n, whole, {"said": field})
        for field, n in stats.coverage.fields.items()
    )
    return Table(("field", "label", "places", "of"), tuple(rows))


def _by_network(stats: Stats, words: Words) -> Table:
    called = legends.FIELDS[words.language]
    rows: list[Row] = []
    heard = stats.coverage.networks or {}
    for id in sorted(heard, key=lambda id: (fold(words.networks.get(id, id)), id)):
        name, whole = words.networks.get(id, id), heard[id].records
        rows += (
            Row((id, name, field, called[field], n, whole), name, n, whole)
            for field, n in heard[id].fields.items()
        )
    return Table(("network", "name", "field", "label", "records", "of"), tuple(rows))


def _ages(numbers: Mapping[observing.Age, int], stats: Stats, words: Words, filter: str) -> Table:
    called = legends.AGES[words.language]
    rows: list[Row] = []
    spans = observing.spans(stats.freshness.at) if stats.freshness.at else {}
    for age, number in numbers.items():
        span = spans.get(age)
        since, until = (
            end.isoformat() if end else "" for end in ((span.since, span.until) if span else (None, None))
        )
        filters = {filter: f"{since or '..'}/{until or '..'}"} if span else None
        if age == "unknown" and filter == "verified":
            filters = {"unsaid": "verified_on"}
        rows.append(Row((age, called[age], since, until, number), called[age], number, stats.places, filters))
    return Table(("age", "label", "since", "until", "places"), tuple(rows), numbers.get("unknown", 0))


TABLES: Mapping[str, Callable[[Stats, Words], Table]] = {
    "families": _families,
    "types": _types,
    "statuses": _statuses,
    "openings": _openings,
    "openings-by-month": lambda stats, _: _months(stats.openings),
    "closings": _closings,
    "closings-by-month": lambda stats, _: _months(stats.closings),
    "departements": _departements,
    "areas": _areas,
    "coverage": _coverage,
    "coverage-by-network": _by_network,
    "verified": lambda stats, words: _ages(stats.freshness.verified, stats, words, "verified"),
    "updated": lambda stats, words: _ages(stats.freshness.updated, stats, words, "datetime"),
    "networks": _networks,
    "labels": _labels,
    "licenses": _licenses,
}
