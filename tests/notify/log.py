"""A log that a test writes itself: a real signed ledger behind real HTTP, as a sync has one."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from schemas import event
from schemas.view import Traits, ViewPut, ViewRemove
from services import http, ledger, ledger_http, postgres
from services.bell import Bell
from services.identity import About
from services.keyring import Keyring
from services.ledger import Draft, Pen
from services.ledger_http import LEDGER, Published
from services.postgres import Pool

NETWORK = "n" * 26
ABOUT = About(
    slug="vue", name="Vue", license="ODbL-1.0", contact="", url="", amqp=None, heartbeat_s=1, emits=event.SYNC_EMITS
)  # fmt: skip


def place_id(n: int) -> str:
    """The id of the nth place."""
    return f"{NETWORK}:01900000-{n:04x}-7000-8000-000000000000"


def traits(departement: str | None = "35", **said: Any) -> Traits:
    """The traits of a fablab in a département, in Rennes unless it is said."""
    rest = {"networks": (NETWORK,), "families": ("fablab",), "types": (), "labels": (), "status": "open"}
    return Traits(**{**rest, "departement": departement, "insee": None, "lat": 48.1, "lon": -1.7, **said})


class Log:
    """The log: what is written here is followed by a notify."""

    def __init__(self, pool: Pool, pen: Pen, node: str) -> None:
        self.pool, self.pen, self.node = pool, pen, node
        self.bell, self.url = Bell(), ""

    async def write(self, drafts: Sequence[Draft]) -> list[str]:
        """Append events; their cursors."""
        async with self.pool.acquire() as conn, conn.transaction():
            _, entries = await ledger.append(conn, await ledger.locked(conn), drafts, self.pen)
        self.bell.ring()
        return [f"{e.epoch}.{e.seq}" for e in entries]

    def put(self, n: int, after: Traits, before: Traits | None = None, **place: Any) -> Draft:
        """A `view.put` of the nth place."""
        said = {"name": f"Lieu {n}", **place}
        data = ViewPut(
            id=place_id(n),
            networks=after.networks,
            after=msgspec.Raw(msgspec.json.encode(said)),
            traits=after,
            before=before,
            changed=msgspec.Raw(b'{"name":{"before":null,"after":"x"}}'),
            cause=("1-0000000000000001",),
        )
        return self.draft(place_id(n), event.VIEW_PUT, data)

    def remove(self, n: int, before: Traits, reason: str = "withdrawn", moved_to: str | None = None) -> Draft:
        """A `view.remove` of the nth place."""
        data = ViewRemove(id=place_id(n), before=before, reason=reason, moved_to=moved_to, cause=())
        return self.draft(place_id(n), event.VIEW_REMOVE, data)

    def draft(self, id: str, type: str, data: Any) -> Draft:
        """Any event."""
        encoded = data if isinstance(data, bytes) else msgspec.json.encode(data)
        return Draft(record=f"{self.node}:{id}", type=type, data=encoded, routing="view.put._", author="test")


@asynccontextmanager
async def serving(database_url: str, folder: Path) -> AsyncIterator[Log]:
    """A log with an identity, served on a free port."""
    pen = Pen(keyring=Keyring(folder), now=ledger.clock)
    async with postgres.pool(database_url, migrations=postgres.scripts("ledger")) as pool:
        async with pool.acquire() as conn, conn.transaction():
            key = pen.keyring.make()
            node = await ledger.found(conn, ABOUT, roots=[key], online=key, pen=pen)
        log = Log(pool, pen, node)

        async def ready(app: Any) -> dict[str, str]:
            return {}

        app = http.application(ledger_http.ROUTES, service="log", ready=ready)
        app[LEDGER] = Published(pool=pool, pen=pen, bell=log.bell, snapshots=asyncio.Semaphore(2))
        async with http.listening(app, "127.0.0.1", 0) as port:
            log.url = f"http://127.0.0.1:{port}"
            yield log
