"""What runs unasked in a sync: one function a loop."""

import asyncio
from functools import partial

from aiohttp import web
from asyncpg import SerializationError

from services import ledger_work, postgres, relay
from services.ledger_http import LEDGER
from services.run import Loops, calm, keep
from services.sync import following, trust, upkeep
from services.sync.context import FOLLOWING, NEWS, POOL, SETTINGS, TRUST
from services.sync.following import Followers

RELAY = web.AppKey("relay", relay.Gauges)
MERGE = web.AppKey("merge", upkeep.Gauges)
# Under load each merge may wait a little for more, as ten changes in one transaction cost hardly more than one.
GATHER = 0.005


async def follow(app: web.Application) -> None:
    """Follow every node of the trust file, each on its own, and the file."""
    async with asyncio.TaskGroup() as tasks:
        followers = Followers(app[FOLLOWING], tasks)
        await followers.keep_to(trust.sources(app[TRUST].now))
        await keep("trust", partial(following.watch, app, followers), postgres.WEATHER)


async def merge(app: web.Application) -> None:
    """Keep the view in step with what was followed."""

    async def run() -> None:
        await upkeep.count(app[POOL], app[MERGE])
        while True:
            heard = app[NEWS].heard
            try:
                moved = await upkeep.merge_once(app[POOL], app[LEDGER].pen, app[MERGE])
            except SerializationError:
                # The checkpoint of a second came in between.
                continue
            calm()
            if moved:
                app[LEDGER].bell.ring()
                await asyncio.sleep(GATHER)
            else:
                await app[NEWS].wait(heard, 1.0)

    await keep("merge", run, upkeep.WEATHER)


async def publish(app: web.Application) -> None:
    """Relay the log of view changes to RabbitMQ."""
    await ledger_work.publish(app[LEDGER], app[SETTINGS].amqp_url, app[RELAY])


async def prove(app: web.Application) -> None:
    """Sign full checkpoints."""
    await ledger_work.prove(app[LEDGER])


async def thin(app: web.Application) -> None:
    """Thin old checkpoints."""
    await ledger_work.thin(app[LEDGER], app[SETTINGS].feed_keeps)


LOOPS: Loops = {
    "follow": follow,
    "merge": merge,
    "relay": publish,
    "prove": prove,
    "thin": thin,
}
