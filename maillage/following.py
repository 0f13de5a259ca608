"""Follow a log from a cursor on: a node's own (`/feed`), or a selection of one that a notify makes (`/changes`)."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from time import monotonic
from typing import Any

import msgspec
from msgspec import Struct

from maillage.problems import Unreachable, Unusable
from schemas import event as events
from schemas.event import Event, Line, SignedText, Withdrawal
from schemas.subscription import Change, Changes
from schemas.view import ViewPut, ViewRemove

# A server that does not wait although it is asked to is not asked again at once.
CALM_S = 1.0


class Page(Struct, frozen=True):
    """Changes, up to where in the log they reach, and whether there may be more now."""

    changes: tuple[Change, ...]
    cursor: str
    more: bool


class Following:
    """The changes of a log after a cursor, in order, each once: `async for change in following`.

    `cursor` says up to where they are done with: it moves when the next one is asked for, and past what nobody is
    told of. Whoever stores it after each change, or `change.cursor`, goes on from there without a gap.
    """

    def __init__(self, read: Callable[[str], Awaitable[Page]], after: str, *, wait: bool) -> None:
        self.cursor, self._read, self._wait = after, read, wait

    async def __aiter__(self) -> AsyncIterator[Change]:
        while True:
            asked = monotonic()
            page = await self._read(self.cursor)
            for change in page.changes:
                yield change
                self.cursor = change.cursor
            self.cursor = page.cursor
            if not page.more and not self._wait:
                return
            if not page.more and not page.changes:
                await asyncio.sleep(max(0.0, asked + CALM_S - monotonic()))


def selected(body: bytes) -> Page:
    """A page of a notify's `/changes`."""
    found = msgspec.json.decode(body, type=Changes)
    return Page(found.changes, found.cursor, found.more)


def fed(body: bytes, after: str) -> Page:
    """A page of a feed, read after a cursor, as the changes of places in it.

    What is erased, and what this version cannot read, is passed over: as every reader of the protocol does.
    """
    *lines, last = [msgspec.json.decode(line, type=Line) for line in body.splitlines()] or [Line()]
    if last.checkpoint is None:
        raise Unreachable("The page of the feed was cut.")
    epoch = msgspec.json.decode(last.checkpoint.raw, type=_Close).epoch
    cursor, changes = after, []
    for seq, line in enumerate(lines, start=int(after.partition(".")[2]) + 1):
        event = _event(line, seq)
        cursor = f"{event.epoch if event else epoch}.{seq}"
        if event and (change := _change(event, cursor)):
            changes.append(change)
    return Page(tuple(changes), cursor, bool(lines))


class _Close(Struct):
    epoch: int
    size: int


def closed(body: bytes) -> str:
    """The cursor up to which a checkpoint reaches."""
    close = msgspec.json.decode(msgspec.json.decode(body, type=SignedText).raw, type=_Close)
    return f"{close.epoch}.{close.size}"


def _event(line: Line, seq: int) -> Event | None:
    """The event of a line; None where it is erased or cannot be read. Unusable where it stands at another place."""
    if line.raw is None:
        return None
    try:
        event = msgspec.json.decode(line.raw, type=Event)
    except msgspec.DecodeError:
        return None
    if int(event.sequence) != seq:
        raise Unusable(f"The feed goes on with {event.id} where event {seq} should be.")
    return event


def _change(event: Event, cursor: str) -> Change | None:
    tell = TELLERS.get(event.type)
    try:
        return tell(event, cursor) if tell else None
    except msgspec.DecodeError:
        return None


def _told(event: Event, cursor: str, **what: Any) -> Change:
    """A change of the place that an event is of, in the words in which a notify tells it."""
    cause = (f"{event.source.rpartition(':')[2]}/{event.id}",)
    id = ":".join(event.subject.split(":")[-2:])
    said = {"id": id, "place": None, "changed": {}, "cause": cause, **what}
    return Change(cursor=cursor, time=event.time, **said)


def _view_put(event: Event, cursor: str) -> Change:
    put = msgspec.json.decode(event.data, type=ViewPut)
    return _told(
        event,
        cursor,
        id=put.id,
        view="updated" if put.before else "entered",
        place=msgspec.json.decode(put.after),
        changed=msgspec.json.decode(put.changed),
        cause=put.cause,
        dataref=put.dataref,
    )


def _view_remove(event: Event, cursor: str) -> Change:
    gone = msgspec.json.decode(event.data, type=ViewRemove)
    what = {"id": gone.id, "reason": gone.reason, "moved_to": gone.moved_to, "cause": gone.cause}
    return _told(event, cursor, view="left", **what)


def _place_put(event: Event, cursor: str) -> Change:
    view = "entered" if event.recordversion == 1 else "updated"
    return _told(event, cursor, view=view, place=msgspec.json.decode(event.data))


def _place_withdraw(event: Event, cursor: str) -> Change:
    said = msgspec.json.decode(event.data, type=Withdrawal)
    return _told(event, cursor, view="left", reason=said.reason, moved_to=said.successor)


def _erase(event: Event, cursor: str) -> Change:
    return _told(event, cursor, view="erased", reason="erased")


TELLERS: dict[str, Callable[[Event, str], Change]] = {
    events.VIEW_PUT: _view_put,
    events.VIEW_REMOVE: _view_remove,
    events.PLACE_PUT: _place_put,
    events.PLACE_WITHDRAW: _place_withdraw,
    events.RECORD_ERASE: _erase,
}
