"""The client: one address, and what can be asked there."""

from collections.abc import AsyncIterator, Iterable, Mapping
from datetime import date
from functools import partial
from math import inf
from pathlib import Path
from typing import Self, TypedDict, TypeVar, Unpack
from urllib.parse import quote

import msgspec
from yarl import URL

from maillage import answers, downloads, following
from maillage.answers import Feature, Items, Network, Past, Place, Stats, Told
from maillage.asking import LONGEST_WAIT, Door, Query
from maillage.downloads import Export
from maillage.following import Following, Page
from maillage.problems import CursorGone, Unusable
from schemas.subscription import Change

T = TypeVar("T")
Words = str | Iterable[str]
When = str | date

ITEMS = "collections/places/items"
START = "0.0"
# Places, events or changes that are asked for at a time.
PAGE = 1000


class Shown(TypedDict, total=False):
    """How places are shown: with the values of one network first, or with what some licences cover alone."""

    voice: str
    license: Words


class Filters(Shown, total=False):
    """Which places: those that fit all of these, where any value of one will do.

    `q`: words, accent-blind; `bbox`: west, south, east, north in degrees; `near`: latitude, longitude, kilometres;
    `area`: the id or name of a named area; `network`: node ids or the view's names for them; `datetime`: when a
    network last said something; `filter`: CQL2 text, for all that has no parameter of its own.
    """

    q: str
    bbox: Iterable[float]
    near: Iterable[float]
    area: str
    ids: Words
    network: Words
    family: Words
    type: Words
    label: Words
    status: Words
    departement: Words
    insee: Words
    name: str
    postcode: str
    city: str
    datetime: str
    sortby: Words
    filter: str


class Selection(TypedDict, total=False):
    """Which changes: those of places that fitted all of these before or after. `network` holds node ids."""

    network: Words
    family: Words
    departement: Words
    bbox: Iterable[float]


class Client:
    """A view, a registry or a notify at an address: `async with Client("https://vue.exemple.fr") as view: …`.

    `patience`: for how many seconds a question waits out bad weather. `language`: in which problems are told.
    """

    def __init__(self, url: str, *, language: str = "en", patience: float = 60.0) -> None:
        self._door = Door(url, language=language, patience=patience)

    async def __aenter__(self) -> Self:
        self._door.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._door.close()

    # What a view holds

    async def items(self, **filters: Unpack[Filters]) -> AsyncIterator[Feature]:
        """Places, page by page to the end, each once, however the view changes meanwhile."""
        query: Query | None = {**written(filters), "limit": str(PAGE)}
        seen: set[str] = set()
        while query is not None:
            page = await self._ask(ITEMS, query, Items)
            fresh = [feature for feature in page.features if feature.id not in seen]
            query = _next(page)
            if query is not None and not fresh:
                raise Unusable("The pages of this view lead nowhere.")
            for feature in fresh:
                seen.add(feature.id)
                yield feature

    async def matched(self, **filters: Unpack[Filters]) -> int:
        """How many places there are."""
        return (await self._ask(ITEMS, {**written(filters), "limit": "1"}, Items)).matched

    async def item(self, id: str, **shown: Unpack[Shown]) -> Feature:
        """One place, flat; any id that it has ever had finds it."""
        return await self._ask(f"{ITEMS}/{_segment(id)}", written(shown), Feature)

    async def place(self, id: str, **shown: Unpack[Shown]) -> Place:
        """One place with every voice; of one that is gone, the Problem says why."""
        return await self._ask(f"places/{_segment(id)}", written(shown), Place)

    async def past(self, id: str, as_of: When) -> Past:
        """One place as it was shown at a time, or at the end of a day in UTC."""
        return await self._ask(f"places/{_segment(id)}", written({"as_of": as_of}), Past)

    async def history(self, id: str) -> AsyncIterator[Told]:
        """What became of a place in this view, oldest first."""
        page: str | None = START
        while page is not None:
            query = {"page": page, "limit": str(PAGE)}
            found = await self._ask(f"places/{_segment(id)}/history", query, answers.History)
            if found.next == page:
                raise Unusable("The pages of this history lead nowhere.")
            page = found.next
            for told in found.changes:
                yield told

    async def networks(self) -> tuple[Network, ...]:
        """The networks that the view listens to, and how it goes with them."""
        return (await self._ask("networks", {}, answers.Networks)).networks

    async def stats(self, as_of: When | None = None) -> Stats:
        """How many places there are, or were at a time."""
        return await self._ask("stats", written({"as_of": as_of}), Stats)

    # What changes

    def changes(self, after: str = START, *, wait: bool = True) -> Following:
        """The changes of places in the log of a view, or of a registry, after a cursor.

        Without `wait` they end where the log ends now; with it never, and weather is waited out without end. Of a
        registry's own log `changed` is not told. CursorGone where one cannot read on from there.
        """
        return Following(partial(self._fed, wait=wait), after, wait=wait)

    async def now(self) -> str:
        """A cursor from which to follow what is yet to change: where the log stood at its last full checkpoint.

        That is at most a second ago, so that a few last changes may come again.
        """
        return await self._door.ask("checkpoint", {}, following.closed)

    def selected(self, after: str = START, *, wait: bool = True, **selection: Unpack[Selection]) -> Following:
        """The changes that concern a selection, at a notify: what entered it, was updated in it, or left it."""
        read = partial(self._selected, wait=wait, selection=written(selection))
        return Following(read, after, wait=wait)

    async def mirror(
        self,
        ending: str,
        path: str | Path,
        after: str | None = None,
        *,
        etalab: bool = False,
        wait: bool = True,
    ) -> AsyncIterator[Export | Change]:
        """Everything, then what changes, with neither gap nor overlap: an Export, then one Change after the other.

        With a cursor that was stored it goes on from there. Where the log has let go of what follows it, another
        Export comes: take it in place of all that was held. Store the `cursor` of each step once it is done with.
        """
        export = None
        while True:
            if after is None:
                export = await self.export(ending, path, etalab=etalab)
                yield export
                after = export.cursor
            log = self.changes(after, wait=wait)
            try:
                async for change in log:
                    yield change
                return
            except CursorGone:
                if export is not None and log.cursor == export.cursor:
                    raise
                after = None

    # Files

    async def export(
        self, ending: str, path: str | Path, *, etalab: bool = False, as_of: When | None = None
    ) -> Export:
        """The file of all places with this ending (`geojsonl`, `csv`, …), or of what is free under etalab-2.0."""
        name = f"exports/places{'-etalab' if etalab else ''}.{_segment(ending)}"
        return await downloads.download(self._door, name, written({"as_of": as_of}), Path(path))

    async def _ask(self, path: str, query: Query, kind: type[T]) -> T:
        return await self._door.ask(path, query, partial(msgspec.json.decode, type=kind))

    async def _fed(self, after: str, *, wait: bool) -> Page:
        query = {"after": after, **_waiting(wait=wait)}
        return await self._door.ask(
            "feed", query, partial(following.fed, after=after), patience=inf if wait else None
        )

    async def _selected(self, after: str, *, wait: bool, selection: Query) -> Page:
        query = {**selection, "since": after, **_waiting(wait=wait)}
        return await self._door.ask("changes", query, following.selected, patience=inf if wait else None)


def _waiting(*, wait: bool) -> Query:
    return {"limit": str(PAGE), "wait": str(LONGEST_WAIT) if wait else "0"}


def written(values: Mapping[str, object]) -> dict[str, str]:
    """Parameters as an address has them; those without a value are left out."""
    return {name: _word(value) for name, value in values.items() if value is not None}


def _word(value: object) -> str:
    match value:
        case str():
            return value
        case date():
            return value.isoformat()
        case Iterable():
            return ",".join(map(_word, value))
    return str(value)


def _segment(text: str) -> str:
    """A text as one part of a path."""
    return quote(text, safe=":")


def _next(page: Items) -> Query | None:
    """What the `next` link of a page asks; only that, for wherever it leads we go on at the address we began at."""
    for link in page.links:
        if link.rel == "next":
            return dict(URL(link.href).query)
    return None
