"""`/observatory`: what is counted of the places of the view, as a page, with plots, tables and the lists behind."""

import asyncio
from collections.abc import Mapping
from contextlib import nullcontext
from datetime import date
from typing import Annotated, Any

from aiohttp import web
from msgspec import Meta, Struct, structs
from yarl import URL

from services import http, pages
from services.errors import NotFound
from services.languages import Language
from services.ledger_http import LEDGER, turn
from services.postgres import Connection
from services.routes import Route
from services.sync import legends, observing, plots
from services.sync.api import stats
from services.sync.api.reading import Form, made, moment
from services.sync.api.selecting import RENAMED
from services.sync.api.stats import Counted
from services.sync.context import SETTINGS, TRUST
from services.sync.observing import Stats
from services.sync.plots import Bar, Plot, Size
from services.sync.tabulating import TABLES, Row, Table, Words

SVG = "image/svg+xml"
# A picture runs nothing and asks nobody, also where it is opened by itself.
POLICY = "default-src 'none'; style-src 'unsafe-inline'"
# In this order on the page, and which of them are drawn.
FIGURES = (
    "families",
    "types",
    "statuses",
    "openings",
    "closings",
    "departements",
    "areas",
    "coverage",
    "coverage-by-network",
    "verified",
    "updated",
    "networks",
    "labels",
    "licenses",
)
DRAWN = ("families", "statuses", "openings", "closings", "coverage", "verified", "updated")
YEARS = ("openings", "closings")
BY_MONTH = {name: f"{name}-by-month" for name in YEARS}


class Plotted(Counted, frozen=True, rename=RENAMED):
    """Which places are counted, when, and how wide the picture is."""

    size: Annotated[Size, Meta(description="For a page, or for a telephone.")] = "wide"


class Line(Struct, frozen=True):
    """A line of a table as a page shows it; `href` is the list behind it."""

    label: str
    number: str
    share: str
    href: str | None


class Figure(Struct, frozen=True):
    """A figure of the page: what it counts, in words, its picture where it has one, its table."""

    name: str
    heading: str
    title: str
    note: str
    lines: list[Line]
    plot: str | None
    narrow: str | None
    download: str
    by_month: str | None


class Said:
    """Numbers and dates as people of a language write them."""

    def __init__(self, language: Language) -> None:
        self.language = language

    def number(self, number: int) -> str:
        """A number in groups of thousands."""
        from babel.numbers import format_decimal

        return format_decimal(number, locale=self.language)

    def share(self, part: int, whole: int) -> str:
        """A part in per cent."""
        from babel.numbers import format_percent

        if not whole:
            return "—"
        # What is there does not round to nothing.
        small = 0 < part / whole < 0.01
        return ("< " if small else "") + format_percent(0.01 if small else part / whole, locale=self.language)

    def day(self, day: date | None) -> str:
        """A day."""
        from babel.dates import format_date

        return format_date(day, "long", locale=self.language) if day else "—"


async def show_observatory(request: web.Request) -> web.Response:
    """What is counted of the places, now or at a past date: plots, tables, and the list behind each number."""
    query = asked(request, http.asked(request, Counted))
    language = pages.spoken(request)
    # A long way back is long work: few do it at a time.
    waiting = turn(request.app[LEDGER]) if query.as_of else nullcontext()
    async with waiting, moment(request) as conn:
        context = await made(lambda conn: _context(request, conn, query, language), conn)
    return pages.page(request, "observatory.html", **context)


def asked(request: web.Request, query: Counted) -> Counted:
    """The query without what a form sends of fields that are left empty."""
    return structs.replace(
        query, **{name: None for name in ("as_of", "area", "q") if not getattr(query, name)}
    )


async def _context(
    request: web.Request, conn: Connection, query: Counted, language: Language
) -> dict[str, Any]:
    found = await stats.counted(request, conn, query)
    every = await stats.counted(request, conn, Counted())
    words = await stats.words(conn, language)
    said = Said(language)
    day = said.day(found.freshness.at)
    return {
        "title": request.app[SETTINGS].name,
        "listening": sum(node.mode == "follow" for node in request.app[TRUST].now.nodes),
        "stats": found,
        "day": day,
        "said": said,
        "recent": sum(found.freshness.verified.get(age, 0) for age in ("under-6-months", "6-to-12-months")),
        "dated": sum(found.openings.years.values()),
        "figures": [
            figure
            for name in FIGURES
            if (figure := _figure(name, found, words, _filters(request))) and figure.lines
        ],
        "matrix": _matrix(found, words, said, _filters(request)),
        "choices": {name: TABLES[table](every, words).rows for name, table in CHOICES.items()},
        "chosen": _filters(request),
    }


CHOICES = {"network": "networks", "family": "families", "departement": "departements", "area": "areas"}


def _filters(request: web.Request) -> dict[str, str]:
    """What the address asks for, without what is empty."""
    return {name: value for name, value in request.query.items() if value and name != "size"}


def _figure(name: str, found: Stats, words: Words, chosen: Mapping[str, str]) -> Figure | None:
    """A figure of the page; None of what is no list."""
    if name == "coverage-by-network":
        return None
    said, table = Said(words.language), TABLES[name](found, words)
    heading, title, note = legends.TITLES[words.language][name]
    plot = URL(f"/observatory/plots/{name}.svg").with_query(chosen) if _drawn(name, found) else None
    month = BY_MONTH.get(name)
    return Figure(
        name=name,
        heading=heading,
        title=dated(title, found, said),
        note=note.format(**_known(name, found, table, said)),
        lines=[_line(row, said, chosen) for row in table.rows],
        plot=str(plot) if plot else None,
        narrow=str(plot.update_query(size="narrow")) if plot else None,
        download=_download(name, chosen),
        by_month=_download(month, chosen) if month else None,
    )


def _drawn(name: str, found: Stats) -> bool:
    """Whether a figure has a picture: where no year is known there is nothing to draw."""
    years = {"openings": found.openings.years, "closings": found.closings.years}
    return name in DRAWN and bool(years.get(name, True))


def _download(name: str, chosen: Mapping[str, str]) -> str:
    return str(URL(f"/stats/{name}.csv").with_query(chosen))


def dated(title: str, found: Stats, said: Said) -> str:
    """What a figure counts, and at which date."""
    return f"{title}, {'au' if said.language == 'fr' else 'on'} {said.day(found.freshness.at)}"


def _known(name: str, found: Stats, table: Table, said: Said) -> dict[str, str]:
    """How many places there are, are in a table, and are not."""
    whole = sum(row.number for row in table.rows) if name in YEARS else found.places
    numbers = {"places": found.places, "with": whole - table.missing, "without": table.missing}
    return {what: said.number(number) for what, number in numbers.items()}


def _line(row: Row, said: Said, chosen: Mapping[str, str]) -> Line:
    """A line with the list behind it, where there is one: of the past there is none."""
    listed = row.filters is not None and "as_of" not in chosen and row.number
    href = URL("/").with_query({**chosen, **(row.filters or {})}) if listed else None
    return Line(
        row.label, said.number(row.number), said.share(row.number, row.whole), str(href) if href else None
    )


def _matrix(found: Stats, words: Words, said: Said, chosen: Mapping[str, str]) -> dict[str, Any] | None:
    """What each network says: a column for each, a row for each field."""
    rows = TABLES["coverage-by-network"](found, words).rows
    if not rows:
        return None
    heading, title, note = legends.TITLES[words.language]["coverage-by-network"]
    networks = list(dict.fromkeys((row.cells[0], row.label, row.whole) for row in rows))
    shares: dict[str, list[str]] = {}
    for row in rows:
        shares.setdefault(str(row.cells[3]), []).append(said.share(row.number, row.whole))
    return {
        "heading": heading,
        "title": dated(title, found, said),
        "note": note,
        "networks": [(name, said.number(whole)) for _, name, whole in networks],
        "shares": shares,
        "download": _download("coverage-by-network", chosen),
    }


async def show_plot(request: web.Request) -> web.Response:
    """A figure of the observatory as a picture."""
    plotted, name = http.asked(request, Plotted), request.match_info["name"]
    query = asked(request, Counted(**{f: getattr(plotted, f) for f in Counted.__struct_fields__}))
    if name not in DRAWN:
        raise NotFound("There is no such plot; there are {names}.", {"names": ", ".join(DRAWN)})
    language = pages.spoken(request)

    async def answer(conn: Connection) -> bytes:
        found = await stats.counted(request, conn, query)
        words = await stats.words(conn, language)
        # Aside: the library takes its time, the first time above all.
        return await asyncio.to_thread(plots.svg, plot(name, found, words), plotted.size)

    response = await stats.told(request, query, answer, Form(media=SVG, language=language))
    response.headers["Content-Security-Policy"] = POLICY
    return response


def plot(name: str, found: Stats, words: Words) -> Plot:
    """A figure as bars: of years those that are known, without a gap."""
    said, title = (
        Said(words.language),
        dated(legends.TITLES[words.language][name][1], found, Said(words.language)),
    )
    if name in YEARS:
        years = (found.openings if name == "openings" else found.closings).years
        run = observing.run(years, plots.LEAST, plots.MOST["wide"])
        return Plot(title, [Bar(str(year), n, said.number(n)) for year, n in run], years=True)
    rows = TABLES[name](found, words).rows
    if name == "coverage":
        shares = [Bar(r.label, r.number / (r.whole or 1), said.share(r.number, r.whole)) for r in rows]
        return Plot(title, shares, most=1)
    return Plot(title, [Bar(r.label, r.number, said.number(r.number)) for r in rows])


ROUTES = (
    Route("GET", "/observatory", show_observatory, query=Counted, replies={200: "text/html"}),
    Route("GET", "/observatory/plots/{name}.svg", show_plot, query=Plotted, replies={200: SVG}),
)
