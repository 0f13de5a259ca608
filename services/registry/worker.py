"""What runs unasked in a registry: one function a loop."""

import asyncio
from datetime import timedelta

import msgspec
import structlog
from aiohttp import web

from services import ledger, ledger_work, postgres, relay
from services.errors import Failure
from services.ledger_http import LEDGER
from services.registry import importing, recovering, reports, reports_store, store
from services.registry.context import DOOR, IMPORTS, POOL, SETTINGS, WRITER
from services.run import Loops, calm, keep

RELAY = web.AppKey("relay", relay.Gauges)
IDEMPOTENT_FOR = timedelta(hours=24)
REPORTED_FOR = timedelta(days=90)
log = structlog.get_logger()


async def write(app: web.Application) -> None:
    """The one writer. A bug in it ends the process: nothing may be half written."""
    await app[WRITER].run()


async def publish(app: web.Application) -> None:
    """Relay the log to RabbitMQ."""
    await ledger_work.publish(app[LEDGER], app[SETTINGS].amqp_url, app[RELAY])


async def prove(app: web.Application) -> None:
    """Sign full checkpoints."""
    await ledger_work.prove(app[LEDGER])


async def thin(app: web.Application) -> None:
    """Thin old checkpoints."""
    await ledger_work.thin(app[LEDGER], app[SETTINGS].feed_keeps)


async def forget(app: web.Application) -> None:
    """Forget old idempotency keys, uploads that were cut, and reports that nobody reads any more."""

    async def run() -> None:
        while True:
            async with app[POOL].acquire() as conn:
                await store.forget_answers(conn, ledger.clock() - IDEMPOTENT_FOR)
                await store.drop_uploads(conn, ledger.clock() - IDEMPOTENT_FOR)
                await store.drop_jobs(conn, ledger.clock() - REPORTED_FOR)
                await reports.forget(conn, ledger.clock())
                app[DOOR].waiting.set((await reports_store.waiting(conn)).count)
            calm()
            await asyncio.sleep(60)

    await keep("forget", run, postgres.WEATHER)


async def read_lists(app: web.Application) -> None:
    """Carry out imports, one after the other, in one process at a time."""

    async def run() -> None:
        async with postgres.locked(app[POOL], "imports"):
            while True:
                heard = app[IMPORTS].heard
                async with app[POOL].acquire() as conn:
                    job = await store.waiting_job(conn)
                calm()
                if job is None:
                    await app[IMPORTS].wait(heard, 2.0)
                else:
                    await _read(app, job)

    await keep("imports", run, importing.WEATHER)


async def _read(app: web.Application, job: store.Job) -> None:
    try:
        counts = await importing.run(app[POOL], app[WRITER], job)
    except Failure as failure:
        if isinstance(failure, importing.WEATHER):
            raise
        log.warning("import failed", job=str(job.id), detail=failure.detail)
    else:
        done = msgspec.structs.asdict(counts)
        log.info("imported", job=str(job.id), source=job.source, mode=job.mode, **done)


async def witness(app: web.Application) -> None:
    """Ask witnesses, in one process at a time, whether anything of our own log is missing here."""
    published, urls = app[LEDGER], app[SETTINGS].witnesses
    if not urls:
        return

    async def run() -> None:
        async with postgres.locked(app[POOL], "witness"):
            while True:
                await recovering.consult(app[POOL], published.pen, urls)
                calm()
                async with app[POOL].acquire() as conn:
                    held = (await ledger.current(conn)).hold == "restored"
                await asyncio.sleep(recovering.ON_HOLD if held else recovering.PERIOD)

    await keep("witness", run, postgres.WEATHER)


LOOPS: Loops = {
    "writer": write,
    "relay": publish,
    "prove": prove,
    "thin": thin,
    "forget": forget,
    "imports": read_lists,
    "witness": witness,
}
