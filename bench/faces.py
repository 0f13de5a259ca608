"""What the view answers GIS programs, beside tipg and pygeoapi on the same places in the same PostgreSQL.

`python -m bench.faces --peers FOLDER` measures with wrk; `FOLDER` is a virtual environment with tipg and pygeoapi
(`make bench-faces` makes it), and PostgreSQL needs PostGIS for them.
"""

import asyncio
import json
import os
import random
import re
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit

import aiohttp
import asyncpg
import click

from bench import nodes
from bench.figures import machine
from bench.nodes import folder
from demo.process import Process, free_port, url_answers
from schemas.place import Address, Place, Position
from services.sync import changes, merge, store
from services.sync.records import Record

RESULTS = Path(__file__).parent / "results"
NODE = "b" * 26
ITEMS = "/collections/places/items"
# Places that are made; more are copies of them elsewhere.
MADE = 20_000
CONNECTIONS, SECONDS = 16, 4
CITIES = ("Rennes", "Nantes", "Brest", "Lyon", "Lille", "Marseille")
NAMES = ("Atelier", "Fabrique", "Hangar", "Médiathèque", "Comptoir", "Jardin", "Forge", "Cuisine")
FAMILIES = ("coworking", "fablab", "culturel", "nourricier")


@dataclass(frozen=True)
class Figure:
    """Requests a second, the 99th percentile in milliseconds, and how many answers were no success."""

    rate: float
    p99: float
    failed: int


@dataclass(frozen=True)
class Server:
    """A server at work: where it answers what."""

    name: str
    url: str
    pid: int
    item: str
    page: str
    tile: str | None = None
    search: str | None = None


def place(number: int, chance: random.Random) -> Record:
    """A made up place."""
    spot = Position(
        lat=round(chance.uniform(42.5, 50.9), 6), lon=round(chance.uniform(-4.5, 8), 6), precision="exact"
    )
    said = Place(
        name=f"{chance.choice(NAMES)} {chance.choice(CITIES)} {number}",
        status="open",
        address=Address(street=f"{number % 90} rue du Banc", postcode="35000", city=chance.choice(CITIES)),
        position=spot,
        families=tuple(chance.sample(FAMILIES, 2)),
        summary="Un lieu inventé pour mesurer, avec une phrase comme il y en a.",
        website="https://exemple.fr",
    )
    id = f"{NODE}:{number:08x}-0000-7000-8000-000000000000"
    return Record(id, 1, "00" * 32, "2026-01-31T12:00:00Z", said)


async def fill(url: str, count: int) -> None:
    """Put so many places into the view as a merge does (each of the first ones many times), and into PostGIS."""
    connection = await asyncpg.connect(url)
    chance = random.Random(7)
    try:
        for start in range(0, min(count, MADE), 1000):
            records = [place(n, chance) for n in range(start, min(count, start + 1000))]
            views = [merge.merged((record,), ()) for record in records]
            await store.save_views(connection, [changes.saved(changes.shown(view)) for view in views if view])
        for copy in range(1, count // MADE):
            await connection.execute(COPY, f"{copy:04x}", chance.uniform(-0.4, 0.4))
        for statement in FILLED:
            await connection.execute(statement)
    finally:
        await connection.close()


def columns(**others: str) -> tuple[str, str]:
    """The columns of a place, and what a copy of it has in them."""
    names = store.Saved.__struct_fields__
    return ", ".join(names), ", ".join(others.get(name, name) for name in names)


NAMED, COPIED = columns(
    id="replace(id, '-0000-', '-' || $1 || '-')",
    item="convert_to(replace(convert_from(item, 'UTF8'), '-0000-', '-' || $1 || '-'), 'UTF8')",
    lat="lat + $2",
    lon="lon + $2",
)
COPY = f"INSERT INTO view ({NAMED}) SELECT {COPIED} FROM view WHERE id LIKE '%-0000-7000-%'"
FILLED = (
    "INSERT INTO member (record, view) SELECT id, id FROM view",
    "INSERT INTO search (id, doc) SELECT id, searched(words) FROM view",
    "DELETE FROM unsearched",
    "CREATE EXTENSION postgis",
    """CREATE TABLE peer AS
           SELECT replace(id, ':', '-') AS id, name, status, kind, city, postcode, country, told->>'street' AS street,
                  told->>'summary' AS summary, told->>'website' AS website, told->>'families' AS families, updated,
                  ST_SetSRID(ST_MakePoint(lon, lat), 4326)::geometry(Point, 4326) AS geom
           FROM view, LATERAL (SELECT convert_from(item, 'UTF8')::jsonb->'properties' AS told) AS t""",
    "ALTER TABLE peer ADD PRIMARY KEY (id)",
    "CREATE INDEX peer_geom ON peer USING gist (geom)",
    "VACUUM ANALYZE view",
    "VACUUM ANALYZE peer",
    "VACUUM ANALYZE search",
)


# --- servers ----------------------------------------------------------------------------------------------


@asynccontextmanager
async def at_work(
    name: str, words: Sequence[str], environment: Mapping[str, str], ready: str
) -> AsyncIterator[int]:
    """A server as a process, from its first answer on; its process id."""
    with tempfile.NamedTemporaryFile(prefix="maillage-bench-", suffix=".log") as log:
        process = Process(name, list(words), Path(log.name), environment={**os.environ, **environment})
        process.start()
        try:
            await nodes.until(lambda: url_answers(ready), 90, 0.2)
            yield process.pid or 0
        finally:
            await process.stop(5)


@asynccontextmanager
async def ours(database: str, at: Path) -> AsyncIterator[Server]:
    """This sync, listening to nobody."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    (at / "trust.toml").write_text("")
    environment = {
        "MAILLAGE_SYNC_DATABASE_URL": database,
        "MAILLAGE_SYNC_PORT": str(port),
        "MAILLAGE_SYNC_URL": url,
        "MAILLAGE_SYNC_KEY_DIR": str(at / "keys"),
        "MAILLAGE_SYNC_TRUST": str(at / "trust.toml"),
    }
    words = (sys.executable, "-m", "services.sync", "serve", "--log-level", "warning")
    async with at_work("ours", words, environment, url + "/livez") as pid:
        yield Server(
            "ours", url, pid, f"{ITEMS}/%s", f"{ITEMS}?limit=100&bbox=%s", "/tiles/%s.mvt", f"{ITEMS}?q=%s"
        )


@asynccontextmanager
async def tipg(database: str, peers: Path) -> AsyncIterator[Server]:
    """tipg with one worker."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    words = (str(peers / "bin" / "uvicorn"), "tipg.main:app", "--port", str(port), "--log-level", "error")
    environment = {"DATABASE_URL": database, "TIPG_DB_SCHEMAS": '["public"]'}
    items = "/collections/public.peer/items"
    async with at_work("tipg", words, environment, f"{url}{items}?limit=1") as pid:
        tile = "/collections/public.peer/tiles/WebMercatorQuad/%s?limit=20000"
        yield Server("tipg", url, pid, f"{items}/%s", f"{items}?limit=100&bbox=%s", tile)


@asynccontextmanager
async def pygeoapi(database: str, peers: Path, at: Path) -> AsyncIterator[Server]:
    """pygeoapi under gunicorn with one worker."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    config, openapi = at / "pygeoapi.json", at / "openapi.json"
    config.write_text(json.dumps(configured(url, port, database)))
    environment = {"PYGEOAPI_CONFIG": str(config), "PYGEOAPI_OPENAPI": str(openapi)}
    made = await asyncio.create_subprocess_exec(
        str(peers / "bin" / "pygeoapi"), "openapi", "generate", str(config), "--format", "json",
        "--output-file", str(openapi),
        env={**os.environ, **environment}, stdout=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    await made.wait()
    words = (str(peers / "bin" / "gunicorn"), "-b", f"127.0.0.1:{port}", "pygeoapi.flask_app:APP")
    items = "/collections/peer/items"
    async with at_work("pygeoapi", words, environment, f"{url}{items}?limit=1&f=json") as pid:
        yield Server("pygeoapi", url, pid, f"{items}/%s?f=json", f"{items}?f=json&limit=100&bbox=%s")


def configured(url: str, port: int, database: str) -> dict[str, object]:
    """What pygeoapi wants to know."""
    parts = urlsplit(database)
    known = {
        "host": parts.hostname, "port": parts.port, "dbname": parts.path.strip("/"), "user": parts.username,
        "password": parts.password or "x", "search_path": ["public"],
    }  # fmt: skip
    provider = {
        "type": "feature", "name": "PostgreSQL", "data": known, "id_field": "id", "table": "peer", "geom_field": "geom",
    }  # fmt: skip
    said = {"title": "peer", "description": "places", "keywords": ["x"]}
    extent = {
        "spatial": {"bbox": [-180, -90, 180, 90], "crs": "http://www.opengis.net/def/crs/OGC/1.3/CRS84"}
    }
    return {
        "server": {
            "bind": {"host": "127.0.0.1", "port": port}, "url": url, "mimetype": "application/json",
            "encoding": "utf-8", "languages": ["en-US"], "gzip": False,
            "limits": {"default_items": 100, "max_items": 10000},
            "map": {"url": url, "attribution": "none"},
        },
        "logging": {"level": "ERROR"},
        "metadata": {
            "identification": {**said, "keywords_type": "theme", "terms_of_service": "none", "url": url},
            "license": {"name": "none", "url": url}, "provider": {"name": "bench", "url": url},
            "contact": {"name": "bench", "position": "none", "address": "none", "city": "none", "email": "a@b.fr"},
        },
        "resources": {"peer": {**said, "type": "collection", "links": [], "extents": extent, "providers": [provider]}},
    }  # fmt: skip


# --- measuring --------------------------------------------------------------------------------------------


async def wrk(server: Server, paths: Sequence[str], headers: Mapping[str, str] | None = None) -> Figure:
    """Ask for these paths, over and over, from some connections."""
    said = "".join(f"wrk.headers[{json.dumps(k)}] = {json.dumps(v)}\n" for k, v in (headers or {}).items())
    listed = ",".join(json.dumps(path) for path in paths)
    script = f"{said}local paths = {{{listed}}}\nlocal n = 0\n" + LUA
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as file:
        file.write(script)
        file.flush()
        process = await asyncio.create_subprocess_exec(
            "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}s", "-s", file.name, "--latency", server.url,
            stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out = (await process.communicate())[0].decode()
    # A server that answers nothing within the time has no rate, and wrk says nothing at its end.
    told = TOLD.search(out)
    return Figure(float(told[1]), float(told[2]), int(told[3])) if told else Figure(0.0, float("nan"), 0)


LUA = """
request = function() n = n % #paths + 1; return wrk.format("GET", paths[n]) end
done = function(summary, latency)
  io.write(string.format("told %f %f %d\\n", summary.requests / summary.duration * 1e6,
    latency:percentile(99) / 1000, summary.errors.status + summary.errors.timeout + summary.errors.read))
end
"""
TOLD = re.compile(r"told ([0-9.]+) ([0-9.]+|-?nan) ([0-9]+)")


async def ids(url: str, count: int) -> list[str]:
    """Ids of so many places."""
    connection = await asyncpg.connect(url)
    try:
        rows = await connection.fetch("SELECT id FROM view ORDER BY md5(id) LIMIT $1", count)
    finally:
        await connection.close()
    return [row["id"] for row in rows]


def boxes(chance: random.Random, count: int, size: float) -> list[str]:
    """Boxes in degrees."""
    found = []
    for _ in range(count):
        west, south = chance.uniform(-4, 7), chance.uniform(43, 50)
        found.append(f"{west:.3f},{south:.3f},{west + size:.3f},{south + size:.3f}")
    return found


TILES = [
    f"{z}/{x}/{y}" for z, x, y in ((8, 128, 88), (8, 127, 89), (9, 257, 180), (9, 255, 178), (10, 514, 361))
]


async def measure(database: str, servers: Sequence[Server], rounds: int) -> dict[str, dict[str, Figure]]:
    """Each question to each server in turn; of each the median round by rate."""
    chance, known = random.Random(3), await ids(database, 2000)
    drawn = boxes(chance, 500, 2.0)
    asked: dict[str, Callable[[Server], list[str]]] = {
        "one item": lambda s: [s.item % (id if s.name == "ours" else id.replace(":", "-")) for id in known],
        "100 items in a box": lambda s: [s.page % box for box in drawn],
        "a tile": lambda s: [s.tile % tile for tile in TILES] if s.tile else [],
        "text search": lambda s: [s.search % word for word in WORDS] if s.search else [],
    }
    found: dict[str, dict[str, list[Figure]]] = {}
    for _ in range(rounds):
        for question, paths in asked.items():
            for server in servers:
                if there := paths(server):
                    figure = await wrk(server, there)
                    found.setdefault(question, {}).setdefault(server.name, []).append(figure)
        for name, figure in (await unchanged(servers[0])).items():
            found.setdefault("unchanged (304)", {}).setdefault(name, []).append(figure)
    return {
        q: {name: sorted(f, key=lambda each: each.rate)[len(f) // 2] for name, f in by.items()}
        for q, by in found.items()
    }


WORDS = [
    *(quote(f"{name} {city}".lower()) for name in NAMES for city in CITIES),
    *("mediateque", "fabriq", "hangr%20lyon"),
]


async def unchanged(server: Server) -> dict[str, Figure]:
    """A page that the client has, beside an empty answer of aiohttp."""
    path = server.page % "0,45,2,47"
    async with aiohttp.ClientSession() as client, client.get(server.url + path) as response:
        tag = response.headers["ETag"]
    had = await wrk(server, [path], {"If-None-Match": tag})
    port = free_port()
    words = (sys.executable, "-c", EMPTY, str(port))
    async with at_work("empty", words, {}, f"http://127.0.0.1:{port}/") as pid:
        empty = Server("empty", f"http://127.0.0.1:{port}", pid, "/%s", "/")
        return {"ours": had, "an empty aiohttp answer": await wrk(empty, ["/"])}


EMPTY = """
import sys
from aiohttp import web
async def empty(request): return web.Response()
app = web.Application(); app.router.add_get("/", empty)
web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), access_log=None, print=None)
"""


def memory(pid: int) -> int:
    """Resident memory of a process, in MiB."""
    return next(
        int(line.split()[1]) // 1024
        for line in Path(f"/proc/{pid}/status").read_text().splitlines()
        if line.startswith("VmRSS")
    )


def table(count: int, found: Mapping[str, Mapping[str, Figure]]) -> str:
    """The figures as a Markdown table."""
    lines = [
        f"## {count:,} places",
        "",
        "| question | server | requests/s | p99 | failed | ours / theirs |",
        "|---|---|---|---|---|---|",
    ]
    for question, by in found.items():
        for name, figure in by.items():
            ratio = "" if name == "ours" or not figure.rate else f"{by['ours'].rate / figure.rate:.2f}"
            lines.append(
                f"| {question} | {name} | {figure.rate:,.0f} | {figure.p99:.1f} ms | {figure.failed} | {ratio} |"
            )
    return "\n".join(lines)


async def compared(count: int, rounds: int, peers: Path) -> str:
    """All servers on so many places."""
    async with AsyncExitStack() as opened:
        at = await opened.enter_async_context(folder())
        server = await opened.enter_async_context(nodes.postgres(at / "postgres"))
        database = await server.create_database("faces")
        async with ours(database, at):
            pass
        await fill(database, count)
        servers = [
            await opened.enter_async_context(ours(database, at)),
            await opened.enter_async_context(tipg(database, peers)),
            await opened.enter_async_context(pygeoapi(database, peers, at)),
        ]
        found = await measure(database, servers, rounds)
        used = ", ".join(f"{each.name} {memory(each.pid)} MiB" for each in servers)
    return f"{table(count, found)}\n\nMemory afterwards: {used}.\n"


@click.command()
@click.option(
    "--peers",
    required=True,
    type=click.Path(exists=True, path_type=Path),
    help="Where tipg and pygeoapi are.",
)
@click.option("--places", multiple=True, type=int, default=(20_000, 1_000_000), show_default=True)
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1))
def main(peers: Path, places: tuple[int, ...], rounds: int) -> None:
    """Measure, print, and write the figures down."""
    found = []
    for count in places:
        found.append(asyncio.run(compared(count, rounds, peers)))
        click.echo(found[-1])
    how = f"median of {rounds} rounds of {SECONDS} s, in turn, {CONNECTIONS} connections, one worker each"
    head = f"# faces\n\n{machine()}; {how}.\n"
    (RESULTS / "faces.md").write_text("\n".join([head, *found]), encoding="utf-8")


if __name__ == "__main__":
    main()
