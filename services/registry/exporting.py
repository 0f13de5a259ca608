"""The whole store as a file, made once for each position of the log and served with ranges."""

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import BinaryIO

import msgspec
from msgspec import Struct

from schemas.place import Place
from services import ledger, ledger_repair_store, ledger_store
from services.ledger_store import Head
from services.postgres import Connection, Pool
from services.registry import rendering, store
from services.registry.decide import Row, flat
from services.registry.rendering import Form, Stored

ROWS = 500
# A store that takes longer than this to write is written again only after some times as long.
CHEAP_S = 0.25
REST = 4


class Kind(Struct, frozen=True):
    """A form of export: its media type and how it is written."""

    media: str
    form: Form


KINDS: dict[str, Kind] = {
    "csv": Kind("text/csv; charset=utf-8; header=present", rendering.CSV),
    "geojson": Kind("application/geo+json", rendering.GEOJSON),
    "ndjson": Kind("application/x-ndjson", rendering.NDJSON),
    "jsonld": Kind("application/ld+json", rendering.JSONLD),
}


def stored_place(node: str, row: Row) -> Stored:
    """A row as the renderers take it, on one line: line feeds of extensions would cut those of NDJSON."""
    return Stored(
        id=f"{node}:{row.id}",
        version=row.version,
        updated_at=ledger.stamp(row.updated_at),
        place=msgspec.json.decode(flat(row.body), type=Place),
    )


class Export(Struct, frozen=True):
    """A finished file, the position of the log that it shows, and until when it is good enough."""

    path: Path
    cursor: str
    erasures: int
    rested: float


class Exports:
    """The latest file of each form. The one before stays until the next, as somebody may be reading it."""

    def __init__(self) -> None:
        self._folder = TemporaryDirectory(prefix="maillage-exports-")
        self._made: dict[str, list[Export]] = {}
        self._making = {ending: asyncio.Lock() for ending in KINDS}

    def close(self) -> None:
        """Remove the files."""
        self._folder.cleanup()

    async def file(self, pool: Pool, ending: str) -> Export:
        """The store in this form; those who ask meanwhile wait for the same file.

        As it stands now, but for a large store: there nobody can keep us busy with nothing else.
        """
        async with self._making[ending]:
            return await self._latest(pool, ending)

    async def _latest(self, pool: Pool, ending: str) -> Export:
        made = self._made.setdefault(ending, [])
        begun = monotonic()
        async with pool.acquire() as conn, conn.transaction(isolation="repeatable_read", readonly=True):
            head = await ledger.current(conn)
            cursor = f"{head.epoch}.{head.size}"
            erasures = await ledger_repair_store.count_erasures(conn)
            if made and made[-1].erasures != erasures:
                # What is erased must not be read from a file that is still good enough otherwise.
                self._forget()
            elif made and (made[-1].cursor == cursor or monotonic() < made[-1].rested):
                return made[-1]
            path = Path(self._folder.name) / f"{cursor}-{os.urandom(4).hex()}.{ending}"
            last = await ledger_store.event(conn, head.size)
            with path.open("wb") as file:
                await _write(file, conn, head, KINDS[ending].form)
        # The last event names the content: every process, also after a restart, gives it the same ETag.
        moment = (int(last.time.timestamp()) if last else 0) * 1_000_000_000 + head.size % 1_000_000_000
        os.utime(path, ns=(moment, moment))
        took = monotonic() - begun
        made.append(Export(path, cursor, erasures, monotonic() + (REST * took if took > CHEAP_S else 0)))
        while len(made) > 2:
            made.pop(0).path.unlink(missing_ok=True)
        return made[-1]

    def _forget(self) -> None:
        for made in self._made.values():
            while made:
                made.pop().path.unlink(missing_ok=True)


async def _write(file: BinaryIO, conn: Connection, head: Head, form: Form) -> None:
    """The whole store, some rows at a time: it may be larger than the memory."""
    file.write(form.start)
    begun = False
    async for rows in _batches(conn):
        # In a thread: a large store takes seconds, in which small requests are answered.
        await asyncio.to_thread(_append, file, head, rows, form, begun=begun)
        begun = True
    file.write(form.end)


async def _batches(conn: Connection) -> AsyncIterator[list[Row]]:
    rows: list[Row] = []
    async for row in store.every_place(conn, store.Asked()):
        rows.append(row)
        if len(rows) == ROWS:
            yield rows
            rows = []
    if rows:
        yield rows


def _append(file: BinaryIO, head: Head, rows: Sequence[Row], form: Form, *, begun: bool) -> None:
    file.writelines(form.written((stored_place(head.node, row) for row in rows), begun=begun))
