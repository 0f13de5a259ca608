"""A whole registry into a file, as it is at one moment, while it goes on working."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from msgspec import Raw
from msgspec.structs import replace

from services import ledger, ledger_store, signing
from services.ledger import Pen
from services.ledger_store import Head, Kept
from services.postgres import Connection, Pool
from services.registry import archive, archive_store
from services.registry.archive import Manifest, Sink
from services.registry.archive_store import Stored

# How far a file is: events done, events in all.
Tell = Callable[[int, int], None]


class Moment(NamedTuple):
    """The moment that a file shows: the head, its last checkpoint, and whether the node was sealed there."""

    head: Head
    kept: Kept
    moved: bool


Fix = Callable[[Connection, Pen], Awaitable[Moment]]


async def present(conn: Connection, pen: Pen) -> Moment:
    """The moment of a backup: now, with a full checkpoint where one may be signed."""
    head = await ledger.locked(conn)
    if head.hold is not None:
        latest = await ledger_store.latest_checkpoint(conn)
        assert latest is not None  # noqa: S101 - a node signs one when it is born
        return Moment(head, latest, moved=False)
    return Moment(*await ledger.completed(conn, head, pen), moved=False)


async def sealed(conn: Connection, pen: Pen) -> Moment:
    """The last moment of a node here: nothing can be written behind it."""
    head = await ledger.locked(conn)
    if head.hold != "moved":
        ledger.writable(head)
    head, kept = await ledger.completed(conn, head, pen)
    head = replace(head, hold="moved")
    await ledger_store.replace_head(conn, head)
    return Moment(head, kept, moved=True)


@asynccontextmanager
async def _fixed(pool: Pool, pen: Pen, fix: Fix) -> AsyncIterator[tuple[Connection, Moment]]:
    async with pool.acquire() as reading, reading.transaction(isolation="repeatable_read", readonly=True):
        async with pool.acquire() as writing, writing.transaction():
            moment = await fix(writing, pen)
            # While the head is locked nothing can be appended: what is read shows this head.
            await ledger_store.head(reading)
        yield reading, moment


async def save(pool: Pool, pen: Pen, fix: Fix, sink: Sink, tell: Tell) -> Moment:
    """Write everything that makes this node; what was written while it went on is not in it."""
    async with _fixed(pool, pen, fix) as (conn, moment):
        sink.add(await _manifest(conn, moment, pen))
        for one in await ledger.descriptors(conn):
            sink.add(archive.Descriptor(raw=one.raw, signatures=one.signatures))
        _save_keys(pen.keyring.folder, sink)
        await _save_log(conn, moment, sink, tell)
        for table in archive_store.TABLES:
            async for row in archive_store.rows(conn, table):
                sink.add(archive.Row(table=table, row=Raw(row.encode())))
        sink.end()
    return moment


async def _manifest(conn: Connection, moment: Moment, pen: Pen) -> Manifest:
    head = moment.head
    return Manifest(
        format=archive.FORMAT,
        made_at=pen.now(),
        moved=moment.moved,
        migrations=await archive_store.migrations(conn),
        node=head.node,
        epoch=head.epoch,
        size=head.size,
        n=head.n,
        kid=head.kid,
        floor=head.floor,
        floor_peaks=tuple(peak.hex() for peak in head.floor_peaks),
        relayed=await ledger_store.relayed(conn),
        checkpoint=ledger.signed_text(moment.kept),
    )


def _save_keys(folder: Path, sink: Sink) -> None:
    for file in sorted(folder.glob("*.key")):
        # A key in the making has no name yet.
        if file.stem != "new":
            sink.add(archive.Key(kid=file.stem, file=file.read_text("utf-8")))


async def _save_log(conn: Connection, moment: Moment, sink: Sink, tell: Tell) -> None:
    async for id, by in archive_store.erasures(conn):
        told = by.record, by.raw.decode(), by.kid, signing.text(by.sig)
        sink.add(archive.Erasure(id, *told))
    last = -1
    async for kept in archive_store.checkpoints(conn):
        sink.add(_checkpoint(kept))
        last = kept.n
    if moment.kept.n > last:
        # Signed while the reader's moment was fixed, so not seen by it.
        sink.add(_checkpoint(moment.kept))
    async for event in archive_store.events(conn):
        sink.add(_event(event))
        tell(event.seq, moment.head.size)
    async for gone in archive_store.dropped(conn):
        sink.add(_dropped(gone))


def _checkpoint(kept: Kept) -> archive.Checkpoint:
    return archive.Checkpoint(
        n=kept.n,
        epoch=kept.epoch,
        size=kept.size,
        complete=kept.complete,
        raw=kept.raw,
        kid=kept.kid,
        sig=signing.text(kept.sig),
    )


def _event(event: Stored) -> archive.Event | archive.Erased:
    if event.erasure is None:
        return archive.Event(
            raw=event.raw.decode(),
            kid=event.kid,
            sig=signing.text(event.sig),
            time=event.time,
            routing=event.routing,
            also=event.also,
            author=event.author,
        )
    return archive.Erased(
        seq=event.seq,
        epoch=event.epoch,
        record=event.record,
        version=event.version,
        type=event.type,
        time=event.time,
        kid=event.kid,
        leaf=event.leaf.hex(),
        routing=event.routing,
        also=event.also,
        author=event.author,
        by=event.erasure,
    )


def _dropped(gone: archive_store.Dropped) -> archive.Dropped:
    return archive.Dropped(
        epoch=gone.epoch,
        seq=gone.seq,
        record=gone.record,
        version=gone.version,
        type=gone.type,
        time=gone.time,
        raw=gone.raw.decode(),
        kid=gone.kid,
        sig=signing.text(gone.sig),
        leaf=gone.leaf.hex(),
        author=gone.author,
    )
