"""`python -m services.registry repair`: is all that is stored what was signed, and what puts it right."""

import asyncio
from collections.abc import Sequence

import click
import msgspec

from services import fetching, ledger, ledger_repair, ledger_repair_store
from services.holders import Holder, Remote
from services.ledger_repair_store import Standing
from services.mending import Told, told
from services.postgres import Connection, Pool
from services.registry import app, rebuilding, store
from services.registry.keys import configured
from services.registry.settings import Settings
from services.repairing import from_option, report


@click.command("repair")
@from_option
def command(url: str | None) -> None:
    """Look through the log and all rows made from it; put right what is damaged from a sync that follows.

    Only what this network signed, and what makes the log the one that was signed, is written. The registry may be
    running: it writes nothing meanwhile. The exit code is 1 where damage is found and remains.
    """
    raise SystemExit(report(asyncio.run(_repair(configured(), url)), "python -m services.registry"))


async def _repair(s: Settings, url: str | None) -> list[Told]:
    async with app.database(s) as pool, fetching.client() as client:
        holder = Remote(client, url, await app.identity(pool)) if url else None
        return await repair(pool, holder)


async def repair(pool: Pool, holder: Holder | None) -> list[Told]:
    """What is damaged; put right, where there is another holder."""
    # Where nothing is locked, one moment; what is locked stays as it is.
    isolation = "read_committed" if holder else "repeatable_read"
    async with pool.acquire() as conn, conn.transaction(isolation=isolation):
        head = await (ledger.locked(conn) if holder else ledger.current(conn))
        found = await ledger_repair.repair(conn, holder)
        return [*found, *await _rows(conn, head.node, mends=holder is not None)]


async def _rows(conn: Connection, node: str, *, mends: bool) -> list[Told]:
    """Rows of places, claims, words and areas that say otherwise than the log."""
    wrong = [f"{node}:{id}" for id in await store.strangers(conn, node)]
    last = ""
    while records := await ledger_repair_store.records_after(conn, last, rebuilding.AT_ONCE):
        wrong += [f"{node}:{id}" for id in await _otherwise(conn, records)]
        last = records[-1]
    if mends and wrong:
        await rebuilding.rewound(conn, wrong)
    return [told("The row of {record} is not what the log says.", {"record": r}, mended=mends) for r in wrong]


async def _otherwise(conn: Connection, records: Sequence[str]) -> list[str]:
    standing = await ledger_repair_store.standing(conn, records)
    made = rebuilding.made([s for s in standing if _readable(s)])
    known = await store.rows(conn, [row.id for row in made.erased])
    wrong = [row.id for row in made.erased if known.get(row.id) != row]
    return [*wrong, *await store.otherwise(conn, made.places, made.others)]


def _readable(standing: Standing) -> bool:
    """Whether a record can be made again: the events of some may be damaged."""
    try:
        rebuilding.made([standing])
    except msgspec.DecodeError:
        return False
    return True
