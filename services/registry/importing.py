"""Lists become wishes: an upload is stored first, then read row by row; killed, it starts again at row 1.

By no-op suppression a second run writes only what the first had not. Rows of one `source` that a later list no
longer has are withdrawn, behind a brake.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import islice
from tempfile import TemporaryFile
from typing import BinaryIO, Literal, cast
from uuid import UUID

import msgspec
import structlog
from msgspec import Struct
from uuid_utils import uuid7

from services import ledger, postgres
from services.errors import Conflict, Failure, Fault, Malformed, Unavailable
from services.postgres import Pool
from services.registry import mapping, reading, store
from services.registry.decide import UUID7, Import, Withdraw
from services.registry.drafting import READ, UNREADABLE, Order, batches
from services.registry.mapping import Drafted, Mapping
from services.registry.store import Job, ReportLine
from services.registry.writer import Answer, Asked, Writer, load, settle

log = structlog.get_logger()
SAMPLE = 50
BRAKE_SHARE = 0.10
BRAKE_COUNT = 5
# Nobody reads on in a report of that many lines; the counts tell the rest.
MOST_LINES = 100_000

Mode = Literal["preview", "apply"]
Missing = Literal["withdraw", "keep"]


class Counts(Struct):
    """What became of the rows of a list."""

    new: int = 0
    changed: int = 0
    unchanged: int = 0
    withdrawn: int = 0
    refused: int = 0
    repaired: int = 0


class Told(Struct, frozen=True):
    """How far an import is: rows read, share of the file read (0..1), what became of them."""

    done: int
    share: float
    counts: Counts


Tell = Callable[[Told], Awaitable[None]]


class Survey(Struct):
    """What a list would take away: of its source's `rows` those no longer in it, and places it says are closed.

    `doubtful` is the line of a row that could not be read and may be any of those: then they are `withheld`, unless
    somebody confirms that they are gone.
    """

    gone: list[str]
    closing: int
    places: int
    rows: int = 0
    doubtful: int | None = None
    withheld: list[str] = []

    @property
    def count(self) -> int:
        """Places that the import would withdraw or close."""
        return len(self.gone) + self.closing

    @property
    def braked(self) -> bool:
        """Whether that is too many to do without asking."""
        # Most of what a source had: more likely another list under the same name than a shorter one.
        most = len(self.gone) > 1 and 2 * len(self.gone) > self.rows
        unsure = self.doubtful is not None and bool(self.gone)
        return most or unsure or (self.count > BRAKE_COUNT and self.count > BRAKE_SHARE * self.places)


@asynccontextmanager
async def spooled(pool: Pool, job: Job) -> AsyncIterator[BinaryIO]:
    """The upload of a job as a file."""
    with TemporaryFile() as file:
        n = 0
        while True:
            async with pool.acquire() as conn:
                chunk = await store.chunk(conn, job.id, n)
            if chunk is None:
                break
            file.write(chunk)
            n += 1
        file.seek(0)
        yield file


def guessed(file: BinaryIO, format: reading.Format, override: dict[str, str]) -> Mapping:
    """What each column of a list means: guessed from headings and values, then as the caller says."""
    file.seek(0)
    sample = [r for r in islice(reading.rows(file, format), SAMPLE) if isinstance(r, reading.Row)]
    columns = list(dict.fromkeys(c for r in sample for c in r.cells))
    unknown = [c for c in override if sample and c not in columns]
    if unknown:
        faults = tuple(Fault("mapping", "There is no column {column}.", {"column": c}) for c in unknown)
        raise Malformed("The mapping does not fit the list.", faults=faults)
    strange = {c: t for c, t in override.items() if not mapping.is_target(t)}
    if strange:
        faults = tuple(
            Fault("mapping", "{field} is no field of a place (column {column}).", {"column": c, "field": t})
            for c, t in strange.items()
        )
        raise Malformed("The mapping does not fit the list.", faults=faults)
    found = mapping.guess(columns, [r.cells for r in sample])
    file.seek(0)
    return Mapping(fields={**found.fields, **override})


def order(job: Job) -> Order:
    """How to read the list of a job."""
    return Order(
        format=cast(reading.Format, job.format),
        mapping=msgspec.json.decode(job.mapping, type=Mapping),
        source=mapping.Source(
            system=job.source,
            license=job.license,
            today=job.created_at.date(),
            namespace=mapping.slug(job.source),
        ),
    )


async def survey(pool: Pool, job: Job, file: BinaryIO) -> Survey:
    """What this import would take away; reads the whole list only where there is something to lose."""
    async with pool.acquire() as conn:
        node = (await ledger.current(conn)).node
        here = await store.imported_places(conn, job.source)
        places = await store.count_places(conn)
    if not here:
        return Survey(gone=[], closing=0, places=places)
    listed, closed, read = set[str](), list[str](), set[str]()
    doubtful: int | None = None
    async for batch in batches(file, order(job)):
        for row in batch.rows:
            place = own(row, node) or here.get(row.key)
            if row.place is not None:
                read.add(row.key)
            if place is not None:
                listed.add(place)
                if row.place is not None and row.place.status == "closed":
                    closed.append(place)
            elif row.place is None and doubtful is None and not row.named and row.key not in read:
                doubtful = row.line
    async with pool.acquire() as conn:
        closing = await store.open_places(conn, closed)
    gone = [] if job.missing == "keep" else [p for p in here.values() if p not in listed]
    found = Survey(gone=gone, closing=closing, places=places, rows=len(here), doubtful=doubtful)
    if gone and doubtful is not None and job.confirm is None:
        found.gone, found.withheld = [], gone
    return found


def own(row: Drafted, node: str) -> str | None:
    """The id of the own place that a row of an export names."""
    whose, _, id = (row.record or "").partition(":")
    return id if whose == node and UUID7.fullmatch(id) else None


def brake(found: Survey, confirm: int | None, *, begun: bool = False) -> None:
    """Conflict when an import would take away many places and nobody has confirmed how many.

    One that has `begun` may find fewer left than were confirmed: it was killed and starts again.
    """
    if needed(found, confirm, begun=begun) is not None:
        raise Conflict(
            "This import would withdraw or close {count} of {places} places. If that is meant, send it again with"
            " confirm={count}.",
            {"count": found.count, "places": found.places},
            extra={"code": "mass-withdrawal", "count": found.count, "places": found.places},
        )


def needed(found: Survey, confirm: int | None, *, begun: bool = False) -> int | None:
    """The count that would have to be confirmed; None where there is nothing to confirm any more."""
    confirmed = confirm is not None and (confirm == found.count or (begun and found.count <= confirm))
    return found.count if found.braked and not confirmed else None


def asked(row: Drafted, job: Job, node: str) -> Asked:
    """The wish of a row: about the place that it names, if it is one of ours, else the one that it was before."""
    body = msgspec.json.encode(row.place)
    mine = own(row, node)
    if mine is not None:
        exported = Import(id=mine, body=body, exported=True, version=row.version)
        return Asked(kind="place", wish=exported, author=job.author)
    wish = Import(id=str(uuid7()), body=body)
    return Asked(kind="place", wish=wish, author=job.author, key=row.key or None, source=job.source)


class Run:
    """One pass over a list: its counts, and the report as it grows."""

    def __init__(self, pool: Pool, writer: Writer, job: Job, node: str, tell: Tell) -> None:
        self.pool, self.writer, self.job, self.node, self.tell = pool, writer, job, node, tell
        self.counts = Counts()
        self.done = self.reported = 0
        self.warned: set[str] = set()

    async def over(self, file: BinaryIO) -> Counts:
        """Read the list to its end; what became of its rows."""
        size = max(1, file.seek(0, os.SEEK_END))
        found = await survey(self.pool, self.job, file)
        async with self.pool.acquire() as conn:
            await store.need_confirm(conn, self.job.id, needed(found, self.job.confirm, begun=True))
        if self.job.mode == "apply":
            # Again: another list may have been read since this one was uploaded.
            brake(found, self.job.confirm, begun=True)
        async for batch in batches(file, order(self.job)):
            answers = await self._answers([r for r in batch.rows if r.place is not None])
            await self._report(batch.rows, answers)
            self.done += len(batch.rows)
            await self.tell(Told(self.done, min(1.0, batch.read / size), self.counts))
        await self._withdraw(found.gone)
        await self._tell_withheld(found)
        await self.tell(Told(self.done, 1.0, self.counts))
        return self.counts

    async def _answers(self, rows: Sequence[Drafted]) -> list[Answer | Failure]:
        wishes = [asked(r, self.job, self.node) for r in rows]
        if self.job.mode == "apply":
            answers = await self.writer.write_all(wishes)
        else:
            answers = await self._foreseen(wishes)
        _weather(answers)
        return answers

    async def _foreseen(self, wishes: Sequence[Asked]) -> list[Answer | Failure]:
        """What the writer would answer; nothing is written."""
        async with self.pool.acquire() as conn, conn.transaction(readonly=True):
            head = await ledger.current(conn)
            now = await load(conn, wishes, head)
            steps = [settle(w, now) for w in wishes]
        return [self.writer.foreseen(step, now) for step in steps]

    async def _report(self, batch: Sequence[Drafted], answers: Sequence[Answer | Failure]) -> None:
        outcomes = iter(answers)
        lines: list[ReportLine] = []
        for row in batch:
            answer = next(outcomes) if row.place is not None else None
            outcome, faults = self._outcome(row, answer)
            setattr(self.counts, outcome, getattr(self.counts, outcome) + 1)
            if faults and self.reported + len(lines) < MOST_LINES:
                lines.append(ReportLine(row.line, outcome, msgspec.json.encode(faults)))
        async with self.pool.acquire() as conn:
            await store.add_lines(conn, self.job.id, self.reported, lines)
        self.reported += len(lines)

    def _outcome(self, row: Drafted, answer: Answer | Failure | None) -> tuple[str, tuple[Fault, ...]]:
        if answer is None:
            # What was left out of a row is often why the rest is not enough.
            return "refused", (*self._worth_saying(row.repairs), *row.faults)
        if isinstance(answer, Failure):
            return "refused", answer.faults or (Fault("", answer.detail, answer.arguments),)
        self.counts.repaired += any(r.what not in mapping.ONCE_A_FILE for r in row.repairs)
        outcome = "new" if answer.created else "changed" if answer.changed else "unchanged"
        return outcome, self._worth_saying((*row.repairs, *row.warnings, *answer.remarks))

    def _worth_saying(self, repairs: Sequence[Fault]) -> tuple[Fault, ...]:
        """Repairs of this row; what holds for the whole file is said once."""
        new = tuple(r for r in repairs if r.what not in mapping.ONCE_A_FILE or r.what not in self.warned)
        self.warned.update(r.what for r in repairs)
        return new

    def _taking(self, place: str) -> Asked:
        wish = Withdraw(id=place, reason="other", successor=None, version=None)
        return Asked(kind="place", wish=wish, author=self.job.author, source=self.job.source)

    async def _withdraw(self, gone: Sequence[str]) -> None:
        for start in range(0, len(gone), READ):
            places = gone[start : start + READ]
            if self.job.mode == "apply":
                answers = await self.writer.write_all([self._taking(place) for place in places])
                _weather(answers)
                places = [p for p, a in zip(places, answers, strict=True) if isinstance(a, Answer)]
            self.counts.withdrawn += len(places)
            await self._tell_withdrawn(places)

    async def _tell_withheld(self, found: Survey) -> None:
        if not found.withheld or found.doubtful is None:
            return
        args = {
            "count": len(found.withheld),
            "line": found.doubtful,
            "confirm": len(found.withheld) + found.closing,
        }
        fault = Fault(
            "",
            "{count} places are no longer in the list and stay, as line {line} could not be read and may be one of"
            " them: mend it, or send the list again with confirm={confirm}.",
            args,
        )
        async with self.pool.acquire() as conn:
            line = ReportLine(0, "kept", msgspec.json.encode([fault]))
            await store.add_lines(conn, self.job.id, self.reported, [line])
        self.reported += 1

    async def _tell_withdrawn(self, places: Sequence[str]) -> None:
        what = "This row is no longer in the list."
        faults = [(Fault(f"{self.node}:{place}", what),) for place in places]
        lines = [ReportLine(0, "withdrawn", msgspec.json.encode(f)) for f in faults]
        async with self.pool.acquire() as conn:
            await store.add_lines(conn, self.job.id, self.reported, lines)
        self.reported += len(lines)


def _weather(answers: Sequence[Answer | Failure]) -> None:
    """Raise what only time can help: the import starts again."""
    for answer in answers:
        if isinstance(answer, Unavailable):
            raise answer


async def _save(pool: Pool, job: Job, state: str, told: Told, error: Fault | None = None) -> None:
    async with pool.acquire() as conn:
        total = told.done if state != "running" else int(told.done / max(told.share, 1e-6))
        counts = msgspec.json.encode(told.counts)
        why = msgspec.json.encode(error) if error else None
        await store.move_job(conn, job.id, state=state, total=total, done=told.done, counts=counts, error=why)


async def run(pool: Pool, writer: Writer, job: Job, tell: Tell | None = None) -> Counts:
    """Carry out one import from row 1; `tell` hears how far it is."""
    last = Told(0, 0.0, Counts())

    async def told(now: Told) -> None:
        nonlocal last
        last = now
        await _save(pool, job, "running" if job.state != "by hand" else job.state, now)
        if tell is not None:
            await tell(now)

    async with pool.acquire() as conn:
        await store.clear_lines(conn, job.id)
        node = (await ledger.current(conn)).node
    try:
        async with spooled(pool, job) as file:
            counts = await Run(pool, writer, job, node, told).over(file)
    except Failure as failure:
        if isinstance(failure, Unavailable):
            raise
        await _end(pool, job, "failed", last, Fault("", failure.detail, failure.arguments))
        raise
    except UNREADABLE as error:
        # A list that trips us must not come back at each start; what it had written stays, and is whole.
        log.error("import failed", job=str(job.id), exc_info=error)
        await _end(pool, job, "failed", last, Fault("", UNREAD, {"job": str(job.id)}))
        raise Malformed(UNREAD, {"job": str(job.id)}) from error
    await _end(pool, job, "done", last)
    return counts


async def _end(pool: Pool, job: Job, state: str, told: Told, error: Fault | None = None) -> None:
    await _save(pool, job, state, told, error)
    async with pool.acquire() as conn:
        await store.drop_chunks(conn, job.id)


class Request(Struct, frozen=True):
    """What is asked of an import."""

    source: str
    mode: Mode
    format: str | None
    license: str | None
    missing: Missing
    confirm: int | None
    author: str
    mapping: dict[str, str] = {}


async def stored(
    pool: Pool, request: Request, chunks: AsyncIterator[bytes], name: str | None, *, queue: bool = True
) -> Job:
    """Store an upload, guess its format and mapping, and apply the brake; `queue` it for the import loop."""
    job = Job(
        id=UUID(str(uuid7())),
        source=request.source,
        mode=request.mode,
        format=request.format or "",
        mapping=b"{}",
        license=request.license,
        missing=request.missing,
        confirm=request.confirm,
        author=request.author,
        created_at=ledger.clock(),
        state="uploading",
        total=0,
        done=0,
        counts=msgspec.json.encode(Counts()),
    )
    async with pool.acquire() as conn:
        await store.add_job(conn, job)
    try:
        await _kept(pool, job, chunks)
        job = await _understood(pool, job, request, name)
    except Failure:
        async with pool.acquire() as conn:
            await store.drop_job(conn, job.id)
        raise
    async with pool.acquire() as conn:
        state = "queued" if queue else "by hand"
        await store.queue_job(conn, job.id, state=state, format=job.format, mapping=job.mapping)
    return msgspec.structs.replace(job, state=state)


async def _kept(pool: Pool, job: Job, chunks: AsyncIterator[bytes]) -> None:
    n = 0
    async for chunk in chunks:
        async with pool.acquire() as conn:
            await store.add_chunk(conn, job.id, n, chunk)
        n += 1
    if n == 0:
        raise Malformed("This list is empty.")


async def _understood(pool: Pool, job: Job, request: Request, name: str | None) -> Job:
    async with spooled(pool, job) as file:
        format = reading.checked(request.format) if request.format else reading.sniff(file, name)
        found = await asyncio.to_thread(guessed, file, format, request.mapping)
        if not found.fields:
            raise Malformed("This list has no rows.")
        job = msgspec.structs.replace(job, format=format, mapping=msgspec.json.encode(found))
        if job.mode == "apply":
            brake(await survey(pool, job, file), request.confirm)
    return job


UNREAD = "Something in this list could not be read. Please report the number {job}."
WEATHER = (*postgres.WEATHER, Unavailable)
