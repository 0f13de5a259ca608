"""`python -m services.registry erase RECORD`: content that has to go by law, here and everywhere."""

import asyncio
import re

import click

from schemas import event
from services import ledger, ledger_epochs, ledger_repair_store, ledger_store
from services.errors import Invalid, NotFound
from services.ledger import Pen
from services.ledger_store import Written
from services.postgres import Connection
from services.registry import app, rebuilding, reports_store
from services.registry.erased import note
from services.registry.keys import configured
from services.registry.settings import Settings

ROUTING = "record.erase._"
LAST_VERSION = 2**53


@click.command("erase")
@click.argument("record")
@click.option("--versions", metavar="A-B", help="These versions only: the record stays as it is now.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def command(record: str, versions: str | None, yes: bool) -> None:
    """Erase a record for good, or old versions of it: nobody can bring back what it said.

    It leaves this registry, the feed, and every node that follows it; proofs stay valid.
    """
    if not yes:
        what = f"versions {versions} of {record}" if versions else f"{record} for good"
        click.confirm(f"Erase {what}? This cannot be undone", abort=True)
    gone = asyncio.run(erased(configured(), record, versions))
    click.echo(
        f"{gone} versions erased. Syncs follow; copies in old backups are kept out when one is restored."
    )


async def erased(s: Settings, record: str, versions: str | None) -> int:
    """Erase a record, or some of its versions; how many. The registry may be running."""
    async with app.database(s) as pool, pool.acquire() as conn, conn.transaction():
        node = await app.identity(pool)
        full = record if ":" in record else f"{node}:{record}"
        return await erase(conn, app.pen_of(s), full, versions)


async def erase(conn: Connection, pen: Pen, record: str, versions: str | None) -> int:
    """Erase within a transaction, which locks the head."""
    head = await ledger.locked(conn)
    last = await ledger_store.last(conn, record)
    # What an epoch has cut off may have had more versions than the record has now, or be all that there was of it.
    first, until = _range(versions, last) if versions else (1, LAST_VERSION)
    leaves = await ledger_repair_store.erasable(conn, record, first=first, last=until)
    if last is None and not leaves:
        raise NotFound("This network has no record {record}.", {"record": record})
    if not leaves:
        raise NotFound("Nothing of {record} is left to erase.", {"record": record})
    _, entries = await ledger_epochs.erase(
        conn, head, record, leaves, pen, author="admin:erase", routing=ROUTING
    )
    await rebuilding.rewound(conn, [record])
    # Whoever reported it may have quoted it.
    await reports_store.drop_about(conn, [record.rpartition(":")[2]])
    # Last of all: what follows is the commit, and no backup may bring back what it takes away.
    note(pen.keyring.folder, entries)
    return len(leaves)


def _range(text: str, last: Written | None) -> tuple[int, int]:
    found = re.fullmatch(r"([1-9][0-9]{0,14})(?:-([1-9][0-9]{0,14}))?", text)
    if found is None:
        raise Invalid("Versions are given as A-B, for instance 1-3.")
    first, until = int(found[1]), int(found[2] or found[1])
    if last is not None and last.type != event.RECORD_ERASE and until >= last.version:
        raise Invalid(
            "Version {version} is what the record says now: change it first, or erase the record without --versions.",
            {"version": last.version},
        )
    return first, until
