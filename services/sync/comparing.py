"""`python -m services.sync compare URL`: does another sync hold the same view, and if not, whose doing is it."""

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import aiohttp
import click
import msgspec
from msgspec import Struct

from schemas.node import Signed
from schemas.view import Digest
from services import cli, fetching, foreign, ledger, settings, signing
from services.errors import Args, Corrupt, Misconfigured, Unavailable, Untrue
from services.postgres import Connection
from services.sync import app, differences, merge, rebuilding
from services.sync.differences import Finding, Listing, Network, Side, found
from services.sync.settings import PREFIX, Settings

ANSWER = aiohttp.ClientTimeout(total=30, sock_connect=10)
MOST = 32 * 1024 * 1024
# So many lines are a screen; so many buckets are looked into.
MOST_LINES, MOST_BUCKETS = 20, 8
TRIES = 5
T = TypeVar("T")


class Moved(Exception):
    """One of the two views changed between two requests."""


class Networks(Struct, frozen=True):
    """What of `/networks` is compared."""

    networks: tuple[Network, ...]


class Buckets(Struct, frozen=True):
    """The hashes of all buckets."""

    buckets: tuple[str, ...]


class Entry(Struct, frozen=True):
    """A place in its bucket."""

    id: str
    hash: str


class Entries(Struct, frozen=True):
    """The places of a bucket."""

    entries: tuple[Entry, ...]


class Report(Struct, frozen=True):
    """What came out: both sides, and why they differ."""

    here: Side
    there: Side
    findings: list[Finding]


@click.command("compare")
@click.argument("url")
@click.option("--here", help="URL of the sync that is compared; else the one of the settings.")
@click.option("--json", "machine", is_flag=True, help="For machines.")
def compare(url: str, here: str | None, machine: bool) -> None:
    """Say whether another sync holds the same view, and if not: which node, which record, whose doing.

    The exit code is 0 where they agree, 1 where they do not, 2 where they could not be compared.
    """
    report = asyncio.run(compared(_settings(required=here is None), here, url))
    click.echo(_for_machines(report) if machine else "\n".join(_for_people(report)))
    raise SystemExit(1 if report.findings else 0)


def _settings(*, required: bool) -> Settings | None:
    """The settings of this process; None where there are none, and another sync is compared."""
    try:
        return settings.load(Settings, PREFIX, os.environ)
    except Misconfigured:
        if required:
            raise
        return None


async def compared(s: Settings | None, here: str | None, there: str) -> Report:
    """The comparison of two syncs; our own database, where there is one, tells whose place is damaged."""
    ours = here or (s.url if s else "")
    async with fetching.client() as client:
        for _ in range(TRIES):
            try:
                return await _compared(client, s, ours.rstrip("/"), there.rstrip("/"))
            except Moved:
                await asyncio.sleep(1)
    raise Unavailable("The views change faster than they can be compared: try again.")


async def _compared(client: aiohttp.ClientSession, s: Settings | None, ours: str, theirs: str) -> Report:
    here, there = Reader(client, ours), Reader(client, theirs)
    one, other = await here.side(), await there.side()
    why = differences.differences(one, other)
    if not why and one.digest.view_root != other.digest.view_root:
        async with _database(s, here) as conn:
            why = await _located(conn, (here, one), (there, other))
    return Report(one, other, why)


class Reader:
    """Reads one sync at one moment."""

    def __init__(self, client: aiohttp.ClientSession, url: str) -> None:
        self.client, self.url = client, url
        self.cursor: str | None = None

    async def read(self, path: str, struct: type[T]) -> T:
        """An answer; Moved where it is of another moment of the view than the ones before."""
        body, cursor = await self._get(path)
        if self.cursor is not None and cursor != self.cursor:
            raise Moved
        self.cursor = cursor
        return self._decoded(path, body, struct)

    async def side(self) -> Side:
        """What the sync says of itself."""
        digest = await self.read("/digest", Digest)
        networks = await self.read("/networks", Networks)
        trust = self._decoded("/trust", (await self._get("/trust"))[0], Listing)
        return Side(self.url, digest, trust, {n.node: n for n in networks.networks})

    async def node(self) -> str:
        """The id of the sync, by its first descriptor."""
        body, _ = await self._get("/descriptors")
        first = self._decoded("/descriptors", body.partition(b"\n")[0], Signed)
        return signing.node_id(first.raw.encode())

    async def _get(self, path: str) -> tuple[bytes, str | None]:
        try:
            async with self.client.get(
                self.url + path, timeout=ANSWER, allow_redirects=False, raise_for_status=True
            ) as response:
                return await fetching.whole(response, MOST), response.headers.get("Merge-Cursor")
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            why = str(error) or type(error).__name__
            raise Unavailable("{url} did not answer: {why}", {"url": self.url, "why": why}) from error

    def _decoded(self, path: str, body: bytes, struct: type[T]) -> T:
        try:
            return foreign.decoded(body, struct)
        except Untrue as error:
            raise Unavailable(
                "{url} did not answer: {why}", {"url": self.url + path, "why": str(error.arguments["why"])}
            ) from error


@asynccontextmanager
async def _database(s: Settings | None, here: Reader) -> AsyncIterator[Connection | None]:
    """Our own database, where it is the one of the sync that is compared."""
    if s is None:
        yield None
        return
    async with (
        app.database(s) as pool,
        pool.acquire() as conn,
        conn.transaction(isolation="repeatable_read", readonly=True),
    ):
        yield conn if await ledger.node_of(conn) == await here.node() else None


async def _located(
    conn: Connection | None, here: tuple[Reader, Side], there: tuple[Reader, Side]
) -> list[Finding]:
    """Equal heads, rules and followed set, and other bytes: the places that differ, and whose are damaged."""
    ours = (await here[0].read("/digest/buckets", Buckets)).buckets
    theirs = (await there[0].read("/digest/buckets", Buckets)).buckets
    wrong: list[Finding] = []
    if differences.mistaken_root(here[1], ours):
        wrong.append(found("corruption", "here", "Here the root is not that of the buckets: run `repair`."))
    if differences.mistaken_root(there[1], theirs):
        wrong.append(found("corruption", "there", "There the root is not that of the buckets: run `repair`."))
    differing = [b for b, pair in enumerate(zip(ours, theirs, strict=True)) if pair[0] != pair[1]]
    for bucket in differing[:MOST_BUCKETS]:
        mine, other = await _entries(here[0], bucket), await _entries(there[0], bucket)
        wrong += _hashes(bucket, (ours[bucket], mine), (theirs[bucket], other))
        for id in sorted(mine.keys() | other.keys()):
            if mine.get(id) != other.get(id):
                wrong.append(await _blamed(conn, id, mine.get(id), other.get(id)))
    return wrong


async def _entries(reader: Reader, bucket: int) -> dict[str, str]:
    listed = await reader.read(f"/digest/buckets/{bucket}", Entries)
    return {entry.id: entry.hash for entry in listed.entries}


def _hashes(
    bucket: int, here: tuple[str, dict[str, str]], there: tuple[str, dict[str, str]]
) -> list[Finding]:
    wrong = []
    if differences.mistaken_bucket(*here):
        what = "Here the hash of bucket {bucket} is not that of its places: run `repair`."
        wrong.append(found("corruption", "here", what, bucket=bucket))
    if differences.mistaken_bucket(*there):
        what = (
            "There the hash of bucket {bucket} is not that of its places: its operator should run `repair`."
        )
        wrong.append(found("corruption", "there", what, bucket=bucket))
    return wrong


async def _blamed(conn: Connection | None, id: str, ours: str | None, theirs: str | None) -> Finding:
    if conn is None:
        return differences.unblamed(id)
    try:
        view = await rebuilding.recomputed(conn, id)
    except Corrupt:
        what = (
            "An event behind place {record} is damaged here: run `python -m services.sync repair --from URL`."
        )
        return found("corruption", "here", what, record=id)
    computed = merge.entry(id, merge.view_bytes(view))[32:].hex() if view else None
    return differences.blamed(id, ours=ours, theirs=theirs, computed=computed)


def _for_machines(report: Report) -> str:
    told: list[dict[str, Any]] = [
        {
            "cause": f.cause,
            "whose": f.whose,
            "node": f.node,
            "record": f.record,
            "detail": f.what.format(**f.args),
        }
        for f in report.findings
    ]
    sides = {"here": report.here.url, "there": report.there.url}
    return msgspec.json.encode({"agree": not told, **sides, "findings": told}).decode()


def _for_people(report: Report) -> list[str]:
    here, there = report.here, report.there
    lines = [
        cli.phrase("Here: {url}, {count} places.", {"url": here.url, "count": here.digest.count}),
        cli.phrase("There: {url}, {count} places.", {"url": there.url, "count": there.digest.count}),
    ]
    if not report.findings:
        args: Args = {"count": len(here.digest.heads), "root": here.digest.view_root[:16]}
        return [*lines, cli.phrase("They agree: same rules, same {count} nodes, same bytes ({root}).", args)]
    return [*lines, *_listed(report.findings, here, there)]


def _listed(findings: Sequence[Finding], here: Side, there: Side) -> list[str]:
    lines = []
    for one in findings[:MOST_LINES]:
        known = here.networks.get(one.node or "") or there.networks.get(one.node or "")
        line = cli.phrase(one.what, one.args)
        lines.append(f"- {line} ({known.alias})" if known else f"- {line}")
    if (more := len(findings) - MOST_LINES) > 0:
        lines.append(cli.phrase("- and {count} more differences (--json has all).", {"count": more}))
    return lines
