"""The sync put together: `build()` is what it answers, `serving()` is its life."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from functools import partial
from pathlib import Path
from time import monotonic

import aiohttp
import structlog
from aiohttp import web
from msgspec import structs

from schemas.event import SYNC_EMITS
from services import (
    addresses,
    broker,
    fetching,
    follow,
    follow_store,
    http,
    ledger,
    ledger_store,
    ledger_work,
    legal,
    openapi,
    pages,
    postgres,
    relay,
    run,
)
from services.bell import Bell
from services.files import Files
from services.keyring import Keyring
from services.ledger import Pen
from services.ledger_http import LEDGER, Published
from services.legal import LEGAL
from services.postgres import Pool
from services.sync import adopting, api, asking, following, trust, witnesses, work, worker
from services.sync.api import reading
from services.sync.asking import Door
from services.sync.context import (
    ANSWERS,
    DOOR,
    FILES,
    FOLLOWING,
    NEWS,
    PAST,
    POLICY,
    POOL,
    POSITION,
    SETTINGS,
    TRUST,
)
from services.sync.entries import COLLECTIONS
from services.sync.exporting import KINDS
from services.sync.position import Answers, Position
from services.sync.settings import PREFIX, Settings
from services.sync.trust import InForce, Trust

log = structlog.get_logger()
# The view as it stands in each form, and some files of past states.
MOST_FILES, MOST_PAST = len(COLLECTIONS) * len(KINDS), 4
SCRIPTS = postgres.scripts("ledger", "follow", "sync")


async def ready(app: web.Application) -> dict[str, str]:
    """The database answers; how it goes with the broker, the followed nodes and the trust file."""
    async with app[POOL].acquire(timeout=3) as conn:
        nodes = await follow_store.nodes(conn)
    live = sum(n.state == "live" for n in nodes)
    return {
        "database": "ok",
        "broker": app[worker.RELAY].state if app[SETTINGS].amqp_url else "absent",
        "nodes": f"{live} of {len(nodes)} live",
        "trust": f"not in force: {trouble}" if (trouble := app[TRUST].trouble) else "in force",
    }


def pen_of(settings: Settings) -> Pen:
    """What writes into the log of this sync."""
    return Pen(keyring=Keyring(Path(settings.key_dir)), now=ledger.clock)


async def identity(pool: Pool, settings: Settings, pen: Pen) -> str:
    """The id of this sync, made at its first start: its online key is its only root."""
    async with pool.acquire() as conn, conn.transaction():
        # Two processes of one sync may be started for the first time at the same moment.
        await ledger_store.reserve(conn)
        known = await ledger.node_of(conn)
        if known is not None:
            return known
        key = pen.keyring.make()
        about = broker.about(settings, SYNC_EMITS)
        return await ledger.found(conn, about, roots=[key], online=key, pen=pen)


def build(
    pool: Pool, settings: Settings, pen: Pen, trusted: Trust, *, client: aiohttp.ClientSession, door: Door
) -> web.Application:
    """The sync as a web application."""
    contact = openapi.contact(settings.name, settings.contact)
    app = http.application(api.ROUTES, service="sync", ready=ready, contact=contact, cors=True)
    app.on_response_prepare.append(reading.name_moment)
    metrics = app[http.METRICS]
    app[LEGAL] = settings
    app[pages.SITE] = structs.replace(app[pages.SITE], name=settings.name, url=settings.url.rstrip("/"))
    app[POOL], app[SETTINGS], app[TRUST], app[NEWS] = pool, settings, InForce(trusted), Bell()
    app[POSITION], app[ANSWERS] = Position(), Answers(settings.answers_bytes)
    app[FILES], app[PAST] = Files(MOST_FILES), Files(MOST_PAST)
    app[DOOR], app[POLICY] = door, adopting.adopted(settings.policy)
    app[LEDGER] = Published(pool=pool, pen=pen, bell=Bell(), snapshots=asyncio.Semaphore(2))
    app[worker.RELAY], app[worker.MERGE] = relay.Gauges(metrics), work.Gauges(metrics)
    app[worker.WITNESSED] = witnesses.Gauges(metrics)
    app[FOLLOWING] = follow.Context(
        pool=pool,
        client=client,
        effect=follow.no_effect,
        bell=app[NEWS],
        gauges=follow.Gauges(metrics),
        now=ledger.clock,
    )
    return app


def database(settings: Settings) -> AbstractAsyncContextManager[Pool]:
    """The sync's own database, migrated."""
    return postgres.pool(
        settings.database_url,
        size=settings.database_pool,
        migrations=SCRIPTS,
        wait=settings.database_wait,
    )


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[int]:
    """The sync at work inside the `async with`, which gives its port."""
    legal.insist(settings, PREFIX)
    trusted = trust.load(Path(settings.trust))
    allowed = addresses.networks(settings.private_addresses)
    async with (
        database(settings) as pool,
        fetching.client() as client,
        asking.stranger_client(allowed) as strangers,
    ):
        pen = pen_of(settings)
        node = await postgres.insist(partial(identity, pool, settings, pen), settings.database_wait)
        log.info("opened", node=node)
        await postgres.insist(partial(ledger_work.compare, pool, settings, PREFIX), settings.database_wait)
        app = build(pool, settings, pen, trusted, client=client, door=Door(strangers, monotonic))
        await postgres.insist(partial(following.note, app, trusted), settings.database_wait)
        with closing(app[FILES]), closing(app[PAST]):
            async with run.at_work(app, worker.LOOPS, settings) as port:
                yield port


async def serve(settings: Settings) -> None:
    """Serve until cancelled."""
    async with serving(settings):
        await asyncio.Event().wait()
