"""The signed log: found a node, append batches, sign checkpoints, read pages and snapshots."""

import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from hashlib import sha256

import msgspec
from msgspec import Raw, Struct

from schemas.event import MAX_EVENT, MAX_VIEW_EVENT, Checkpoint, Event, Line, SignedText, SnapshotHead
from schemas.node import Descriptor, Signed
from services import identity, ledger_store, merkle, signing
from services.errors import Conflict, Fault, Gone, Invalid, Malformed, Misconfigured, Unavailable
from services.identity import About
from services.keyring import Keyring
from services.ledger_store import Entry, Head, Kept
from services.merkle import Range
from services.postgres import Connection, Pool
from services.signing import Signer

# What surrounds the data of an event, its ids, type, time and salt, takes less than the 1,024 bytes left.
MAX_DATA = MAX_EVENT - 1024
BATCH = 1000
KEEP_ONE_IN = 256
# However long its events are, a page is no longer: what a reader, or a hundred of them, may have us hold.
MAX_PAGE = 1024 * 1024


class Draft(Struct, frozen=True):
    """An event before it has a number: which record, what type, the data, where it is routed, who wrote it."""

    record: str
    type: str
    data: bytes
    routing: str
    author: str
    also: str | None = None


class Pen(Struct, frozen=True):
    """What writing needs from outside the database: keys, the clock, chance."""

    keyring: Keyring
    now: Callable[[], datetime]
    chance: Callable[[int], bytes] = os.urandom


def clock() -> datetime:
    """The time of this machine, in UTC."""
    return datetime.now(UTC)


def stamp(moment: datetime) -> str:
    """RFC 3339 in UTC with milliseconds."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def bucket(record: str) -> int:
    """Which of the 256 buckets of the state root a record falls in."""
    return sha256(record.encode()).digest()[0]


def _entry(head: Head, draft: Draft, version: int, pen: Pen, signer: Signer) -> Entry:
    """The next event after this head, signed."""
    now, seq = pen.now(), head.size + 1
    raw = msgspec.json.encode(
        Event(
            specversion="1.0",
            id=f"{head.epoch}-{seq:016d}",
            source=f"urn:maillage:{head.node}",
            type=draft.type,
            subject=draft.record,
            time=stamp(now),
            datacontenttype="application/json",
            sequence=f"{seq:016d}",
            epoch=head.epoch,
            recordversion=version,
            salt=signing.text(pen.chance(16)),
            data=Raw(draft.data),
        )
    )
    limit = MAX_VIEW_EVENT if ".view." in draft.type else MAX_EVENT
    if len(raw) > limit:
        raise Invalid(
            "An event holds at most {limit} bytes, this one has {size}.", {"limit": limit, "size": len(raw)}
        )
    return Entry(
        seq=seq,
        epoch=head.epoch,
        record=draft.record,
        version=version,
        type=draft.type,
        time=now,
        raw=raw,
        kid=signer.kid,
        sig=signer.sign(signing.EVENT, raw),
        leaf=merkle.leaf(raw),
        routing=draft.routing,
        also=draft.also,
        author=draft.author,
    )


def fits(data: bytes) -> None:
    """Invalid when no event can hold this data: asked before, as a batch is written whole or not at all."""
    if len(data) > MAX_DATA:
        raise Invalid(
            "A record holds at most {limit} bytes, this one has {size}.",
            {"limit": MAX_DATA, "size": len(data)},
        )


def written(
    head: Head, drafts: Sequence[Draft], versions: Mapping[str, int], pen: Pen
) -> tuple[Head, list[Entry]]:
    """The events of these drafts after this head, and the head after them (not yet signed)."""
    latest, entries = dict(versions), list[Entry]()
    signer = pen.keyring.signer(head.kid)
    now = head
    for draft in drafts:
        version = latest.get(draft.record, 0) + 1
        entry = _entry(now, draft, version, pen, signer)
        latest[draft.record] = version
        entries.append(entry)
        now = msgspec.structs.replace(now, size=entry.seq)
    tree = merkle.extended(Range(head.size, head.peaks), (e.leaf for e in entries))
    return msgspec.structs.replace(now, peaks=tree.peaks), entries


def checkpoint(head: Head, pen: Pen, state: tuple[bytes, int] | None = None) -> tuple[Head, Kept]:
    """The next signature over this head, and the head that remembers it."""
    now = pen.now()
    n = head.n + 1
    raw = msgspec.json.encode(
        Checkpoint(
            v=1,
            node=head.node,
            n=n,
            epoch=head.epoch,
            size=head.size,
            log_root=merkle.root(Range(head.size, head.peaks)).hex(),
            descriptor=head.descriptor,
            state_root=state[0].hex() if state else None,
            count=state[1] if state else None,
            at=stamp(now),
        )
    )
    sig = pen.keyring.signer(head.kid).sign(signing.CHECKPOINT, raw)
    kept = Kept(
        n=n,
        epoch=head.epoch,
        size=head.size,
        complete=state is not None,
        raw=raw.decode(),
        kid=head.kid,
        sig=sig,
    )
    full_size = head.size if state else head.full_size
    return msgspec.structs.replace(head, n=n, signed_at=now, full_size=full_size), kept


async def found(
    conn: Connection, about: About, *, roots: Sequence[Signer], online: Signer, pen: Pen, threshold: int = 1
) -> str:
    """Make this database the log of a new node; its id. Conflict when it has one already."""
    if await ledger_store.head(conn) is not None:
        raise Conflict("This database belongs to a node already.")
    now = pen.now()
    first = identity.genesis(about, roots=roots, online=online, created=stamp(now), threshold=threshold)
    whole = identity.verified([first])
    head = Head(
        node=whole.node,
        epoch=1,
        size=0,
        n=0,
        kid=online.kid,
        descriptor=whole.hash,
        peaks=(),
        full_size=-1,
        signed_at=now,
    )
    await ledger_store.found(conn, head)
    await ledger_store.add_descriptor(
        conn,
        version=1,
        hash=whole.hash,
        raw=first.raw,
        signatures=msgspec.json.encode(first.signatures),
    )
    await complete(conn, head, pen)
    return whole.node


async def node_of(conn: Connection) -> str | None:
    """The id of the node whose log this is; None before it has one."""
    head = await ledger_store.head(conn)
    return head.node if head else None


async def locked(conn: Connection) -> Head:
    """The head, locked until the transaction ends."""
    head = await ledger_store.locked_head(conn)
    if head is None:
        raise Misconfigured("This node has no identity yet: run `key init` first.")
    return head


async def current(conn: Connection) -> Head:
    """The head, unlocked: for looking."""
    head = await ledger_store.head(conn)
    if head is None:
        raise Misconfigured("This node has no identity yet: run `key init` first.")
    return head


async def append(
    conn: Connection,
    head: Head,
    drafts: Sequence[Draft],
    pen: Pen,
    versions: Mapping[str, int] | None = None,
) -> tuple[Head, list[Entry]]:
    """Write events after a locked head, with one checkpoint for each 1,000; the new head and the events.

    `versions` are the present versions of the records, where the caller has them loaded under the same lock.
    """
    writable(head)
    entries: list[Entry] = []
    known = dict(versions) if versions is not None else await _versions(conn, drafts)
    for start in range(0, len(drafts), BATCH):
        head, fresh = written(head, drafts[start : start + BATCH], known, pen)
        head, kept = checkpoint(head, pen)
        await ledger_store.append(conn, fresh, {e.record: bucket(e.record) for e in fresh}, kept, head)
        known.update((e.record, e.version) for e in fresh)
        entries += fresh
    return head, entries


def writable(head: Head) -> None:
    """Unavailable while the log must not grow, with the one command that lets it."""
    if head.hold is not None:
        why = HOLDS[head.hold]
        extra = {"code": "on-hold", "reason": head.hold, **why.args}
        raise Unavailable(why.what, why.args, extra=extra)


EPOCH_COMMAND = "python -m services.registry key epoch --root-key FILE"
# Why a log must not grow, and what lets it.
HOLDS = {
    "restored": Fault(
        "hold",
        "This log was restored and may have been longer: what follows needs a new epoch. Run: {command}",
        {"command": EPOCH_COMMAND},
    ),
    "contradicted": Fault(
        "hold",
        "A witness holds other events of this log: what follows needs a new epoch. Run: {command}",
        {"command": "python -m services.registry key epoch --at LAST --root-key FILE"},
    ),
    "moved": Fault(
        "hold",
        "This node has moved to another machine. If it has not, run: {command}",
        {"command": "python -m services.registry export-node --undo"},
    ),
}


async def _versions(conn: Connection, drafts: Sequence[Draft]) -> dict[str, int]:
    return await ledger_store.versions(conn, [d.record for d in drafts])


async def complete(conn: Connection, head: Head, pen: Pen) -> tuple[Head, Kept]:
    """Sign a full checkpoint at a locked head: log root and state root of the same moment."""
    writable(head)
    head, kept = checkpoint(head, pen, await state(conn, after=head.full_size))
    await ledger_store.add_checkpoint(conn, kept)
    await ledger_store.move_head(conn, head)
    return head, kept


async def state(conn: Connection, *, after: int) -> tuple[bytes, int]:
    """State root and number of records, where nothing but what came after a position has changed its bucket."""
    await ledger_store.refresh_buckets(conn, after=after)
    known = await ledger_store.buckets(conn)
    hashes = b"".join(known.get(b, (merkle.EMPTY, 0))[0] for b in range(256))
    return sha256(hashes).digest(), sum(count for _, count in known.values())


def signed_text(kept: Kept) -> SignedText:
    """A kept checkpoint as it is served."""
    return SignedText(raw=kept.raw, kid=kept.kid, sig=signing.text(kept.sig))


def line(event: ledger_store.Signed) -> bytes:
    """An event as a line of a feed, with its line feed; of an erased one the leaf, and who erased it."""
    if event.by_raw is not None:
        by = {"raw": event.by_raw.decode(), "kid": event.by_kid, "sig": signing.text(event.by_sig or b"")}
        redacted = {"redacted": True, "seq": event.seq, "leaf": event.leaf.hex(), "by": by}
        return msgspec.json.encode(redacted) + b"\n"
    shown = Line(raw=event.raw.decode(), kid=event.kid, sig=signing.text(event.sig))
    return msgspec.json.encode(shown) + b"\n"


def position(text: str) -> tuple[int, int]:
    """(epoch, seq) of a cursor; Malformed when it is not `<epoch>.<seq>`."""
    epoch, dot, seq = text.partition(".")
    plain = all(p.isascii() and p.isdigit() and len(p) <= 16 and str(int(p)) == p for p in (epoch, seq))
    if not dot or not plain or (epoch == "0" and seq != "0"):
        raise Malformed(
            "A cursor looks like <epoch>.<seq>, for instance 1.42.", extra={"code": "cursor-malformed"}
        )
    return int(epoch), int(seq)


async def check_cursor(conn: Connection, cursor: tuple[int, int], head: Head) -> None:
    """Conflict or Gone when one cannot read on from a position without a gap, with what to do instead."""
    here = f"{head.epoch}.{head.size}"
    if cursor[0] > head.epoch or (cursor[0] == head.epoch and cursor[1] > head.size):
        raise Conflict(
            "This log stands at {head}.", {"head": here}, extra={"code": "cursor-in-future", "head": here}
        )
    if 0 < cursor[0] < head.epoch:
        await _check_epoch(conn, cursor)
    if cursor[1] < head.floor:
        floor = f"{head.epoch}.{head.floor}"
        raise Gone(
            "This log is complete after {floor} only: begin with the snapshot.",
            {"floor": floor},
            extra={"code": "cursor-too-old", "floor": floor, "snapshot": "/snapshot"},
        )


async def _check_epoch(conn: Connection, cursor: tuple[int, int]) -> None:
    """Conflict where a later epoch has cut off what stood at this position."""
    epochs = (await described(conn)).epochs
    last = min(identity.base_of(epoch) for epoch in epochs if epoch.epoch > cursor[0])
    if cursor[1] > last:
        raise Conflict(
            "Epoch {epoch} ended at {last}: rewind to there, or begin with the snapshot.",
            {"epoch": cursor[0], "last": last},
            extra={"code": "epoch-changed", "epochs": [msgspec.to_builtins(e) for e in epochs]},
        )


class Page(Struct, frozen=True):
    """A page of the feed: events in order, and the checkpoint that closes it."""

    events: list[ledger_store.Signed]
    checkpoint: Kept

    def lines(self) -> Iterator[bytes]:
        """The page as NDJSON, the checkpoint last."""
        for event in self.events:
            yield line(event)
        yield msgspec.json.encode({"checkpoint": signed_text(self.checkpoint)}) + b"\n"


async def page(pool: Pool, *, after: tuple[int, int], limit: int) -> Page:
    """Up to `limit` events and `MAX_PAGE` bytes after a position; ends at a kept checkpoint where there is one."""
    async with pool.acquire() as conn, conn.transaction(isolation="repeatable_read", readonly=True):
        head = await ledger_store.head(conn)
        latest = await ledger_store.latest_checkpoint(conn)
        if head is None or latest is None:
            raise Misconfigured("This node has no identity yet: run `key init` first.")
        await check_cursor(conn, after, head)
        close = await ledger_store.checkpoint_within(conn, after=after[1], until=after[1] + limit)
        until = close.size if close else after[1] + limit
        events = await ledger_store.page(conn, after=after[1], until=until, most=MAX_PAGE)
        if close and events and events[-1].seq < close.size:
            close = await ledger_store.checkpoint_within(conn, after=after[1], until=events[-1].seq)
            events = [e for e in events if close is None or e.seq <= close.size]
        return Page(events=events, checkpoint=close or latest)


@asynccontextmanager
async def snapshot(pool: Pool, pen: Pen) -> AsyncIterator[tuple[SnapshotHead, AsyncIterator[bytes]]]:
    """The state of one moment: its head with a full checkpoint, and the latest event of each record as lines."""
    async with pool.acquire() as reading, reading.transaction(isolation="repeatable_read", readonly=True):
        async with pool.acquire() as writing, writing.transaction():
            head, kept = await completed(writing, await locked(writing), pen)
            # While the head is locked nothing can be appended: the reader's moment is this head.
            await ledger_store.head(reading)
        yield snapshot_head(head, kept), _latest_lines(reading)


async def completed(conn: Connection, head: Head, pen: Pen) -> tuple[Head, Kept]:
    """A full checkpoint at a locked head: the last one, where nothing was written since."""
    last = await ledger_store.complete_checkpoint(conn)
    if last is not None and (last.epoch, last.size) == (head.epoch, head.size):
        return head, last
    return await complete(conn, head, pen)


def snapshot_head(head: Head, kept: Kept) -> SnapshotHead:
    """The first line of a snapshot."""
    return SnapshotHead(
        epoch=head.epoch,
        size=head.size,
        log_root=merkle.root(Range(head.size, head.peaks)).hex(),
        descriptor=head.descriptor,
        peaks=tuple(p.hex() for p in head.peaks),
        checkpoint=signed_text(kept),
    )


async def _latest_lines(conn: Connection) -> AsyncIterator[bytes]:
    async for event in ledger_store.latest_events(conn):
        yield line(event)


async def descriptors(conn: Connection) -> list[Signed]:
    """All descriptors of this node, oldest first."""
    return identity.chain(await ledger_store.descriptors(conn))


async def described(conn: Connection) -> Descriptor:
    """What this node says of itself now."""
    raw, _ = (await ledger_store.descriptors(conn))[-1]
    return msgspec.json.decode(raw, type=Descriptor)


async def heartbeat(pool: Pool, pen: Pen, overdue: Callable[[int], bool]) -> bool:
    """Sign a full checkpoint if something was written since the last one, or `overdue` says so of the last n."""
    async with pool.acquire() as conn, conn.transaction():
        head = await ledger_store.head(conn)
        if head is None or head.hold or (head.full_size == head.size and not overdue(head.n)):
            return False
        head = await locked(conn)
        if not head.hold:
            await complete(conn, head, pen)
        return not head.hold
