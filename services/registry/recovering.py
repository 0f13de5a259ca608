"""The federation is the backup: what witnesses hold of our own log, we have not lost."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import aiohttp
import msgspec
import structlog
from msgspec import Struct
from msgspec.structs import replace

from schemas.event import MAX_PAGE, PLACE_PUT, RECORD_ERASE, Checkpoint, Event, Line
from schemas.node import Signed
from schemas.place import Place
from services import (
    fetching,
    identity,
    ledger,
    ledger_epochs,
    ledger_repair_store,
    ledger_store,
    proofs,
    witness,
)
from services.errors import Failure, Forked, Unavailable, Untrue
from services.identity import Identity
from services.ledger import Pen
from services.ledger_store import Entry, Head
from services.merkle import Range
from services.places import departement
from services.postgres import Connection, Pool
from services.proofs import Followed
from services.registry import archive_store, erased, mapping, rebuilding, store
from services.witness import Tail

# How many signatures somebody else may have seen after the last one that a witness saw.
MARGIN = 2**20
ANSWER = aiohttp.ClientTimeout(total=10)
AT_START, PERIOD, ON_HOLD = 3.0, 300.0, 10.0
AT_ONCE = 500
log = structlog.get_logger()


class Report(Struct, frozen=True):
    """What one witness says of our log, each checkpoint by a key of ours."""

    url: str
    chain: Sequence[Signed]
    said: list[Checkpoint]

    @property
    def furthest(self) -> Checkpoint:
        """The last that it saw of us."""
        return max(self.said, key=lambda said: (said.epoch, said.size, said.n))


class Witnesses(Struct, frozen=True):
    """Whom to ask, and what it takes to write down what they say."""

    pool: Pool
    pen: Pen
    client: aiohttp.ClientSession
    urls: tuple[str, ...]


async def at_start(pool: Pool, pen: Pen, urls: tuple[str, ...]) -> None:
    """Ask witnesses before we serve, for three seconds at most: a region waits for nobody."""
    try:
        async with asyncio.timeout(AT_START) as limit:
            await consult(pool, pen, urls)
    except TimeoutError:
        if not limit.expired():
            raise
        log.warning("witnesses are slow", seconds=AT_START)


async def consult(pool: Pool, pen: Pen, urls: tuple[str, ...]) -> None:
    """Ask all witnesses once, and do what follows from what they say."""
    if not urls:
        return
    async with fetching.client() as client:
        asking = Witnesses(pool, pen, client, urls)
        async with pool.acquire() as conn:
            chain, head = await ledger.descriptors(conn), await ledger.current(conn)
        if head.hold in (None, "restored"):
            told = await asyncio.gather(*(_told(asking, url, chain) for url in urls))
            if reports := [report for report in told if report is not None and report.said]:
                await _settle(asking, reports)


async def _told(asking: Witnesses, url: str, ours: Sequence[Signed]) -> Report | None:
    """What a witness says of us; None where it is away, or where it proves nothing."""
    try:
        return await _asked(asking.client, url.rstrip("/"), ours)
    except (Unavailable, Untrue) as why:
        log.warning("no witness", witness=url, detail=why.detail.format(**why.arguments))
        return None


async def _asked(client: aiohttp.ClientSession, url: str, ours: Sequence[Signed]) -> Report:
    whose = identity.verified(ours)
    signed = witness.about(await _get(client, f"{url}/observed"), whose.node)
    chain = ours
    if any(proofs.said(one).descriptor not in whose.heads for one in signed):
        chain = witness.chain(await _get(client, f"{url}/observed/{whose.node}/descriptors"), ours)
    return Report(url=url, chain=chain, said=witness.present(signed, identity.verified(chain)))


async def _get(client: aiohttp.ClientSession, url: str) -> bytes:
    try:
        async with client.get(url, timeout=ANSWER, allow_redirects=False) as response:
            if response.status == 200:
                return await fetching.whole(response, fetching.MOST_PAGE)
            why = str(response.status)
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        why = f"{type(error).__name__}: {error}"
    raise Unavailable("There is no answer at {url}: {why}", {"url": url, "why": why})


async def _settle(asking: Witnesses, reports: Sequence[Report]) -> None:
    """Go on where nothing is missing, take back what is, and stop where they hold another log than we do."""
    best = max(reports, key=lambda report: (_order(report.furthest), len(report.chain)))
    n = max(said.n for report in reports for said in report.said)
    try:
        if await _lost(asking, reports, n):
            await _take_back(asking, best, n)
    except Forked as forked:
        url = str(forked.extra.get("witness", best.url))
        await _contradicted(asking, next(r for r in reports if r.url == url), forked)
    except Failure as why:
        cursor = f"{best.furthest.epoch}.{best.furthest.size}"
        log.error("lost", witness=best.url, cursor=cursor, detail=why.detail.format(**why.arguments))


def _order(said: Checkpoint) -> tuple[int, int, int]:
    return said.epoch, said.size, said.n


async def _lost(asking: Witnesses, reports: Sequence[Report], n: int) -> bool:
    """Whether a witness holds more than we do. Then nothing is written until we have it; else we go on."""
    async with asking.pool.acquire() as conn, conn.transaction():
        head = await ledger.locked(conn)
        known = len(await ledger.descriptors(conn))
        more = False
        for report in reports:
            for said in report.said:
                more |= len(report.chain) > known or said.size > head.size
                if said.epoch == head.epoch and head.floor <= said.size <= head.size:
                    witness.agree(await _range(conn, head, said.size), said, report.url)
        if more:
            await ledger_store.replace_head(conn, replace(head, hold="restored"))
        elif head.hold is not None or n > head.n:
            margin = max(n, head.n) + MARGIN
            head = await ledger_epochs.go_on(conn, head, asking.pen, rebuilding.rewound, n=margin)
            log.info("nothing is missing", cursor=f"{head.epoch}.{head.size}", n=head.n)
    return more


async def _range(conn: Connection, head: Head, size: int) -> Range:
    if size == head.size:
        return Range(size, head.peaks)
    return await ledger_epochs.range_at(conn, head, size)


async def _contradicted(asking: Witnesses, report: Report, forked: Forked) -> None:
    """Stop: two logs bear our signature, and only the root key can say from where on one of them goes on."""
    async with asking.pool.acquire() as conn, conn.transaction():
        head = await ledger.locked(conn)
        await ledger_store.replace_head(conn, replace(head, hold="contradicted"))
    try:
        common = str(await _common(asking, report, head))
    except Failure as why:
        common = why.detail.format(**why.arguments)
    detail = forked.detail.format(**forked.arguments)
    log.error("contradicted", detail=detail, common=common, **forked.extra)


async def _common(asking: Witnesses, report: Report, head: Head) -> int:
    """The last event up to which the witness and we have the same log."""
    whose = identity.verified(report.chain)
    low, high = head.floor, min(report.furthest.size, head.size)
    while low < high:
        seq = (low + high + 1) // 2
        cursor = f"{whose.epoch_of(seq - 1)}.{seq - 1}"
        where = f"{report.url}/observed/{head.node}/feed?after={cursor}&limit=1"
        lines = proofs.page(await _get(asking.client, where)).lines
        async with asking.pool.acquire() as conn, conn.transaction():
            ours = [leaf async for leaf in ledger_repair_store.leaves(conn, after=seq - 1, until=seq)]
        if ours == [witness.leaf(line) for line in lines[:1]]:
            low = seq
        else:
            high = seq - 1
    return low


async def _take_back(asking: Witnesses, report: Report, n: int) -> None:
    """Write our lost events as they were, and go on after them."""
    whose = identity.verified(report.chain)
    async with asking.pool.acquire() as conn, conn.transaction():
        head = await ledger.locked(conn)
        known = len(await ledger.descriptors(conn))
        head = await _standing(conn, head, whose)
        back = _Back(conn, Tail(whose, Range(head.size, head.peaks)))
        await back.read(asking.client, report, head)
        await ledger_epochs.add_descriptors(conn, report.chain, after=known)
        tree = back.tail.tree
        head = replace(
            head,
            epoch=whose.epoch,
            size=tree.size,
            peaks=tree.peaks,
            descriptor=whose.hash,
            hold=None,
            full_size=-1,
        )
        if len(report.chain) > known:
            head = replace(head, kid=ledger_epochs.signs(whose, head, asking.pen))
        await back.settle(asking.pen.keyring.folder)
        margin = max(n, head.n) + MARGIN
        head = await ledger_epochs.go_on(conn, head, asking.pen, rebuilding.rewound, n=margin)
    log.info("recovered", witness=report.url, events=back.count, cursor=f"{head.epoch}.{head.size}")


async def _standing(conn: Connection, head: Head, whose: Identity) -> Head:
    """The head without what epochs that we had forgotten cut off."""
    last = whose.last_of(head.epoch)
    if last is None or last >= head.size:
        return head
    tree = await ledger_epochs.range_at(conn, head, last)
    await rebuilding.rewound(conn, await ledger_repair_store.cut(conn, last))
    return replace(head, size=last, peaks=tree.peaks)


class _Back:
    """Events on their way back from a witness."""

    def __init__(self, conn: Connection, tail: Tail) -> None:
        self.conn, self.tail = conn, tail
        self.start = tail.tree.size
        self.versions: dict[str, int] = {}
        self.erasing: list[Entry] = []
        self.opened: dict[str, Place] = {}

    @property
    def count(self) -> int:
        """How many came back."""
        return self.tail.tree.size - self.start

    async def read(self, client: aiohttp.ClientSession, report: Report, head: Head) -> None:
        """Read what is missing, page by page, up to the last that the witness saw."""
        close, epoch = report.furthest, head.epoch
        while (size := self.tail.tree.size) < close.size:
            where = f"{report.url}/observed/{head.node}/feed?after={epoch}.{size}&limit={MAX_PAGE}"
            lines = proofs.page(await _get(client, where)).lines[: close.size - size]
            if not lines:
                raise Untrue(
                    "The witness has {size} events, not {signed}.", {"size": size, "signed": close.size}
                )
            await self._write(lines, self.tail.take(lines))
            epoch = self.tail.whose.epoch_of(self.tail.tree.size)
        witness.agree(self.tail.tree, close, report.url)

    async def _write(self, lines: Sequence[Line], found: Sequence[Followed]) -> None:
        new = {_record(one) for one in found} - self.versions.keys()
        self.versions |= dict.fromkeys(new, 0) | await ledger_store.versions(self.conn, sorted(new))
        entries = [
            self._entry(one, one.event) if one.event else self._gone(one, line)
            for line, one in zip(lines, found, strict=True)
        ]
        await archive_store.take_back(self.conn, entries)
        self.erasing += [entry for entry in entries if entry.type == RECORD_ERASE]

    def _entry(self, one: Followed, said: Event) -> Entry:
        version = self.versions[said.subject] = self.versions[said.subject] + 1
        if said.recordversion != version:
            raise Forked(
                "We signed another version of {record} than the one that we have.", {"record": said.subject}
            )
        if said.type == PLACE_PUT and version == 1:
            self.opened[said.subject] = msgspec.json.decode(said.data, type=Place)
        return Entry(
            seq=one.seq,
            epoch=one.epoch,
            record=said.subject,
            version=version,
            type=said.type,
            time=datetime.fromisoformat(said.time),
            raw=one.raw,
            kid=one.kid,
            sig=one.sig,
            leaf=one.leaf,
            routing=_routing(said),
            also=None,
            author="witness",
        )

    def _gone(self, one: Followed, line: Line) -> Entry:
        """An event that was erased: of what type it was nobody knows any more, and its version follows."""
        assert line.by is not None  # noqa: S101 - it is by what the tail proved that it is erased
        record, said = _record(one), msgspec.json.decode(line.by.raw, type=Event)
        version = self.versions[record] = self.versions[record] + 1
        told = (one.seq, one.epoch, record, version, PLACE_PUT, datetime.fromisoformat(said.time))
        return Entry(*told, b"", line.by.kid, b"", one.leaf, "_", None, "witness")

    async def settle(self, folder: Path) -> None:
        """Make rows of what came back, and forget what it says is erased."""
        await ledger_repair_store.index(self.conn, after=self.start)
        await ledger_epochs.redact(self.conn, self.erasing)
        if await archive_store.unexplained(self.conn):
            raise Untrue("The witness does not say why an event is gone.")
        erased.note(folder, self.erasing)
        records = sorted(self.versions)
        for start in range(0, len(records), AT_ONCE):
            await rebuilding.remade(self.conn, records[start : start + AT_ONCE])
        await self._relist()

    async def _relist(self) -> None:
        """Which rows of lists the new places are, so that the next list does not open them again."""
        for source in await store.sources(self.conn):
            rows = {
                mapping.identity(place): (record.rpartition(":")[2], msgspec.json.encode(place))
                for record, place in self.opened.items()
                if place.origin is not None and place.origin.system == source
            }
            known = await store.imported(self.conn, source, list(rows))
            await store.remember_imported(
                self.conn, source, {k: r for k, r in rows.items() if k not in known}
            )


def _record(one: Followed) -> str:
    return one.erased.record if one.erased else one.event.subject if one.event else ""


def _routing(said: Event) -> str:
    noun, verb = said.type.split(".")[2:4]
    here = departement(msgspec.json.decode(said.data, type=Place)) if said.type == PLACE_PUT else None
    return f"{noun}.{verb}.{here or '_'}"
