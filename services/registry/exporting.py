"""The whole store as a file, made once for each position of the log."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import BinaryIO

import msgspec
from msgspec import Struct

from schemas.place import Place
from services import ledger, ledger_repair_store, ledger_store
from services.files import Draft, Files, Made, Stand
from services.forms import Form
from services.ledger_store import Head
from services.postgres import Connection, Pool
from services.registry import rendering, store
from services.registry.decide import Row, flat
from services.registry.rendering import Stored

ROWS = 500


class Kind(Struct, frozen=True):
    """A form of export: its media type and how it is written."""

    media: str
    form: Form[Stored]


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


async def export(files: Files, pool: Pool, ending: str) -> Made:
    """The store in this form."""
    return await files.latest(ending, partial(_drafted, pool, KINDS[ending].form))


@asynccontextmanager
async def _drafted(pool: Pool, form: Form[Stored]) -> AsyncIterator[Draft]:
    async with pool.acquire() as conn, conn.transaction(isolation="repeatable_read", readonly=True):
        head = await ledger.current(conn)
        last = await ledger_store.event(conn, head.size)
        cursor = f"{head.epoch}.{head.size}"
        erasures = await ledger_repair_store.count_erasures(conn)
        stand = Stand(cursor, last.time if last else None, state=cursor, strict=str(erasures))
        yield Draft(stand, partial(_write, conn, head, form))


async def _write(conn: Connection, head: Head, form: Form[Stored], file: BinaryIO) -> None:
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


def _append(file: BinaryIO, head: Head, rows: Sequence[Row], form: Form[Stored], *, begun: bool) -> None:
    file.writelines(form.written((stored_place(head.node, row) for row in rows), begun=begun))
