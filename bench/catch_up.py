"""A fresh sync of a registry with 100,000 events, beside logical replication of the same rows."""

import time
from pathlib import Path
from statistics import median

import aiohttp
import asyncpg
import msgspec

from bench import imports, nodes
from bench.figures import Figure
from bench.nodes import Registry
from bench.replication import replica
from demo.postgres import Postgres
from schemas.event import Event
from schemas.place import Place
from services.sync import changes, merge
from services.sync.merge import Record


async def _until_equal(url: str, count: int, field: str) -> float:
    """When a network's figure at `/networks` reaches `count`."""
    async with aiohttp.ClientSession() as client:

        async def there() -> bool:
            async with client.get(url + "/networks") as response:
                found = (await response.json())["networks"]
            return bool(found) and found[0][field] >= count

        await nodes.until(there, 300, pause=0.05)
    return time.perf_counter()


async def ours(server: Postgres, at: Path, registry: Registry, count: int) -> tuple[float, float]:
    """Events per second until all are proven and stored, and until all are in the view."""
    database = await server.create_database()
    started = time.perf_counter()
    async with nodes.sync(at, database, registry) as url:
        connection = await asyncpg.connect(database)

        async def stored() -> bool:
            return bool(await connection.fetchval("SELECT size >= $1 FROM follow_node", count))

        await nodes.until(stored, 300, pause=0.05)
        followed = time.perf_counter() - started
        merged = await _until_equal(url, count, "places") - started
        await connection.close()
    return count / followed, count / merged


def matcher(raws: list[bytes]) -> float:
    """Places per second of the pure merge alone, from event bytes to what is stored."""
    started = time.perf_counter()
    for raw in raws:
        event = msgspec.json.decode(raw, type=Event)
        place = msgspec.json.decode(event.data, type=Place)
        record = Record(event.subject, event.recordversion, "00" * 32, event.time, place)
        view = merge.merged([record], [])
        assert view is not None
        merge.entry(view.id, merge.view_bytes(view))
        changes.feature(view)
    return len(raws) / (time.perf_counter() - started)


async def measure(rounds: int) -> list[Figure]:
    """Cold catch-up, proven and stored, then visible."""
    async with nodes.folder() as at, nodes.postgres(at / "postgres") as server:
        list_ = at / "list.csv"
        imports.written(list_)
        database = await server.create_database()
        registry = Registry(at, database)
        await registry.init()
        await nodes.command(registry.environment, "services.registry", "import", str(list_), "--quiet")
        connection = await asyncpg.connect(database)
        raws = [row["raw"] for row in await connection.fetch("SELECT raw FROM ledger_event ORDER BY seq")]
        await connection.close()
        turns = []
        async with registry.serving(), replica(at) as rival:
            for n in range(rounds):
                followed, merged = await ours(server, at / f"sync-{n}", registry, len(raws))
                turns.append((followed, merged, await rival.stream(raws), matcher(raws[:20_000])))
    followed, merged, streamed, pure = (median(column) for column in zip(*turns, strict=True))
    return [
        Figure(
            "cold catch-up, 100,000 events, proven and stored",
            followed,
            streamed,
            "/s",
            "logical replication",
            "≥ 0.25",
        ),
        Figure("the same, merged and visible", merged, pure, "/s", "the pure merge alone", "≥ 0.8"),
    ]
