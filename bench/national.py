"""The national view at size: changes a second, the time of one change, a rebuild of four times as much, ids that stay.

Events are put into the database of a sync as its followers store them; what is measured is the merge.
"""

import asyncio
import json
import os
import random
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import msgspec
from prometheus_client import CollectorRegistry

from bench import nodes
from bench.feeding import Log, fresh, node_of, store, uuid_of
from bench.figures import machine, quantile
from demo.postgres import Postgres
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
# The national list beside the real stream: how old its ids are.
BESIDE = {"alone": None, "beside an older national list": 0, "beside a younger national list": 10_000_000}
NETWORKS = 20
BATCH = 500
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


async def at_size(server: Postgres, folder: Path, count: int, changes: int) -> dict[str, float]:
    """First merge, changes in batches, changes one by one, and a rebuild, with so many records."""
    adopted, gauges = policy.adopted(), Gauges(CollectorRegistry())
    found: dict[str, float] = {}
    async with fresh(await server.create_database(), folder, NETWORKS) as (pool, pen, logs):
        await fill(pool, logs, count)
        started = time.perf_counter()
        await upkeep.merge_once(pool, pen, adopted, gauges)
        found["first merge, records/s"] = count / (time.perf_counter() - started)
        known = [(record, data) for _, record, data in places(count)]
        chance = random.Random(7)
        spent = 0.0
        for _ in range(changes // BATCH):
            await _change(pool, logs, [chance.choice(known) for _ in range(BATCH)], chance)
            started = time.perf_counter()
            await upkeep.merge_once(pool, pen, adopted, gauges)
            spent += time.perf_counter() - started
        if spent:
            found[f"upserts/s, {BATCH} a merge"] = changes // BATCH * BATCH / spent
        one = []
        for _ in range(min(changes, 500)):
            await _change(pool, logs, [chance.choice(known)], chance)
            started = time.perf_counter()
            await upkeep.merge_once(pool, pen, adopted, gauges)
            one.append(time.perf_counter() - started)
        if one:
            found["one change, p50 ms"], found["one change, p99 ms"] = (
                1000 * quantile(one, 0.5),
                1000 * quantile(one, 0.99),
            )
        started = time.perf_counter()
        await upkeep.rebuild(pool, pen, adopted, gauges)
        found["rebuild, s"] = time.perf_counter() - started
    return found


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


async def moved_ids(pool: Pool, pen: Pen, logs: Sequence[Log], listed: int | None) -> Moved:
    """The real stream of one network; where `listed` is given, beside a national list whose ids are of that age."""
    adopted, gauges = policy.adopted(), Gauges(CollectorRegistry())
    if listed is not None:
        rows = [_place(json.loads(line)) for line in (LISTS / "mission-coworking-2019.jsonl").open()]
        drafts = [
            (f"{logs[1].node}:{uuid_of(f'm{n}', listed + n)}", PLACE_PUT, data)
            for n, data in enumerate(rows)
            if data
        ]
        await store(pool, logs[1], drafts)
        await upkeep.merge_once(pool, pen, adopted, gauges)
    homes, moved = await _homes(pool), Moved()
    for line in STREAM.open():
        change = json.loads(line)
        record = f"{logs[0].node}:{uuid_of(str(change['uid']), 10_000 + change['uid'])}"
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
        homes = {**homes, **now}
    return moved


async def _homes(pool: Pool) -> dict[str, str]:
    async with pool.acquire() as conn:
        rows = await conn.fetch("SELECT record, view FROM member WHERE view IS NOT NULL")
    return {row["record"]: row["view"] for row in rows}


@click.command()
@click.option("--records", default=100_000, show_default=True, type=click.IntRange(1000))
@click.option("--changes", default=10_000, show_default=True, type=click.IntRange(0))
def main(records: int, changes: int) -> None:
    """Measure the merge at a size and at four times that, and write the figures to bench/results/national.md."""
    lines = asyncio.run(_measured(records, changes))
    text = f"# national\n\n{machine()}\n\n" + "\n".join(lines) + "\n"
    click.echo(text)
    RESULTS.write_text(text, encoding="utf-8")


async def _measured(records: int, changes: int) -> list[str]:
    with tempfile.TemporaryDirectory() as keys:
        async with nodes.folder() as at, nodes.postgres(at / "postgres") as server:
            small = await at_size(server, Path(keys) / "1", records, changes)
            large = await at_size(server, Path(keys) / "4", 4 * records, 0)
            moved = {}
            for what, listed in BESIDE.items() if STREAM.exists() else ():
                url = await server.create_database()
                async with fresh(url, Path(keys) / f"s{listed}", 2) as (pool, pen, logs):
                    moved[what] = await moved_ids(pool, pen, logs, listed)
    lines = [f"{records:,} records:", "", "| what | measured |", "|---|---|"]
    lines += [f"| {name} | {value:,.1f} |" for name, value in small.items()]
    lines += [f"| rebuild of 4 × as many, s | {large['rebuild, s']:,.1f} |"]
    lines += [
        f"| 4 × records cost | {large['rebuild, s'] / small['rebuild, s']:.2f} × the time (goal ≤ 4.4) |"
    ]
    lines += [
        "",
        "| real stream of a network | events | other common id: the record itself | others |",
        "|---|---|---|---|",
    ]
    lines += [f"| {what} | {m.events} | {m.own} | {m.others} |" for what, m in moved.items()]
    return lines


if __name__ == "__main__":
    main()
