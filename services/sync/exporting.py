"""The view as files: at which state, in which forms, and how they are written."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import BinaryIO

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from services import follow_store, ledger, ledger_repair_store
from services.files import Stand
from services.forms import Form
from services.licenses import licence
from services.merkle import EMPTY
from services.postgres import Connection
from services.sync import entries, history_store, merge, parquet, rendering, store
from services.sync.citing import Cited, Network
from services.sync.entries import Collection, Reader
from services.sync.history_store import Position, Shown
from services.sync.policy import Adopted
from services.sync.rendering import Entry, File
from services.sync.settings import Settings

Put = Callable[[bytes], Awaitable[None]]


@asynccontextmanager
async def _as_it_is(out: BinaryIO, _: File) -> AsyncIterator[Put]:
    async def put(data: bytes) -> None:
        await asyncio.to_thread(out.write, data)

    yield put


def _as_parquet(out: BinaryIO, file: File) -> AbstractAsyncContextManager[Put]:
    attribution = msgspec.json.encode(file.cited).decode()
    said = {"title": file.title, "license": file.license, "attribution": attribution}
    return parquet.converting(out, said)


class Kind(Struct, frozen=True):
    """A form of file: its media type, how places are written, and how they get into the file.

    `whole`: it says more of a place than its flat feature does.
    """

    media: str
    form: Callable[[File], Form[Entry]]
    into: Callable[[BinaryIO, File], AbstractAsyncContextManager[Put]] = _as_it_is
    whole: bool = False


class Order(Struct, frozen=True):
    """A file to be written: which places, in which form, and what reading them takes."""

    collection: Collection
    kind: Kind
    reader: Reader


KINDS: dict[str, Kind] = {
    "geojson": Kind("application/geo+json", rendering.geojson),
    "geojsonl": Kind("application/x-ndjson", rendering.geojsonl),
    "csv": Kind("text/csv; charset=utf-8; header=present", rendering.csv),
    "jsonld": Kind("application/ld+json", rendering.jsonld, whole=True),
    "parquet": Kind("application/vnd.apache.parquet", rendering.geojsonl, _as_parquet),
}


async def state(conn: Connection, settings: Settings, adopted: Adopted) -> tuple[Stand, Cited]:
    """What a file of the view as it stands is made of, and how that is cited, but for the licences."""
    head = await ledger.current(conn)
    last = await history_store.last(conn)
    nodes = [node for node in await follow_store.nodes(conn) if node.mode == "follow"]
    known = await store.buckets(conn)
    followed, rules = await store.basis(conn) or (merge.followed_hash((), ()), adopted.id)
    cited = Cited(
        settings.name,
        address=settings.url.rstrip("/") + "/",
        date=ledger.stamp(last.time) if last else None,
        cursor=f"{head.epoch}.{head.size}",
        view_root=merge.view_root(rules, followed, [known.get(b, EMPTY) for b in range(256)]).hex(),
        policy_id=rules,
        networks=tuple(Network(n.node, n.name or n.alias, n.license, n.url) for n in nodes),
    )
    # What is under some licences is read from what the networks say now, merged or not.
    heard = [(node.epoch, node.size) for node in nodes]
    erasures = await ledger_repair_store.count_erasures(conn)
    stand = Stand(
        cursor=cited.cursor,
        time=last.time if last else None,
        state=msgspec.json.encode((cited, heard)).decode(),
        strict=f"{erasures} {followed}",
    )
    return stand, cited


def then(now: Stand, cited: Cited, at: Position) -> tuple[Stand, Cited]:
    """The same of the view at a position: what was told up to there does not change, and its root is not known."""
    cursor = f"{at.epoch}.{at.seq}"
    stand = replace(now, cursor=cursor, time=at.time, state=cursor)
    return stand, replace(cited, cursor=cursor, date=ledger.stamp(at.time), view_root=None)


def licensed(cited: Cited, codes: Iterable[str]) -> Cited:
    """The same with the licences under which places of the view are."""
    return replace(cited, licenses=tuple(map(licence, codes)))


async def write(
    conn: Connection, order: Order, shown: AsyncIterator[list[Shown]], file: File, out: BinaryIO
) -> None:
    """Write the places down, some at a time: they may be more than the memory holds."""
    form = order.kind.form(file)
    begun = False
    async with order.kind.into(out, file) as put:
        await put(form.start)
        async for some in entries.places(shown):
            found = await order.collection.entries(conn, order.reader, some)
            # In a thread: many places take seconds, in which small requests are answered.
            await put(await asyncio.to_thread(_written, form, found, begun=begun))
            begun = begun or bool(found)
        await put(form.end)


def _written(form: Form[Entry], found: Iterable[Entry], *, begun: bool) -> bytes:
    return b"".join(form.written(found, begun=begun))
