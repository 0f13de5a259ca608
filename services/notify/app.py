"""Notify put together: `build()` is what it answers, `serving()` is its life."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import aiohttp
import structlog
from aiohttp import web
from prometheus_client import Gauge

from services import fetching, follow, follow_store, http, ledger, postgres, run
from services.bell import Bell
from services.notify import api, recording, worker
from services.notify.context import FOLLOWING, POOL, SETTINGS, STREAMS
from services.notify.settings import Settings
from services.postgres import Pool

log = structlog.get_logger()
SCRIPTS = postgres.scripts("follow", "notify")


async def ready(app: web.Application) -> dict[str, str]:
    """The database answers; how it goes with the followed log."""
    async with app[POOL].acquire(timeout=3) as conn:
        known = await follow_store.nodes(conn)
    return {"database": "ok", "log": known[0].state if known else "absent"}


def build(pool: Pool, settings: Settings, client: aiohttp.ClientSession) -> web.Application:
    """Notify as a web application."""
    app = http.application(api.ROUTES, service="notify", ready=ready, cors=True)
    metrics = app[http.METRICS]
    app[POOL], app[SETTINGS] = pool, settings
    app[STREAMS] = Gauge("maillage_notify_streams", "Streams of changes that are open", registry=metrics)
    app[FOLLOWING] = follow.Context(
        pool=pool,
        client=client,
        effect=recording.effect,
        rewound=recording.rewound,
        bell=Bell(),
        gauges=follow.Gauges(metrics),
        now=ledger.clock,
    )
    return app


def database(settings: Settings) -> AbstractAsyncContextManager[Pool]:
    """Notify's own database, migrated."""
    return postgres.pool(
        settings.database_url,
        size=settings.database_pool,
        migrations=SCRIPTS,
        wait=settings.database_wait,
    )


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[int]:
    """Notify at work inside the `async with`, which gives its port."""
    async with database(settings) as pool, fetching.client() as client:
        app = build(pool, settings, client)
        async with run.at_work(app, worker.LOOPS, settings) as port:
            yield port


async def serve(settings: Settings) -> None:
    """Serve until cancelled."""
    async with serving(settings):
        await asyncio.Event().wait()
