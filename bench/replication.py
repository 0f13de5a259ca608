"""The rival of following: PostgreSQL's logical replication, table here to table there."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg

from bench import nodes

TABLE = (
    "CREATE TABLE event (seq bigint PRIMARY KEY, raw bytea NOT NULL, sig bytea NOT NULL, leaf bytea NOT NULL)"
)


class Replica:
    """Two servers, one of which streams a table to the other."""

    def __init__(self, source: asyncpg.Connection, target: asyncpg.Connection) -> None:
        self.source, self.target = source, target
        self.size = 0

    async def stream(self, raws: list[bytes]) -> float:
        """Rows per second from the commit here to the last row there."""
        rows = [(self.size + n, raw, raw[:64], raw[:32]) for n, raw in enumerate(raws, start=1)]
        self.size += len(rows)
        await self.source.copy_records_to_table("event", records=rows)
        started = time.perf_counter()
        await self._arrived()
        return len(rows) / (time.perf_counter() - started)

    async def latency(self, raw: bytes) -> float:
        """Seconds from the answer to an INSERT here to the row there."""
        self.size += 1
        await self.source.execute(
            "INSERT INTO event VALUES ($1, $2, $3, $4)", self.size, raw, raw[:64], raw[:32]
        )
        started = time.perf_counter()
        await self._arrived()
        return time.perf_counter() - started

    async def _arrived(self) -> None:
        while not await self.target.fetchval("SELECT 1 FROM event WHERE seq = $1", self.size):
            await asyncio.sleep(0)


@asynccontextmanager
async def replica(at: Path) -> AsyncIterator[Replica]:
    """Two servers of their own, streaming."""
    async with (
        nodes.postgres(at / "source", wal_level="logical") as here,
        nodes.postgres(at / "target") as there,
    ):
        source = await asyncpg.connect(here.url())
        target = await asyncpg.connect(there.url())
        for connection in (source, target):
            await connection.execute(TABLE)
        await source.execute("CREATE PUBLICATION p FOR TABLE event")
        await target.execute(f"CREATE SUBSCRIPTION s CONNECTION '{here.url()}' PUBLICATION p")
        made = Replica(source, target)
        await made.latency(b"x" * 100)
        try:
            yield made
        finally:
            await target.execute("DROP SUBSCRIPTION s")
            await source.close()
            await target.close()
