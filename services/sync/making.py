"""`python -m services.sync rebuild | audit`: the view made from the stored events alone, or compared with that."""

import asyncio

import click
from msgspec import Struct
from prometheus_client import CollectorRegistry

from services import cli
from services.errors import Conflict
from services.postgres import Connection, Pool
from services.sync import adopting, app, merge, policy, store, trial, upkeep
from services.sync.commands import configured
from services.sync.inputs import Inputs, inputs
from services.sync.settings import Settings
from services.sync.upkeep import Progress
from services.sync.work import Gauges

TRIES = 30
EXAMPLES = 10


class Audit(Struct, frozen=True):
    """How many places there are, and those that are not what the stored events make."""

    places: int
    differing: list[str]


@click.command("rebuild")
def rebuild() -> None:
    """Make the view anew from the stored events alone. What comes out as it was makes no event."""
    s = configured()
    with cli.progress("rebuild") as tell:
        records, root = asyncio.run(_rebuilt(s, tell))
    click.echo(
        cli.phrase("Merged anew: {count} records. The root is {root}.", {"count": records, "root": root})
    )


async def _rebuilt(s: Settings, tell: Progress) -> tuple[int, str]:
    async with app.database(s) as pool:
        gauges = Gauges(CollectorRegistry())
        count = await upkeep.rebuild(pool, app.pen_of(s), adopting.adopted(s.policy), gauges, tell)
        async with pool.acquire() as conn:
            return count, await root(conn)


async def root(conn: Connection) -> str:
    """The root of the view as it stands, in hex; empty before there is one."""
    basis, known = await store.basis(conn), await store.buckets(conn)
    hashes = [known.get(b, merge.bucket_hash(())) for b in range(256)]
    return merge.view_root(basis[1], basis[0], hashes).hex() if basis else ""


@click.command("audit")
def audit() -> None:
    """Work the view out from the stored events, in memory, and say whether it is the one that is served.

    Nothing is replaced. The exit code is 1 where it is another one.
    """
    found = asyncio.run(_audited(configured()))
    for id in found.differing[:EXAMPLES]:
        click.echo(cli.phrase("Place {id} is not what the stored events make.", {"id": id}))
    if found.differing:
        args = {"count": len(found.differing), "places": found.places}
        click.echo(
            cli.phrase("{count} of {places} places differ. Run: python -m services.sync rebuild", args)
        )
    else:
        click.echo(
            cli.phrase("All {places} places are what the stored events make.", {"places": found.places})
        )
    raise SystemExit(1 if found.differing else 0)


async def _audited(s: Settings) -> Audit:
    async with app.database(s) as pool:
        return await audited(pool)


async def audited(pool: Pool) -> Audit:
    """The view as it stands, beside the one that the events make at the same heads."""
    for _ in range(TRIES):
        async with pool.acquire() as conn, conn.transaction(isolation="repeatable_read", readonly=True):
            found = await inputs(conn)
            stood = await store.basis(conn)
            if stood and stood[0] == found.followed and found.heads == await store.merged(conn):
                return await _compared(conn, found)
        await asyncio.sleep(1)
    raise Conflict("The view is behind what is followed: is the service running, and does `doctor` complain?")


async def _compared(conn: Connection, found: Inputs) -> Audit:
    rules = policy.stored(await store.policy_document(conn) or b"")
    made = await asyncio.to_thread(trial.outcome, found.records, found.claims, rules)
    wanted = {id: merge.view_bytes(view) for id, view in made.views.items()}
    wrong = [s.id async for s in store.every_view(conn) if wanted.pop(s.id, None) != s.body]
    return Audit(len(made.views), sorted([*wrong, *wanted]))
