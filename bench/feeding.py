"""The database of a sync, fed as its followers feed it: what networks say stands in it, not merged yet."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path

import msgspec

from schemas.event import SYNC_EMITS, Event
from services import follow_store, ledger, merkle, postgres
from services.follow_store import Source
from services.identity import About
from services.keyring import Keyring
from services.ledger import Pen
from services.postgres import Pool
from services.proofs import Followed, Position
from services.sync.app import SCRIPTS

TIME = "2026-03-01T09:00:00Z"


def node_of(number: int) -> str:
    """The id of a network."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    return (letters[number % 26] + letters[number // 26]) * 13


def uuid_of(text: str, at: int) -> str:
    """A UUIDv7 that is the same in every run."""
    digest = sha256(text.encode()).hexdigest()
    stamp = f"{0x0190_0000_0000 + at:012x}"
    return f"{stamp[:8]}-{stamp[8:]}-7{digest[:3]}-8{digest[3:6]}-{digest[6:18]}"


class Log(msgspec.Struct):
    """A network's log as a sync has followed it so far."""

    node: str
    here: Position = Position()
    versions: dict[str, int] = msgspec.field(default_factory=dict)

    def followed(self, record: str, type: str, data: bytes) -> Followed:
        """The next event."""
        version = self.versions[record] = self.versions.get(record, 0) + 1
        seq = self.here.tree.size + 1
        event = Event(
            specversion="1.0",
            id=f"1-{seq:016d}",
            source=f"urn:maillage:{self.node}",
            type=type,
            subject=record,
            time=TIME,
            datacontenttype="application/json",
            sequence=f"{seq:016d}",
            epoch=1,
            recordversion=version,
            salt="A" * 22,
            data=msgspec.Raw(data),
        )
        raw = msgspec.json.encode(event)
        leaf = merkle.leaf(raw)
        tree = merkle.extended(self.here.tree, [leaf])
        self.here = Position(epoch=1, tree=tree, n=seq)
        return Followed(seq, 1, raw, "kid", b"", leaf, event)


async def store(pool: Pool, log: Log, drafts: Sequence[tuple[str, str, bytes]]) -> list[Followed]:
    """Put events where followers put them; they themselves."""
    before = log.here
    events = [log.followed(*draft) for draft in drafts]
    async with pool.acquire() as conn, conn.transaction():
        await follow_store.add_events(conn, log.node, events)
        await follow_store.set_records(conn, log.node, events)
        moved = await follow_store.move(conn, log.node, before, log.here, state="live", at=ledger.clock())
        assert moved
    return events


@asynccontextmanager
async def fresh(url: str, folder: Path, networks: int) -> AsyncIterator[tuple[Pool, Pen, list[Log]]]:
    """An empty sync that listens to networks: its database, what it signs with, their logs."""
    pen = Pen(Keyring(folder), ledger.clock)
    async with postgres.pool(url, migrations=SCRIPTS) as pool:
        about = About(
            slug="s", name="s", license="", contact="", url="", amqp=None, heartbeat_s=60, emits=SYNC_EMITS
        )
        async with pool.acquire() as conn, conn.transaction():
            key = pen.keyring.make()
            await ledger.found(conn, about, roots=[key], online=key, pen=pen)
        logs = [Log(node_of(n)) for n in range(networks)]
        async with pool.acquire() as conn:
            for log in logs:
                await follow_store.follow(conn, Source(log.node, "http://x", log.node[:2], "follow"))
        yield pool, pen, logs
