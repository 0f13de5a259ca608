"""A CSV of 100,000 rows through the import, beside COPY of the same rows into three tables."""

import csv
import io
import time
from pathlib import Path

import asyncpg

from bench import nodes
from bench.figures import Figure, interleaved
from bench.nodes import Registry
from demo.postgres import Postgres

ROWS = 100_000
RIVAL = """
CREATE TABLE a (id bigint PRIMARY KEY, body bytea NOT NULL);
CREATE TABLE b (id bigint NOT NULL, version bigint NOT NULL, at timestamptz NOT NULL, PRIMARY KEY (id, version));
CREATE TABLE c (seq bigint PRIMARY KEY, raw bytea NOT NULL, sig bytea NOT NULL, leaf bytea NOT NULL);
"""
COMMUNES = (
    ("35000", "Rennes", "35238", 48.11, -1.68),
    ("44000", "Nantes", "44109", 47.22, -1.55),
    ("69001", "Lyon", "69381", 45.77, 4.83),
    ("13001", "Marseille", "13201", 43.30, 5.37),
)


def rows(count: int = ROWS) -> list[list[str]]:
    """Rows of a list as networks have them."""
    made = []
    for n in range(count):
        postcode, city, insee, lat, lon = COMMUNES[n % len(COMMUNES)]
        street, point = (
            f"{n % 300} rue des Écoles",
            (f"{lat + n % 997 / 1e4:.6f}", f"{lon + n % 991 / 1e4:.6f}"),
        )
        site = f"www.lieu{n}.fr"
        made.append(
            [str(n), f"Tiers-lieu {n}", street, postcode, city, insee, *point, site, "Coworking;Fablab"]
        )
    return made


def written(path: Path, count: int = ROWS) -> None:
    """The list as a CSV file."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["ID", "NOM", "ADRESSE", "CP", "COMMUNE", "INSEE", "LAT", "LON", "SITE", "TYPES"])
        writer.writerows(rows(count))


async def ours(server: Postgres, at: Path, list_: Path) -> float:
    """Rows per second of the command line's import into an empty registry."""
    registry = Registry(at, await server.create_database())
    await registry.init()
    started = time.perf_counter()
    await nodes.command(registry.environment, "services.registry", "import", str(list_), "--quiet")
    return ROWS / (time.perf_counter() - started)


async def theirs(server: Postgres) -> float:
    """Rows per second of COPY into three tables."""
    connection = await asyncpg.connect(await server.create_database())
    await connection.execute(RIVAL)
    bodies = [",".join(row) for row in rows()]
    hexes = ["\\\\x" + body.encode().hex() for body in bodies]
    tables = {
        "a": "".join(f"{n}\t{h}\n" for n, h in enumerate(hexes)),
        "b": "".join(f"{n}\t1\t2026-01-01\n" for n in range(ROWS)),
        "c": "".join(f"{n}\t{h}\t{h[:131]}\t{h[:67]}\n" for n, h in enumerate(hexes)),
    }
    sources = {name: io.BytesIO(text.encode()) for name, text in tables.items()}
    started = time.perf_counter()
    async with connection.transaction():
        for name, source in sources.items():
            await connection.copy_to_table(name, source=source)
    seconds = time.perf_counter() - started
    await connection.close()
    return ROWS / seconds


async def measure(rounds: int) -> list[Figure]:
    """Imported rows per second."""
    async with nodes.folder() as at, nodes.postgres(at / "postgres") as server:
        list_ = at / "list.csv"
        written(list_)
        turns = iter(range(rounds))

        async def one() -> float:
            folder = at / f"node-{next(turns)}"
            folder.mkdir()
            return await ours(server, folder, list_)

        here, there = await interleaved(one, lambda: theirs(server), rounds)
    path = "import of CSV, 100,000 rows, validated, signed, logged"
    return [Figure(path, here, there, "rows/s", "COPY × 3", "≥ 0.35")]
