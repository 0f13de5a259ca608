"""The national view at size: changes a second, the time of one change, a rebuild of four times as much, ids that stay.

Events are put into the database of a sync as its followers store them; what is measured is the merge.
"""

import asyncio
import gc
import json
import os
import random
import time
from collections.abc import AsyncIterator, Awaitable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import click
import msgspec
from prometheus_client import CollectorRegistry

from bench import nodes
from bench.feeding import Log, fresh, node_of, store, uuid_of
from bench.figures import machine, quantile
from schemas.event import PLACE_PUT, PLACE_WITHDRAW
from schemas.place import Place
from services.ledger import Pen
from services.postgres import Pool
from services.sync import policy, upkeep
from services.sync.work import Gauges

RESULTS = Path(__file__).parent / "results" / "national.md"
STREAM = (
    Path(os.environ.get("MAILLAGE_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data"))
    / "lists"
    / "bretagne-changes-2015-2020.jsonl"
)
LISTS = STREAM.parent.parent / "federation"
# From which day on a national list stands beside the real stream of 2015 to 2020.
BESIDE = {
    "alone": "9999",
    "beside a national list that was there before": "0000",
    "beside a national list that came in 2019": "2019-04-27",
}
# The milliseconds in the first id of the stream.
AGE = 10_000
NETWORKS = 20
BATCH, ONE_BY_ONE = 500, 500
SYLLABLES = [consonant + vowel for consonant in "bcdfglmnprstv" for vowel in "aeio"]
TRADES = ("Fablab", "La Fabrique", "Coworking", "L'Atelier", "Le Tiers-Lieu", "Espace", "La Cantine")


def places(count: int, seed: int = 5) -> Iterator[tuple[int, str, bytes]]:
    """Synthetic places of many networks over France, a quarter of them told by two: (network, record, JSON)."""
    chance, n = random.Random(seed), 0
    while n < count:
        network, said = chance.randrange(NETWORKS), _drawn(chance, n)
        yield network, f"{node_of(network)}:{uuid_of(f'{n}', n)}", msgspec.json.encode(said)
        n += 1
        if n % 4 == 3 and n < count:
            other = (network + chance.randrange(1, NETWORKS)) % NETWORKS
            again = {**said, "name": said["name"].upper(), "website": None}
            yield other, f"{node_of(other)}:{uuid_of(f'{n}', n)}", msgspec.json.encode(again)
            n += 1


def _drawn(chance: random.Random, n: int) -> dict[str, Any]:
    word = "".join(chance.choice(SYLLABLES) for _ in range(chance.randint(2, 4))).title()
    code = f"{chance.randint(1, 95):02d}{chance.randrange(1000):03d}"
    return {
        "name": f"{chance.choice(TRADES)} {word}",
        "status": "open",
        "address": {"street": f"{n % 90 + 1} rue {word}", "postcode": code, "city": f"Ville {code}"},
        "position": {"lat": round(chance.uniform(43, 50), 6), "lon": round(chance.uniform(-1, 6), 6)},
        "phone": f"+332{chance.randrange(10**8):08d}",
        "website": f"https://{word.lower()}-{n}.example",
    }


async def fill(pool: Pool, logs: Sequence[Log], count: int) -> None:
    """Store so many places, not merged."""
    waiting: dict[int, list[tuple[str, str, bytes]]] = {n: [] for n in range(len(logs))}
    for network, record, data in places(count):
        waiting[network].append((record, PLACE_PUT, data))
        if len(waiting[network]) == 2000:
            await store(pool, logs[network], waiting[network])
            waiting[network] = []
    for network, drafts in waiting.items():
        if drafts:
            await store(pool, logs[network], drafts)


async def changing(pool: Pool, pen: Pen, logs: Sequence[Log], count: int, changes: int) -> dict[str, float]:
    """First merge of so many records, then changes in batches, and one by one."""
    adopted, gauges = policy.adopted(), Gauges(CollectorRegistry())
    await fill(pool, logs, count)
    found = {"first merge, records/s": count / await _timed(upkeep.merge_once(pool, pen, adopted, gauges))}
    known = [(record, data) for _, record, data in places(count)]
    # What the measure itself holds is no garbage to look through.
    gc.freeze()
    chance = random.Random(7)
    spent = []
    for _ in range(changes // BATCH):
        await _change(pool, logs, [chance.choice(known) for _ in range(BATCH)], chance)
        spent.append(await _timed(upkeep.merge_once(pool, pen, adopted, gauges)))
    found[f"upserts/s, {BATCH} a merge (goal 3,000)"] = BATCH * len(spent) / sum(spent)
    one = []
    for _ in range(ONE_BY_ONE):
        await _change(pool, logs, [chance.choice(known)], chance)
        one.append(1000 * await _timed(upkeep.merge_once(pool, pen, adopted, gauges)))
    found |= {"one change, p50 ms": quantile(one, 0.5), "one change, p99 ms (goal 20)": quantile(one, 0.99)}
    return found


async def rebuilding(pool: Pool, pen: Pen, logs: Sequence[Log], count: int) -> float:
    """Seconds in which the view is made from so many stored records."""
    await fill(pool, logs, count)
    return await _timed(upkeep.rebuild(pool, pen, policy.adopted(), Gauges(CollectorRegistry())))


async def _timed(work: Awaitable[object]) -> float:
    started = time.perf_counter()
    await work
    return time.perf_counter() - started


async def _change(
    pool: Pool, logs: Sequence[Log], chosen: Sequence[tuple[str, bytes]], chance: random.Random
) -> None:
    """Each of these places gets another street number or phone."""
    by_node = {log.node: log for log in logs}
    drafts: dict[str, list[tuple[str, str, bytes]]] = {}
    for record, data in chosen:
        said = msgspec.json.decode(data)
        said["address"]["street"] = f"{chance.randint(1, 90)} {said['address']['street'].partition(' ')[2]}"
        if chance.random() < 0.5:
            said["phone"] = f"+332{chance.randrange(10**8):08d}"
        drafts.setdefault(record.partition(":")[0], []).append((record, PLACE_PUT, msgspec.json.encode(said)))
    for node, some in drafts.items():
        await store(pool, by_node[node], some)


# --- the real stream ---------------------------------------------------------------------------------------


def _place(row: dict[str, Any]) -> bytes | None:
    """A row of the real stream, or of the lists, as a place; None for what is none."""
    where = row.get("_lonlat") or [row.get("lon"), row.get("lat")]
    said: dict[str, Any] = {
        "name": (row.get("name") or "")[:200],
        "status": "open",
        "address": {
            key: value
            for key, value in (
                ("street", row.get("adresse") or row.get("street")),
                ("postcode", row.get("cp") or row.get("postcode")),
                ("city", row.get("ville") or row.get("city")),
            )
            if value
        },
        "website": row.get("web") or row.get("website"),
        "phone": row.get("tel") or row.get("phone"),
    }
    if where and where[0] is not None:
        said["position"] = {"lon": where[0], "lat": where[1]}
    try:
        return msgspec.json.encode(msgspec.convert(said, Place))
    except msgspec.ValidationError:
        return None


class Moved(msgspec.Struct):
    """Events of a stream, and the changes of common id that they made: of the record they are of, and of others.

    A place that is new, or that is taken back, moves nobody.
    """

    events: int = 0
    own: int = 0
    others: int = 0


async def moved_ids(pool: Pool, pen: Pen, logs: Sequence[Log], listed: str) -> Moved:
    """The real stream of one network; from the day `listed` on beside a national list."""
    adopted, gauges = policy.adopted(), Gauges(CollectorRegistry())
    homes, moved, age = dict[str, str](), Moved(), AGE
    for line in STREAM.open():
        change = json.loads(line)
        if change["at"] >= listed and not logs[1].versions:
            await store(pool, logs[1], _national(logs[1].node, age))
            await upkeep.merge_once(pool, pen, adopted, gauges)
            homes |= await _homes(pool)
        age = max(age, AGE + change["uid"])
        record = f"{logs[0].node}:{uuid_of(str(change['uid']), AGE + change['uid'])}"
        gone = change["op"] == "delete"
        data = b'{"reason":"other"}' if gone else _place(change["after"])
        if data is None:
            continue
        await store(pool, logs[0], [(record, PLACE_WITHDRAW if gone else PLACE_PUT, data)])
        await upkeep.merge_once(pool, pen, adopted, gauges)
        now = await _homes(pool)
        elsewhere = {r for r, home in homes.items() if now.get(r, home) != home}
        moved.events += 1
        moved.own += record in elsewhere
        moved.others += len(elsewhere - {record})
        homes |= now
    return moved


def _national(node: str, age: int) -> list[tuple[str, str, bytes]]:
    """The national list, whose ids are of this age."""
    rows = [_place(json.loads(line)) for line in (LISTS / "mission-coworking-2019.jsonl").open()]
    return [(f"{node}:{uuid_of(f'm{n}', age)}", PLACE_PUT, data) for n, data in enumerate(rows) if data]


async def _homes(pool: Pool) -> dict[str, str]:
    async with pool.acquire() as conn:
        rows = await conn.fetch("SELECT record, view FROM member WHERE view IS NOT NULL")
    return {row["record"]: row["view"] for row in rows}


@click.command()
@click.option("--records", default=100_000, show_default=True, type=click.IntRange(1000))
@click.option("--changes", default=10_000, show_default=True, type=click.IntRange(BATCH))
@click.option("--rebuilt", default=250_000, show_default=True, type=click.IntRange(1000))
def main(records: int, changes: int, rebuilt: int) -> None:
    """Measure changes among `records`, rebuilds of `rebuilt` and of four times as many, and ids that move.

    Writes the figures to bench/results/national.md.
    """
    lines = asyncio.run(_measured(records, changes, rebuilt))
    text = f"# national\n\n{machine()}\n\n" + "\n".join(lines) + "\n"
    click.echo(text)
    RESULTS.write_text(text, encoding="utf-8")


async def _measured(records: int, changes: int, rebuilt: int) -> list[str]:
    lines = [f"| {records:,} records of {NETWORKS} networks | |", "|---|---|"]
    async with nodes.folder() as at, nodes.postgres(at / "postgres") as server:

        @asynccontextmanager
        async def on(networks: int) -> AsyncIterator[tuple[Pool, Pen, list[Log]]]:
            url = await server.create_database()
            async with fresh(url, at / url.rpartition("/")[2], networks) as found:
                yield found
            await server.drop_database(url)

        async with on(NETWORKS) as (pool, pen, logs):
            found = await changing(pool, pen, logs, records, changes)
        lines += [f"| {name} | {value:,.1f} |" for name, value in found.items()]
        click.echo("\n".join(lines))
        took = {}
        for count in (rebuilt, 4 * rebuilt):
            async with on(NETWORKS) as (pool, pen, logs):
                took[count] = await rebuilding(pool, pen, logs, count)
            lines.append(f"| rebuild of {count:,} records, s | {took[count]:,.1f} |")
            click.echo(lines[-1])
        lines.append(f"| 4 × records, × time (goal 4.4) | {took[4 * rebuilt] / took[rebuilt]:.2f} |")
        lines += ["", "| real stream of a network | events | other common id: the record itself | others |"]
        lines += ["|---|---|---|---|"]
        for what, listed in BESIDE.items() if STREAM.exists() else ():
            async with on(2) as (pool, pen, logs):
                m = await moved_ids(pool, pen, logs, listed)
            lines.append(f"| {what} | {m.events} | {m.own} | {m.others} |")
    return lines


if __name__ == "__main__":
    main()
