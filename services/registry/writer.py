"""The one write path: wishes queue up, and each batch becomes one transaction."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Literal

import msgspec
from msgspec import Struct
from prometheus_client import CollectorRegistry, Counter, Histogram

from schemas import event
from schemas.place import Place
from services import ledger, ledger_store, postgres
from services.bell import Bell
from services.canonical import fold
from services.errors import Failure, Fault, Invalid, Stale, Unavailable
from services.ledger import Draft, Pen
from services.ledger_store import Entry
from services.places import departement
from services.postgres import Connection, Pool
from services.registry import decide, store
from services.registry.decide import (
    Import,
    Open,
    Outcome,
    Put,
    Rival,
    Row,
    Taken,
    Unchanged,
    Wish,
    Withdraw,
    Written,
)

Kind = Literal["place", "claim", "vocabulary", "area"]

PUT = {
    "place": event.PLACE_PUT,
    "claim": event.CLAIM_PUT,
    "vocabulary": event.VOCABULARY_PUT,
    "area": event.AREA_PUT,
}
WITHDRAW = {
    "place": event.PLACE_WITHDRAW,
    "claim": event.CLAIM_WITHDRAW,
    "area": event.AREA_WITHDRAW,
}
MOST_QUEUED = 10_000


class Once(Struct, frozen=True):
    """An idempotency key: whose, which, and the hash of the request it stands for."""

    token: str
    key: str
    request: bytes


class Asked(Struct, frozen=True):
    """A wish on the queue: of what kind of record, and by whom.

    `key` finds a record by what it is about and not by its id: the pair of a claim, a word, the row `key` of
    the list `source`. Then the id of the wish is the one that a new record would get.
    """

    kind: Kind
    wish: Wish
    author: str
    key: str | None = None
    source: str | None = None
    once: Once | None = None


class Answer(Struct, frozen=True):
    """What became of a wish: the record as it stands, and whether this wish made or changed it.

    `repeated` is the seq of the event that answered the same request before; `remarks` says what was not taken.
    """

    row: Row
    created: bool = False
    changed: bool = False
    repeated: int | None = None
    remarks: tuple[Fault, ...] = ()


class Gauges:
    """What operators see of the writer."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.events = Counter(
            "maillage_writer_events_total", "Events appended to the log", ["type"], registry=registry
        )
        self.refused = Counter(
            "maillage_writer_refused_total", "Wishes refused, by problem", ["code"], registry=registry
        )
        self.batch = Histogram(
            "maillage_writer_batch_size",
            "Wishes in a batch",
            buckets=(1, 4, 16, 64, 256, 1000),
            registry=registry,
        )


class Loaded(Struct):
    """What a batch decides upon; grows as its wishes are decided, so that later ones see earlier ones."""

    node: str
    seq: int
    places: dict[str, Row] = {}
    others: dict[str, Row] = {}
    rivals: dict[str, list[Rival]] = {}
    answered: dict[tuple[str, str], store.Answered] = {}
    keyed: dict[tuple[str, str], str] = {}
    imported: dict[tuple[str, str], store.Imported] = {}
    exported: dict[tuple[str, int], bytes] = {}

    def rows(self, kind: Kind) -> dict[str, Row]:
        """The records of this kind."""
        return self.places if kind == "place" else self.others


class Step(Struct):
    """A wish with what was decided of it, and the record before and after."""

    asked: Asked
    outcome: Outcome | None = None
    failure: Failure | None = None
    before: Row | None = None
    after: Row | None = None
    place: Place | None = None
    repeated: int | None = None


class Writer:
    """Takes wishes from requests and imports, and writes them in batches."""

    def __init__(self, pool: Pool, pen: Pen, bell: Bell, gauges: Gauges) -> None:
        self.pool, self.pen, self.bell, self.gauges = pool, pen, bell, gauges
        self._queue: asyncio.Queue[tuple[Asked, asyncio.Future[Answer]]] = asyncio.Queue(MOST_QUEUED)

    async def write(self, asked: Asked) -> Answer:
        """Queue one wish and wait for its batch; raises what was decided against it."""
        return await self._put(asked)

    async def write_all(self, many: Sequence[Asked]) -> list[Answer | Failure]:
        """Queue wishes together; an answer or a failure for each."""
        futures = [self._put(asked) for asked in many]
        answers = await asyncio.gather(*futures, return_exceptions=True)
        for answer in answers:
            if isinstance(answer, BaseException) and not isinstance(answer, Failure):
                raise answer
        return [a for a in answers if isinstance(a, (Answer, Failure))]

    def _put(self, asked: Asked) -> asyncio.Future[Answer]:
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        try:
            self._queue.put_nowait((asked, future))
        except asyncio.QueueFull:
            future.set_exception(
                Unavailable("More changes are waiting than can be written.", extra={"retry_after": 1})
            )
        return future

    async def run(self) -> None:
        """Write batches for ever: while one commits, the next gathers."""
        while True:
            batch = [await self._queue.get()]
            while len(batch) < ledger.BATCH and not self._queue.empty():
                batch.append(self._queue.get_nowait())
            await self._settle(batch)

    async def _settle(self, batch: Sequence[tuple[Asked, asyncio.Future[Answer]]]) -> None:
        waiting = [(a, f) for a, f in batch if not f.done()]
        try:
            answers = await self._written([a for a, _ in waiting])
        except postgres.WEATHER:
            self._abandon(waiting, Unavailable("The database is away.", extra={"retry_after": 2}))
            return
        except Unavailable as why:
            # The log is on hold: it may be let go while we wait.
            self._abandon(waiting, why)
            return
        except BaseException:
            self._abandon(waiting, Unavailable("The service is stopping."))
            raise
        for (_, future), answer in zip(waiting, answers, strict=True):
            _resolve(future, answer)

    def _abandon(self, waiting: Sequence[tuple[Asked, asyncio.Future[Answer]]], why: Failure) -> None:
        for _, future in waiting:
            _resolve(future, why)

    async def write_together(self, compute: Callable[[Connection], Awaitable[Sequence[Asked]]]) -> None:
        """Write all wishes that `compute` reads from a store that nobody else changes meanwhile, or none of them."""
        async with self.pool.acquire() as conn, conn.transaction():
            head = await ledger.locked(conn)
            batch = await compute(conn)
            steps, entries, _ = await self._appended(conn, head, batch)
            for step in steps:
                if step.failure is not None:
                    raise step.failure
        self._count(batch, entries)

    async def _written(self, batch: Sequence[Asked]) -> list[Answer | Failure]:
        async with self.pool.acquire() as conn, conn.transaction():
            head = await ledger.locked(conn)
            steps, entries, now = await self._appended(conn, head, batch)
        self._count(batch, entries)
        return [self._answer(s, now) for s in steps]

    async def _appended(
        self, conn: Connection, head: ledger_store.Head, batch: Sequence[Asked]
    ) -> tuple[list[Step], list[Entry], Loaded]:
        now = await load(conn, batch, head)
        steps = [settle(asked, now) for asked in batch]
        writes = [s for s in steps if isinstance(s.outcome, (Written, Taken))]
        drafts = [drafted(s, now.node) for s in writes]
        entries: list[Entry] = []
        if drafts:
            _, entries = await ledger.append(conn, head, drafts, self.pen, versions(writes, drafts))
        for step, entry in zip(writes, entries, strict=True):
            step.after = placed(step, entry)
        await save(conn, steps, writes)
        return steps, entries, now

    def foreseen(self, step: Step, now: Loaded) -> Answer | Failure:
        """What the answer would be if the step were written."""
        if isinstance(step.outcome, (Written, Taken)):
            step.after = provisional(step)
        return self._answer(step, now)

    def _count(self, batch: Sequence[Asked], entries: Sequence[Entry]) -> None:
        self.bell.ring()
        self.gauges.batch.observe(len(batch))
        for entry in entries:
            self.gauges.events.labels(entry.type).inc()

    def _answer(self, step: Step, now: Loaded) -> Answer | Failure:
        if step.failure is not None:
            self.gauges.refused.labels(step.failure.code).inc()
            return step.failure
        if step.repeated is not None:
            return Answer(row=NOTHING, repeated=step.repeated)
        if step.after is None:
            row = now.rows(step.asked.kind)[step.asked.wish.id]
            return Answer(row=row, remarks=_remarks(step))
        return Answer(row=step.after, created=step.before is None, changed=True, remarks=_remarks(step))


def _remarks(step: Step) -> tuple[Fault, ...]:
    return step.outcome.remarks if isinstance(step.outcome, (Written, Unchanged)) else ()


async def load(conn: Connection, batch: Sequence[Asked], head: ledger_store.Head) -> Loaded:
    """All that this batch decides upon."""
    now = Loaded(node=head.node, seq=head.size)
    for kind in {a.kind for a in batch if a.key is not None and a.source is None}:
        keys = [a.key for a in batch if a.kind == kind and a.key is not None]
        for key, found in (await store.keyed(conn, kind, keys)).items():
            now.keyed[kind, key] = found
    for source in {a.source for a in batch if a.source is not None}:
        keys = [a.key for a in batch if a.source == source and a.key is not None]
        for key, row in (await store.imported(conn, source, keys)).items():
            now.imported[source, key] = row
    if onces := [(a.once.token, a.once.key) for a in batch if a.once is not None]:
        now.answered = await store.answered(conn, onces)
    await _load_rows(conn, batch, now)
    names = [fold(a.wish.place.name) for a in batch if isinstance(a.wish, Open) and a.wish.place is not None]
    if names:
        now.rivals = await store.namesakes(conn, head.node, names)
    return now


async def _load_rows(conn: Connection, batch: Sequence[Asked], now: Loaded) -> None:
    # An opened place has a new id: there is no row to load.
    wishes = [(a.kind, resolved(a, now).wish.id) for a in batch if not isinstance(a.wish, Open)]
    if places := [id for kind, id in wishes if kind == "place"]:
        now.places = await store.rows(conn, places)
    # Only these bring ids from outside, which may be those of records of another kind.
    foreign = [a.wish.id for a in batch if a.kind == "place" and isinstance(a.wish, (Put, Import))]
    if others := [id for kind, id in wishes if kind != "place"] + foreign:
        now.others = await store.others(conn, others)
    now.exported = await _exported(conn, batch, now)


async def _exported(conn: Connection, batch: Sequence[Asked], now: Loaded) -> dict[tuple[str, int], bytes]:
    """Places as they were when a list was exported, by id and version."""
    found: dict[tuple[str, int], bytes] = {}
    older: list[tuple[str, int]] = []
    for wish in (a.wish for a in batch):
        row = now.places.get(wish.id) if isinstance(wish, Import) else None
        if row is None or not isinstance(wish, Import) or wish.version is None:
            continue
        if wish.version < row.version:
            older.append((f"{now.node}:{wish.id}", wish.version))
        elif wish.version == row.version:
            found[wish.id, wish.version] = row.body
    if older:
        for one in await ledger_store.at_versions(conn, older):
            if one.type == event.PLACE_PUT and not one.erased:
                made = msgspec.json.decode(one.raw, type=event.Event)
                found[made.subject.rpartition(":")[2], one.version] = bytes(made.data)
    return found


def resolved(asked: Asked, now: Loaded) -> Asked:
    """The wish with the id of the record that its key finds, if there is one already."""
    if asked.key is None:
        return _dated(asked, now)
    if asked.source is not None and isinstance(asked.wish, Import):
        known = now.imported.get((asked.source, asked.key))
        if known is None:
            return asked
        wish: Wish = msgspec.structs.replace(asked.wish, id=known.place, last=known.body, absent=known.absent)
        return msgspec.structs.replace(asked, wish=wish)
    id = now.keyed.get((asked.kind, asked.key), asked.wish.id)
    return msgspec.structs.replace(asked, wish=msgspec.structs.replace(asked.wish, id=id))


def _dated(asked: Asked, now: Loaded) -> Asked:
    """The wish with what its place said when the list was exported."""
    wish = asked.wish
    if not isinstance(wish, Import) or wish.version is None:
        return asked
    last = now.exported.get((wish.id, wish.version))
    return msgspec.structs.replace(asked, wish=msgspec.structs.replace(wish, last=last))


def settle(asked: Asked, now: Loaded) -> Step:
    """Decide one wish, and let the rest of the batch see it. A refused one fails alone."""
    asked = resolved(asked, now)
    step = Step(asked=asked, before=now.rows(asked.kind).get(asked.wish.id))
    try:
        step.repeated = repeated(asked, now)
        if step.repeated is not None:
            step.outcome = Unchanged()
        else:
            _refuse_taken(asked, now)
            outcome = decide.decide(step.before, asked.wish, _rivals(asked, now))
            if isinstance(outcome, Written):
                ledger.fits(outcome.body)
            step.outcome = outcome
    except Failure as failure:
        step.failure = failure
        return step
    note(step, now)
    return step


def _refuse_taken(asked: Asked, now: Loaded) -> None:
    """A place cannot take the id of a claim, word or area: a record never changes its kind."""
    if asked.kind == "place" and asked.wish.id in now.others:
        raise Stale("There is a record of another kind under this id.")


def _rivals(asked: Asked, now: Loaded) -> list[Rival]:
    if isinstance(asked.wish, Open) and asked.wish.place is not None:
        return now.rivals.get(fold(asked.wish.place.name), [])
    return []


def repeated(asked: Asked, now: Loaded) -> int | None:
    """The seq of the event by which this very request was answered before."""
    if asked.once is None:
        return None
    known = now.answered.get((asked.once.token, asked.once.key))
    if known is None:
        return None
    if known.request != asked.once.request:
        raise Invalid("This Idempotency-Key was used for another request.")
    return known.seq


def note(step: Step, now: Loaded) -> None:
    """Let the rest of the batch see what was decided."""
    wish, asked = step.asked.wish, step.asked
    if asked.source is not None and asked.key is not None and isinstance(wish, Import):
        now.imported[asked.source, asked.key] = store.Imported(place=wish.id, body=wish.body, absent=False)
    if not isinstance(step.outcome, (Written, Taken)):
        return
    now.seq += 1
    now.rows(asked.kind)[wish.id] = provisional(step)
    if asked.key is not None and asked.source is None:
        now.keyed[asked.kind, asked.key] = wish.id
    if asked.once is not None:
        answer = store.Answered(request=asked.once.request, seq=now.seq)
        now.answered[asked.once.token, asked.once.key] = answer
    if isinstance(wish, Open) and wish.place is not None:
        rival = Rival(id=f"{now.node}:{wish.id}", place=wish.place)
        now.rivals.setdefault(fold(wish.place.name), []).append(rival)


NEVER = datetime(1970, 1, 1, tzinfo=UTC)
NOTHING = Row(id="", version=0, epoch=0, seq=0, updated_at=NEVER, body=b"")


def provisional(step: Step) -> Row:
    """The record after this step, its place in the log still open."""
    before = step.before or msgspec.structs.replace(NOTHING, id=step.asked.wish.id)
    match step.outcome:
        case Taken(withdrawal=withdrawal):
            return msgspec.structs.replace(
                before,
                version=before.version + 1,
                withdrawn=withdrawal.reason,
                successor=withdrawal.successor,
            )
        case Written(body=body):
            return msgspec.structs.replace(
                before, version=before.version + 1, body=body, withdrawn=None, successor=None
            )
    return before


def versions(writes: Sequence[Step], drafts: Sequence[Draft]) -> dict[str, int]:
    """The version of each record before the batch: what its first step found."""
    found: dict[str, int] = {}
    for step, draft in zip(writes, drafts, strict=True):
        found.setdefault(draft.record, step.before.version if step.before else 0)
    return found


def placed(step: Step, entry: Entry) -> Row:
    """The record after this step, as its event says."""
    return msgspec.structs.replace(
        provisional(step), version=entry.version, epoch=entry.epoch, seq=entry.seq, updated_at=entry.time
    )


def drafted(step: Step, node: str) -> Draft:
    """The event of a step. Places are routed by département, and a move names the old one too."""
    after, kind = provisional(step), step.asked.kind
    here = there = "_"
    if kind == "place":
        step.place = msgspec.json.decode(after.body, type=Place)
        here = departement(step.place) or "_"
        there = _departement(step.before.body) if step.before else here
    taken = isinstance(step.outcome, Taken)
    verb = "withdraw" if taken else "put"
    return Draft(
        record=f"{node}:{step.asked.wish.id}",
        type=(WITHDRAW if taken else PUT)[kind],
        data=msgspec.json.encode(step.outcome.withdrawal) if isinstance(step.outcome, Taken) else after.body,
        routing=f"{kind}.{verb}.{here}",
        author=step.asked.author,
        also=f"{kind}.{verb}.{there}" if there != here else None,
    )


def _departement(body: bytes) -> str:
    return departement(msgspec.json.decode(body, type=Place)) or "_"


async def save(conn: Connection, steps: Sequence[Step], writes: Sequence[Step]) -> None:
    """Rows as they stand after the batch, and what it must remember of requests and lists."""
    latest = {s.asked.wish.id: s for s in writes}
    places = [(s.after, s.place) for s in latest.values() if s.after is not None and s.place is not None]
    if places:
        await store.save_places(conn, places)
    others = [
        (s.after, s.asked.kind, s.asked.key or s.asked.wish.id)
        for s in latest.values()
        if s.asked.kind != "place" and s.after is not None
    ]
    if others:
        await store.save_others(conn, others)
    onces = [
        (s.asked.once.token, s.asked.once.key, s.asked.once.request, s.after.seq, s.after.updated_at)
        for s in writes
        if s.asked.once is not None and s.after is not None
    ]
    if onces:
        await store.remember_answers(conn, onces)
    await _save_imported(conn, steps)


async def _save_imported(conn: Connection, steps: Sequence[Step]) -> None:
    lists: dict[str, dict[str, tuple[str, bytes]]] = {}
    left: dict[str, list[str]] = {}
    for step in steps:
        wish, asked = step.asked.wish, step.asked
        # A place that stays withdrawn has not followed its row: the next import compares with what it had.
        ignored = isinstance(step.outcome, Unchanged) and step.before is not None and step.before.withdrawn
        if asked.source is None or step.failure is not None or ignored:
            continue
        if isinstance(wish, Withdraw):
            left.setdefault(asked.source, []).append(wish.id)
        new = isinstance(wish, Import) and (wish.absent or wish.last != wish.body)
        if new and isinstance(wish, Import) and asked.key is not None:
            lists.setdefault(asked.source, {})[asked.key] = (wish.id, wish.body)
    for source, places in left.items():
        await store.mark_absent(conn, source, places)
    for source, rows in lists.items():
        await store.remember_imported(conn, source, rows)


def _resolve(future: asyncio.Future[Answer], answer: Answer | Failure) -> None:
    if future.done():
        return
    if isinstance(answer, Failure):
        future.set_exception(answer)
    else:
        future.set_result(answer)


@asynccontextmanager
async def writing(writer: Writer) -> AsyncIterator[Writer]:
    """A writer at work, for commands that run outside a service."""
    task = asyncio.create_task(writer.run())
    try:
        yield writer
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
