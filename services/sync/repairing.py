"""`python -m services.sync repair | reproject`: is all that is stored what was signed, and what puts it right."""

import asyncio

import aiohttp
import click
import msgspec
from msgspec.structs import replace

from schemas.view import View
from services import (
    cli,
    fetching,
    follow_repair,
    follow_repair_store,
    follow_store,
    ledger,
    ledger_repair,
)
from services.holders import Remote
from services.mending import Told, told
from services.postgres import Connection, Pool
from services.repairing import from_option, report
from services.sync import app, changes, rebuilding, reprojecting, store
from services.sync.commands import configured
from services.sync.settings import Settings


@click.command("repair")
@from_option
def repair(url: str | None) -> None:
    """Look through all that is held of others, our own log and the view; put right what is damaged.

    Damaged events come from another sync or from their node: only what a node signed, and what makes its log the one
    that it signed, is written. The exit code is 1 where damage is found and remains.
    """
    raise SystemExit(report(asyncio.run(_repair(configured(), url)), "python -m services.sync"))


@click.command("reproject")
def reproject() -> None:
    """Read again the events that an earlier version kept without being able to use them. The sync may be running."""
    done = asyncio.run(_reproject(configured()))
    click.echo(cli.phrase("Events that can be used now: {count}.", {"count": done}))


async def _reproject(s: Settings) -> int:
    async with app.database(s) as pool:
        return await reprojecting.reproject(pool)


async def _repair(s: Settings, url: str | None) -> list[Told]:
    async with app.database(s) as pool, fetching.client() as client:
        return await repaired(pool, client, url)


async def repaired(pool: Pool, client: aiohttp.ClientSession, url: str | None) -> list[Told]:
    """What is damaged; put right, where there is another holder."""
    async with pool.acquire() as conn:
        nodes = await follow_store.nodes(conn)
    found: list[Told] = []
    for node in nodes:
        found += await _node(pool, client, node.node, url)
    async with pool.acquire() as conn, conn.transaction(isolation=_isolation(url)):
        # Who merges waits here, and for what follows.
        head = await (ledger.locked(conn) if url else ledger.current(conn))
        found += await ledger_repair.repair(conn, Remote(client, url, head.node) if url else None)
        found += await views(conn, mends=url is not None)
    return found


def _isolation(url: str | None) -> str:
    """Where nothing is locked, one moment; what is locked stays as it is."""
    return "read_committed" if url else "repeatable_read"


async def _node(pool: Pool, client: aiohttp.ClientSession, node: str, url: str | None) -> list[Told]:
    async with pool.acquire() as conn, conn.transaction(isolation=_isolation(url)):
        if url:
            await follow_repair_store.hold(conn, node)
        known = await follow_store.node(conn, node)
        if known is None:
            return []
        found = await follow_repair.repair(conn, known, Remote(client, url, node) if url else None)
    return [replace(one, whose=known.alias) for one in found]


async def views(conn: Connection, *, mends: bool) -> list[Told]:
    """Places of the view, and its buckets, that are not what their hashes say."""
    wrong = [*await store.unmatched_views(conn)]
    wrong += [saved.id async for saved in store.every_view(conn) if not _whole(saved)]
    buckets = await store.mistaken_buckets(conn)
    if mends and wrong:
        await rebuilding.rebuild(conn, wrong)
    if mends and (wrong or buckets):
        await store.refresh_buckets(conn, range(256))
    return [
        *(told("Place {id} of the view is damaged.", {"id": id}, mended=mends) for id in wrong),
        *(told("Bucket {bucket} of the view is damaged.", {"bucket": b}, mended=mends) for b in buckets),
    ]


def _whole(saved: store.Saved) -> bool:
    """Whether all columns of a place say what its bytes say, and its entry is their hash."""
    try:
        view = msgspec.json.decode(saved.body, type=View)
        return changes.saved(changes.shown(view)) == saved
    except (msgspec.DecodeError, LookupError, ValueError, TypeError, AttributeError):
        return False
