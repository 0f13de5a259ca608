"""Damaged events put right from another holder: only what was signed, and what makes the roots agree."""

from collections.abc import AsyncIterator, Callable, Mapping

from msgspec import Struct
from msgspec.structs import replace

from schemas.event import Line, SignedText
from services import audit, signing
from services.audit import Audit, Damage, Kept
from services.errors import Args
from services.holders import Holder
from services.identity import Identity
from services.merkle import Range

# How often a stretch that parts from what was signed is looked for, and how many events are asked for in it.
MOST_STRETCHES = 20
MOST_STRETCH = 20_000


class Log(Struct, frozen=True):
    """A stored log: its whole part, the roots signed by size, how its events are read (as often as one likes)."""

    whose: Identity
    epoch: int
    start: Range
    now: Range
    marks: Mapping[int, str]
    events: Callable[[], AsyncIterator[Kept]]


class Told(Struct, frozen=True):
    """A damage as a message with its arguments, whether it is mended, and whose log it is in where there are many."""

    what: str
    args: Args
    mended: bool = False
    whose: str = ""


class Outcome(Struct, frozen=True):
    """What became of a log: events to be written, what was found, the range over its leaves as they are then.

    `tree` is None where the log does not prove.
    """

    write: list[Kept]
    told: list[Told]
    tree: Range | None


def told(what: str, args: Args, *, mended: bool = False) -> Told:
    """A damage in words."""
    return Told(what, args, mended)


async def walked(log: Log, instead: Mapping[int, Kept] | None = None) -> Audit:
    """A walk over a log as it would be with these events instead of the stored ones."""
    walk = Audit(log.start, log.marks, log.whose, instead)
    async for kept in log.events():
        walk.take(kept)
    walk.end(log.now.size)
    return walk


async def mend(log: Log, holder: Holder | None) -> Outcome:
    """Find what is damaged in a log, and the events that put it right; without another holder it is only told."""
    first = walk = await walked(log)
    if holder is None:
        return Outcome([], _told(log, first, walk, frozenset()), _tree(walk))
    instead, signed_so = await _singly(log, first, holder)
    walk = await walked(log, instead)
    for _ in range(MOST_STRETCHES):
        more = await _stretch(log, walk, holder)
        if not more:
            break
        instead |= more
        walk = await walked(log, instead)
    first.damaged = [d for d in first.damaged if d.kept.seq not in signed_so]
    write = [kept for seq, kept in instead.items() if walk.proves(seq)]
    return Outcome(write, _told(log, first, walk, frozenset(k.seq for k in write)), _tree(walk))


def _tree(walk: Audit) -> Range | None:
    return None if walk.broken or walk.missing else walk.tree


async def _singly(log: Log, walk: Audit, holder: Holder) -> tuple[dict[int, Kept], set[int]]:
    """Damaged events as they were; and those of which another holder has the same, as they came from their node."""
    instead: dict[int, Kept] = {}
    signed_so: set[int] = set()
    for found in walk.damaged:
        text = None if found.part == "leaf" else await _text(log, found.kept, holder)
        if (whole := audit.mended(found, text, log.whose)) is not None:
            instead[found.kept.seq] = whole
        elif text is not None and found.part == "signature" and _same(found.kept, text):
            signed_so.add(found.kept.seq)
    return instead, signed_so


async def _text(log: Log, kept: Kept, holder: Holder) -> SignedText | None:
    lines = await holder.events(_before(log, kept.seq), 1)
    return _signed(lines[0]) if lines else None


def _before(log: Log, seq: int) -> str:
    """The cursor after which an event comes."""
    return f"{log.whose.epoch_of(seq)}.{seq - 1}" if seq > 1 else "0.0"


def _signed(line: Line) -> SignedText | None:
    if line.raw is None or line.kid is None or line.sig is None:
        return None
    return SignedText(raw=line.raw, kid=line.kid, sig=line.sig)


def _same(kept: Kept, text: SignedText) -> bool:
    return (text.raw.encode(), text.kid, text.sig) == (kept.raw, kept.kid, signing.text(kept.sig))


async def _stretch(log: Log, walk: Audit, holder: Holder) -> dict[int, Kept]:
    """Events by which another holder differs, between two signed roots of which the log reaches the first only."""
    if walk.broken is None:
        return {}
    low, high = walk.broken
    stored = {
        kept.seq: walk.instead.get(kept.seq, kept) async for kept in log.events() if low < kept.seq <= high
    }
    found: dict[int, Kept] = {}
    after = low
    while after < min(high, low + MOST_STRETCH):
        lines = await holder.events(_before(log, after + 1), high - after)
        for seq, line in enumerate(lines, start=after + 1):
            kept = stored.get(seq)
            whole = _theirs(log, line, kept) if kept else None
            if kept is not None and whole is not None and whole.leaf != kept.leaf:
                found[seq] = whole
        if not lines:
            break
        after += len(lines)
    return found


def _theirs(log: Log, line: Line, kept: Kept) -> Kept | None:
    """An event as another holder has it; of an erased one the leaf, which the next root proves."""
    if kept.erased and line.redacted and line.leaf:
        return replace(kept, leaf=bytes.fromhex(line.leaf))
    text = _signed(line)
    return audit.offered(text, kept, log.whose) if text else None


def _told(log: Log, first: Audit, walk: Audit, written: frozenset[int]) -> list[Told]:
    found = [_of_event(d, mended=d.kept.seq in written) for d in first.damaged]
    for seq in sorted(written - {d.kept.seq for d in first.damaged}):
        cursor = f"{log.whose.epoch_of(seq)}.{seq}"
        found.append(told("Event {cursor} is not the one that was signed.", {"cursor": cursor}, mended=True))
    if walk.broken:
        low, high = walk.broken
        found.append(
            told("Events {low} to {high} are not those that were signed.", {"low": low + 1, "high": high})
        )
    if walk.missing:
        found.append(told("Event {seq} is missing.", {"seq": walk.missing}))
    return found


def _of_event(found: Damage, *, mended: bool) -> Told:
    args = {"cursor": found.kept.cursor}
    match found.part:
        case "bytes":
            return told("Event {cursor}: its bytes are damaged.", args, mended=mended)
        case "leaf":
            return told("Event {cursor}: its leaf is damaged.", args, mended=mended)
        case "signature":
            return told("Event {cursor}: its signature is damaged.", args, mended=mended)
