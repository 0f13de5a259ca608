"""What runs unasked in a sync: one function a loop."""

import asyncio
from functools import partial

from aiohttp import web
from asyncpg import SerializationError

from services import ledger, ledger_work, observed_store, postgres, relay
from services.ledger_http import LEDGER
from services.run import Loops, calm, keep
from services.sync import following, searching, trust, upkeep, witnesses, work
from services.sync.context import FOLLOWING, NEWS, POLICY, POOL, POSITION, SETTINGS, TRUST
from services.sync.following import Followers

RELAY = web.AppKey("relay", relay.Gauges)
MERGE = web.AppKey("merge", work.Gauges)
WITNESSED = web.AppKey("witnessed", witnesses.Gauges)
# Under load each merge may wait a little for more, as ten changes in one transaction cost hardly more than one.
GATHER = 0.005
# Witnesses are asked each minute, for the first time soon; a little by chance, so that not all are at once.
ASK_SOON, ASK_EVERY = 3.0, 60.0
# Seconds after which it is looked where the view stands, and what is to be read for searching, unasked.
LOOK_EVERY, SEARCH_EVERY = 0.1, 1.0
# Checkpoints of others: the latest ones, and of the older ones one for so many events.
RECENT_CHECKPOINTS = 500


async def follow(app: web.Application) -> None:
    """Follow every node of the trust file, each on its own, and the file."""
    async with asyncio.TaskGroup() as tasks:
        followers = Followers(app[FOLLOWING], tasks)
        await followers.keep_to(trust.sources(app[TRUST].now))
        await keep("trust", partial(following.watch, app, followers), postgres.WEATHER)


async def merge(app: web.Application) -> None:
    """Keep the view in step with what was followed."""

    async def run() -> None:
        await upkeep.read_off(app[POOL])
        await upkeep.count(app[POOL], app[MERGE])
        while True:
            heard = app[NEWS].heard
            try:
                moved = await upkeep.merge_once(app[POOL], app[LEDGER].pen, app[POLICY], app[MERGE])
            except SerializationError:
                # The checkpoint of a second came in between.
                continue
            calm()
            if moved:
                # Who is told of a change, reads it.
                await app[POSITION].look(app[POOL])
                app[LEDGER].bell.ring()
                await asyncio.sleep(GATHER)
            else:
                await app[NEWS].wait(heard, 1.0)

    await keep("merge", run, upkeep.WEATHER)


async def stand(app: web.Application) -> None:
    """Look where the view stands: other processes merge as well."""

    async def run() -> None:
        while True:
            heard = app[LEDGER].bell.heard
            await app[POSITION].look(app[POOL])
            calm()
            await app[LEDGER].bell.wait(heard, LOOK_EVERY)

    await keep("stand", run, postgres.WEATHER)


async def search(app: web.Application) -> None:
    """Read places that have changed for searching."""

    async def run() -> None:
        async with postgres.locked(app[POOL], "search"):
            while True:
                heard = app[LEDGER].bell.heard
                async with app[POOL].acquire() as conn:
                    read = await searching.read_changed(conn)
                calm()
                if not read:
                    await app[LEDGER].bell.wait(heard, SEARCH_EVERY)

    await keep("search", run, postgres.WEATHER)


async def publish(app: web.Application) -> None:
    """Relay the log of view changes to RabbitMQ."""
    await ledger_work.publish(app[LEDGER], app[SETTINGS].amqp_url, app[RELAY])


async def prove(app: web.Application) -> None:
    """Sign full checkpoints."""
    await ledger_work.prove(app[LEDGER])


async def thin(app: web.Application) -> None:
    """Thin old checkpoints."""
    await ledger_work.thin(app[LEDGER], app[SETTINGS].feed_keeps)


async def thin_observed(app: web.Application) -> None:
    """Thin old checkpoints of followed nodes."""

    async def run() -> None:
        while True:
            async with app[POOL].acquire() as conn:
                await observed_store.thin_checkpoints(conn, every=ledger.KEEP_ONE_IN, keep=RECENT_CHECKPOINTS)
            calm()
            await asyncio.sleep(ASK_EVERY)

    await keep("thin observed", run, postgres.WEATHER)


async def witness(app: web.Application) -> None:
    """Compare with witnesses what nodes signed."""
    watch = witnesses.Watch(app[POOL], app[FOLLOWING].client, app[WITNESSED], ledger.clock)

    async def run() -> None:
        async with postgres.locked(app[POOL], "witness"):
            await asyncio.sleep(witnesses.about(ASK_SOON))
            while True:
                await watch.round(app[TRUST].now.witnesses)
                calm()
                await asyncio.sleep(witnesses.about(ASK_EVERY))

    await keep("witness", run, postgres.WEATHER)


LOOPS: Loops = {
    "follow": follow,
    "merge": merge,
    "stand": stand,
    "search": search,
    "relay": publish,
    "prove": prove,
    "thin": thin,
    "thin observed": thin_observed,
    "witness": witness,
}
