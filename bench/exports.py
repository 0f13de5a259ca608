"""The view as files in each form, beside COPY of the same rows; and what that takes of memory."""

import asyncio
import os
import random
import resource
import time
from collections.abc import Sequence
from itertools import islice
from statistics import median
from tempfile import TemporaryFile

import asyncpg
import msgspec

from bench import feeding, national, nodes
from bench.feeding import Log
from bench.figures import Figure
from schemas.event import PLACE_PUT
from schemas.place import Place
from services.postgres import Pool
from services.proofs import Followed
from services.sync import changes, exporting, history_store, merge, policy, store
from services.sync.entries import CHUNK, COLLECTIONS, Reader
from services.sync.exporting import KINDS, Order
from services.sync.merge import Record
from services.sync.rendering import File
from services.sync.settings import Settings
from services.sync.store import Saved

COUNTS = tuple(int(n) for n in os.environ.get("MAILLAGE_BENCH_PLACES", "20000,100000").split(","))
LICENSES = ("etalab-2.0", "ODbL-1.0", "CC-BY-SA-4.0")
ROWS = "SELECT id, item, networks, licenses FROM view ORDER BY id"
PAGE = os.sysconf("SC_PAGE_SIZE")
MB = 1_000_000


async def stock(pool: Pool, logs: Sequence[Log], count: int) -> None:
    """Put so many places into a view, each of one record, under one of three licences."""
    chance = random.Random(1)
    some = national.places(count)
    while batch := list(islice(some, 1000)):
        views = []
        for number, log in enumerate(logs):
            drafts = [
                (record, PLACE_PUT, data[:-1] + b',"license":"%b"}' % chance.choice(LICENSES).encode())
                for network, record, data in batch
                if network == number
            ]
            views += [_saved(said) for said in await feeding.store(pool, log, drafts)] if drafts else []
        async with pool.acquire() as conn, conn.transaction():
            await store.save_views(conn, views)


def _saved(said: Followed) -> Saved:
    """The place that one record is, as the view stores it."""
    event = said.event
    assert event is not None
    place = msgspec.json.decode(event.data, type=Place)
    view = merge.merged([Record(event.subject, event.recordversion, said.leaf.hex(), event.time, place)], [])
    assert view is not None
    return changes.saved(changes.shown(view))


async def ours(pool: Pool, name: str, ending: str) -> tuple[float, int]:
    """Seconds and bytes of one file."""
    adopted = policy.adopted()
    started = time.perf_counter()
    async with pool.acquire() as conn, conn.transaction(isolation="repeatable_read", readonly=True):
        _, cited = await exporting.state(conn, Settings(database_url=""), adopted)
        cited = exporting.licensed(cited, await history_store.licenses(conn))
        order = Order(COLLECTIONS[name], KINDS[ending], Reader(adopted.policy, "", KINDS[ending].whole))
        about = File("", COLLECTIONS[name].license, "", cited)
        with TemporaryFile() as out:
            await exporting.write(conn, order, history_store.every_place(conn, CHUNK), about, out)
            out.flush()
            return time.perf_counter() - started, os.fstat(out.fileno()).st_size


async def theirs(url: str) -> tuple[float, int]:
    """Seconds and bytes of COPY TO STDOUT of the same rows."""
    told = 0

    async def count(data: bytes) -> None:
        nonlocal told
        told += len(data)

    connection = await asyncpg.connect(url)
    started = time.perf_counter()
    await connection.copy_from_query(ROWS, output=count)
    took = time.perf_counter() - started
    await connection.close()
    return took, told


def resident() -> int:
    """How much memory this process has, in bytes."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * PAGE


def processor() -> float:
    """Seconds of processor that this process and its children have had."""
    return sum(os.times()[:4])


async def peak(most: list[int]) -> None:
    """Note the most memory that this process ever has."""
    while True:
        most[0] = max(most[0], resident())
        await asyncio.sleep(0.02)


async def measure(rounds: int) -> list[Figure]:
    """Each form of both collections, at several sizes."""
    found: list[Figure] = []
    async with nodes.folder() as at, nodes.postgres(at / "postgres") as server:
        for count in COUNTS:
            url = await server.create_database()
            async with feeding.fresh(url, at / f"keys-{count}", national.NETWORKS) as (pool, _, logs):
                await stock(pool, logs, count)
                async with pool.acquire() as conn:
                    await conn.execute("ANALYZE")
                for name in COLLECTIONS:
                    for ending in KINDS:
                        found.append(await _figure(pool, url, (name, ending), count=count, rounds=rounds))
                        print(found[-1], flush=True)
    return found


async def _figure(pool: Pool, url: str, file: tuple[str, str], *, count: int, rounds: int) -> Figure:
    most, used = [before := resident()], processor()
    watching = asyncio.create_task(peak(most))
    turns = [(await ours(pool, *file), await theirs(url)) for _ in range(rounds)]
    watching.cancel()
    used = (processor() - used) / rounds
    took, size = median(mine[0] for mine, _ in turns), turns[0][0][1]
    beside = median(rows / seconds for _, (seconds, rows) in turns) / MB
    more = f"{took:.1f} s (both sides {used:.1f} s of processor), {size / MB:.1f} MB"
    more += f", {(most[0] - before) / MB:.0f} MB more memory"
    if file[1] == "parquet":
        child = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
        more += f" and {child / MB:.0f} MB in a process of its own"
    path = f"{'.'.join(file)}, {count:,} places: {more}"
    return Figure(path, size / took / MB, beside, "MB/s", "COPY", "—")
