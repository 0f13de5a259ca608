"""The registry put together: `build()` is what it answers, `serve()` is its life."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from functools import partial
from pathlib import Path
from time import monotonic

import structlog
from aiohttp import web
from msgspec import structs

from services import http, ledger, ledger_store, ledger_work, legal, openapi, pages, postgres, relay, run
from services.bell import Bell
from services.errors import Misconfigured
from services.files import Files
from services.http import Principal
from services.keyring import Keyring
from services.ledger import Pen
from services.ledger_http import LEDGER, Published
from services.legal import LEGAL
from services.postgres import Pool
from services.registry import api, recovering, worker, writer
from services.registry.context import DOOR, EXPORTS, IMPORTS, NODE, POOL, SETTINGS, TOKENS, WRITER
from services.registry.exporting import KINDS
from services.registry.reports import Door
from services.registry.settings import PREFIX, Settings
from services.registry.tokens import Tokens
from services.registry.writer import Writer

log = structlog.get_logger()
# What a network must say of itself before its first descriptor is made.
SAID = ("name", "slug", "contact", "url")
SCRIPTS = postgres.scripts("ledger", "registry")


async def ready(app: web.Application) -> dict[str, str]:
    """The database answers; how it goes with the broker."""
    async with app[POOL].acquire(timeout=3) as conn:
        head = await ledger_store.head(conn)
    broker = app[worker.RELAY].state if app[SETTINGS].amqp_url else "absent"
    hold = head.hold if head else None
    return {"database": "ok", "broker": broker, "log": f"on hold: {hold}" if hold else "ok"}


async def authenticate(request: web.Request, secret: str) -> Principal | None:
    """Who holds this token, if it is in force."""
    return await request.app[TOKENS].holder(secret, ledger.clock())


def build(pool: Pool, settings: Settings, pen: Pen, node: str) -> web.Application:
    """The registry as a web application."""
    contact = openapi.contact(settings.name, settings.contact)
    app = http.application(
        api.ROUTES, service="registry", ready=ready, authenticate=authenticate, contact=contact
    )
    bell = Bell()
    app[LEGAL] = settings
    app[pages.SITE] = structs.replace(app[pages.SITE], name=settings.name, url=settings.url.rstrip("/"))
    app[POOL], app[SETTINGS], app[NODE] = pool, settings, node
    app[TOKENS] = Tokens(pool)
    app[DOOR] = Door(settings.proxies, monotonic, app[http.METRICS])
    app[IMPORTS], app[EXPORTS] = Bell(), Files(len(KINDS))
    app[WRITER] = Writer(pool, pen, bell, writer.Gauges(app[http.METRICS]))
    app[LEDGER] = Published(pool=pool, pen=pen, bell=bell, snapshots=asyncio.Semaphore(2))
    app[worker.RELAY] = relay.Gauges(app[http.METRICS])
    return app


async def identity(pool: Pool) -> str:
    """The id of this node; Misconfigured when it has none yet."""
    async with pool.acquire() as conn:
        head = await ledger_store.head(conn)
    if head is None:
        raise Misconfigured(
            "This node has no identity yet. Run: python -m services.registry key init --root-key FILE"
        )
    return head.node


def pen_of(settings: Settings) -> Pen:
    """What writes into the log of this registry."""
    return Pen(keyring=Keyring(Path(settings.key_dir)), now=ledger.clock)


def database(settings: Settings) -> AbstractAsyncContextManager[Pool]:
    """The registry's own database, migrated."""
    return postgres.pool(
        settings.database_url,
        size=settings.database_pool,
        migrations=SCRIPTS,
        wait=settings.database_wait,
    )


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[int]:
    """The registry at work inside the `async with`, which gives its port."""
    legal.insist(settings, PREFIX)
    async with database(settings) as pool:
        pen = pen_of(settings)
        node = await postgres.insist(partial(identity, pool), settings.database_wait)
        app = build(pool, settings, pen, node)
        log.info("opened", node=node)
        asked = partial(recovering.at_start, pool, pen, settings.witnesses)
        await postgres.insist(asked, settings.database_wait)
        await postgres.insist(partial(ledger_work.compare, pool, settings, PREFIX), settings.database_wait)
        with closing(app[EXPORTS]):
            async with run.at_work(app, worker.LOOPS, settings) as port:
                yield port


async def serve(settings: Settings) -> None:
    """Serve until cancelled."""
    async with serving(settings):
        await asyncio.Event().wait()
