"""A whole registry out of a file, into a database that has none: proven line by line, all of it or nothing."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct

from schemas.event import Event, SignedText
from schemas.node import Signed
from services import (
    identity,
    ledger,
    ledger_epochs,
    ledger_repair_store,
    ledger_store,
    merkle,
    proofs,
    witness,
)
from services.errors import Conflict, Fault, Invalid, Untrue
from services.foreign import unpacked
from services.identity import Identity
from services.ledger_repair_store import Erasure
from services.ledger_store import Head, Kept
from services.merkle import Range
from services.postgres import Connection
from services.registry import archive, archive_store, rebuilding, store
from services.registry.archive import Line, Manifest, Source
from services.registry.archive_store import Stored
from services.registry.saving import Tell

AT_ONCE, BYTES_AT_ONCE = 1000, 8 * 1024 * 1024
NOTHING = b"{}"


class Restored(Struct, frozen=True):
    """What came out of a file, besides the rows: head, private keys by name, and what was ever erased."""

    head: Head
    keys: Mapping[str, str]
    erasures: Sequence[Erasure]


async def restore(conn: Connection, source: Source, listed: Sequence[Erasure], tell: Tell) -> Restored:
    """Write a file into an empty database; `listed` was erased, even where the file is older and still has it.

    The head is on hold: what may be written behind it is another question. Conflict where there is a node already,
    Invalid where the file does not prove.
    """
    await ledger_store.reserve(conn)
    known = await ledger.node_of(conn)
    if known is not None:
        raise Conflict(
            "This database belongs to node {node} already: restore into an empty one.", {"node": known}
        )
    newer = set(source.manifest.migrations) - set(await archive_store.migrations(conn))
    if newer:
        raise Invalid("The file was written by a newer version: install that version.")
    return await _Restoring(conn, source, listed, tell).whole()


class _Restoring:
    """One file on its way in."""

    def __init__(self, conn: Connection, source: Source, listed: Sequence[Erasure], tell: Tell) -> None:
        self.conn, self.source, self.tell = conn, source, tell
        self.manifest: Manifest = source.manifest
        self.chain: list[Signed] = []
        self.whose: Identity | None = None
        self.keys: dict[str, str] = {}
        self.numbers: dict[int, int] = {}
        self.erasures: list[Erasure] = []
        peaks = tuple(bytes.fromhex(peak) for peak in self.manifest.floor_peaks)
        self.tree = Range(self.manifest.floor, peaks)
        self.events: list[Stored] = []
        self.checkpoints: list[Kept] = []
        self.gone = _Gone(conn, [e for e in listed if _position(e) > _end(self.manifest)])
        self.rows = _Rows(conn, self.gone)
        self.head: Head | None = None

    async def whole(self) -> Restored:
        """Take all lines; what they made."""
        for line in self.source.lines():
            await self.take(line)
        if self.head is None:
            self.head = await self.proven()
        await self.rows.flush()
        await store.say_again(self.conn, sorted(self.gone.places))
        return Restored(head=self.head, keys=self.keys, erasures=self.erasures)

    async def take(self, line: Line) -> None:
        """Take the next line."""
        match line:
            case archive.Descriptor():
                self.chain.append(Signed(raw=line.raw, signatures=line.signatures))
            case archive.Key():
                self.keys[line.kid] = line.file
            case archive.Erasure():
                by = Erasure(line.record, line.raw.encode(), line.kid, unpacked(line.sig))
                self.erasures.append(by)
                self.numbers[line.id] = await archive_store.add_erasure(self.conn, by)
            case archive.Checkpoint():
                sig = unpacked(line.sig)
                kept = Kept(line.n, line.epoch, line.size, line.complete, line.raw, line.kid, sig)
                self.checkpoints.append(kept)
            case archive.Event() | archive.Erased():
                await self.take_event(line)
            case archive.Dropped():
                await archive_store.add_dropped(self.conn, [self.gone.dropped(line)])
            case archive.Row():
                if self.head is None:
                    # Rows of lists come after those of places: what they say is older, and stays so.
                    self.head = await self.proven()
                await self.rows.take(line)
            case _:
                raise self.source.damaged()

    async def take_event(self, line: archive.Event | archive.Erased) -> None:
        """The next event: its place and its signature are looked at before anything else."""
        try:
            found = self.signed(line) if isinstance(line, archive.Event) else self.erased(line)
        except (Untrue, msgspec.DecodeError) as error:
            faults = (Fault("", error.detail, error.arguments),) if isinstance(error, Untrue) else ()
            raise self.source.damaged(*faults) from None
        if found.epoch != self.owner().epoch_of(found.seq):
            raise self.source.damaged()
        if found.seq > self.manifest.floor:
            if found.seq != self.tree.size + 1:
                raise self.source.damaged()
            self.tree = merkle.extended(self.tree, [found.leaf])
        self.events.append(await self.gone.event(found))
        if len(self.events) >= AT_ONCE:
            await self.flush()

    def signed(self, line: archive.Event) -> Stored:
        """An event with its bytes, proven by its own signature."""
        said = msgspec.json.decode(line.raw, type=Event)
        text = SignedText(raw=line.raw, kid=line.kid, sig=line.sig)
        found = witness.own(text, (said.epoch, int(said.sequence)), self.owner())
        return Stored(
            seq=found.seq,
            epoch=found.epoch,
            record=said.subject,
            version=said.recordversion,
            type=said.type,
            time=line.time,
            raw=found.raw,
            kid=found.kid,
            sig=found.sig,
            leaf=found.leaf,
            routing=line.routing,
            also=line.also,
            author=line.author,
            erasure=None,
        )

    def erased(self, line: archive.Erased) -> Stored:
        """An event without its bytes."""
        number = self.numbers.get(line.by)
        if number is None:
            raise self.source.damaged()
        told = (line.seq, line.epoch, line.record, line.version, line.type, line.time)
        leaf = bytes.fromhex(line.leaf)
        return Stored(*told, b"", line.kid, b"", leaf, line.routing, line.also, line.author, number)

    def owner(self) -> Identity:
        """Whose log this is."""
        if self.whose is None:
            self.whose = identity.verified(self.chain)
            if self.whose.node != self.manifest.node:
                raise Untrue("The file names node {node}, not its own.", {"node": self.manifest.node})
        return self.whose

    async def flush(self) -> None:
        """Write the events that wait."""
        events, self.events = self.events, []
        await archive_store.add_events(self.conn, events)
        self.tell(self.tree.size, self.manifest.size)

    async def proven(self) -> Head:
        """The log is all there: what the node signed of it last is true of it, and its rows are made."""
        try:
            whose = self.owner()
            close = proofs.checkpoint(self.manifest.checkpoint, whose)
            proofs.agree(self.tree, close)
            identity.key_at(whose, self.manifest.kid, _end(self.manifest))
        except Untrue as untrue:
            faults = (Fault("", untrue.detail, untrue.arguments),)
            raise Invalid("The file is damaged: it does not prove.", faults=faults) from None
        if (close.epoch, close.size) != _end(self.manifest) or close.epoch != whose.epoch:
            raise Invalid("The file is damaged: it does not prove.")
        await self.flush()
        await archive_store.add_checkpoints(self.conn, self.checkpoints)
        await ledger_repair_store.index(self.conn, after=0)
        state, count = await ledger.state(self.conn, after=-1)
        if close.state_root is not None and (close.state_root, close.count) != (state.hex(), count):
            raise Invalid("The file is damaged: it does not prove.")
        return await self.founded(whose)

    async def founded(self, whose: Identity) -> Head:
        """The head that remembers all this, on hold."""
        said = self.manifest
        head = Head(
            node=said.node,
            epoch=said.epoch,
            size=said.size,
            n=said.n,
            kid=said.kid,
            descriptor=whose.hash,
            peaks=self.tree.peaks,
            full_size=said.size,
            signed_at=said.made_at,
            hold="restored",
            floor=said.floor,
            floor_peaks=tuple(bytes.fromhex(peak) for peak in said.floor_peaks),
        )
        await ledger_store.found(self.conn, head)
        await ledger_epochs.add_descriptors(self.conn, self.chain, after=0)
        await ledger_store.set_relayed(self.conn, said.relayed)
        await rebuilding.rebuild(self.conn)
        return head


def _position(by: Erasure) -> tuple[int, int]:
    said = msgspec.json.decode(by.raw, type=Event)
    return said.epoch, int(said.sequence)


def _end(manifest: Manifest) -> tuple[int, int]:
    return manifest.epoch, manifest.size


class _Gone:
    """What was erased after the file was written: it comes in without its content."""

    def __init__(self, conn: Connection, listed: Sequence[Erasure]) -> None:
        self.conn = conn
        self._by = {(e.record, leaf): e for e in listed for leaf in ledger_epochs.named(e.raw)}
        self._numbers: dict[bytes, int] = {}
        self.places: set[str] = set()

    def _erased(self, record: str, leaf: bytes) -> Erasure | None:
        by = self._by.get((record, leaf))
        if by is not None:
            self.places.add(record.rpartition(":")[2])
        return by

    async def event(self, found: Stored) -> Stored:
        """An event, without its bytes where they are gone."""
        by = self._erased(found.record, found.leaf)
        if by is None or not found.raw:
            return found
        if by.raw not in self._numbers:
            self._numbers[by.raw] = await archive_store.add_erasure(self.conn, by)
        return msgspec.structs.replace(found, raw=b"", sig=b"", erasure=self._numbers[by.raw])

    def dropped(self, line: archive.Dropped) -> archive_store.Dropped:
        """An event that an epoch cut off, without its bytes where they are gone."""
        leaf = bytes.fromhex(line.leaf)
        raw, sig = line.raw.encode(), unpacked(line.sig)
        if self._erased(line.record, leaf):
            raw = sig = b""
        told: tuple[int, int, str, int, str, datetime] = (
            *(line.epoch, line.seq, line.record),
            *(line.version, line.type, line.time),
        )
        return archive_store.Dropped(*told, raw, line.kid, sig, leaf, line.author)


class _Rows:
    """Rows of the other tables, of which what lists and reports said of erased places is left out."""

    def __init__(self, conn: Connection, gone: _Gone) -> None:
        self.conn, self.gone = conn, gone
        self.table, self.waiting, self.bytes = "", list[dict[str, Any]](), 0
        self.columns: dict[str, set[str]] = {}
        self.sources, self.imports = set[str](), set[str]()

    async def take(self, line: archive.Row) -> None:
        """Take the next row; tables that we do not know are those of a version that we are not."""
        if line.table not in archive_store.TABLES:
            raise Invalid("The file was written by a newer version: install that version.")
        self.bytes += len(bytes(line.row))
        if line.table != self.table or len(self.waiting) >= AT_ONCE or self.bytes >= BYTES_AT_ONCE:
            await self.flush()
            self.table = line.table
        row = self.cleared(msgspec.json.decode(line.row))
        if row is not None:
            self.waiting.append(row)

    def cleared(self, row: dict[str, Any]) -> dict[str, Any] | None:
        """A row without what must not come back; None where that is all of it."""
        if self.table == "imported" and row["place"] in self.gone.places:
            self.sources.add(row["source"])
            return {**row, "body": "\\x" + NOTHING.hex()}
        if self.table == "report" and row["place"] in self.gone.places:
            return None
        if self.table == "import" and row["source"] in self.sources:
            self.imports.add(row["id"])
            return None
        return None if row.get("import") in self.imports else row

    async def flush(self) -> None:
        """Write the rows that wait."""
        rows, self.waiting, self.bytes = self.waiting, [], 0
        if not rows:
            return
        if self.table not in self.columns:
            self.columns[self.table] = await archive_store.columns(self.conn, self.table)
        columns = sorted(self.columns[self.table] & rows[0].keys())
        await archive_store.add_rows(self.conn, self.table, columns, msgspec.json.encode(rows).decode())
