"""Archives in tests: made, mended badly, and looked for what must not be there."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from hashlib import sha256
from pathlib import Path
from typing import Any

import asyncpg
import msgspec

from services.registry import app
from services.registry.settings import Settings
from tests.conftest import Federation
from tests.nodes import Registry
from tests.registry.test_commands import run, said


async def backed_up(registry: Registry, file: Path) -> Path:
    """A backup of a registry, at work or not."""
    done = await run(registry.settings, "backup", str(file))
    assert done.exit_code == 0, said(done)
    return file


async def elsewhere(federation: Federation, registry: Registry, **settings: Any) -> Settings:
    """The settings of this registry with an empty database."""
    url = await federation.database()
    return msgspec.structs.replace(registry.settings, database_url=url, **settings)


def root_key(registry: Registry) -> str:
    """Where the root key of this registry is."""
    return str(registry.root)


def again(federation: Federation, registry: Registry, settings: Settings) -> Registry:
    """The same node with other settings, on the port that it had, not yet started."""

    def make(port: int) -> AbstractAsyncContextManager[int]:
        return app.serving(msgspec.structs.replace(settings, port=port))

    found = Registry(registry.client, make)
    found.settings, found.node, found.token, found.port = (
        settings,
        registry.node,
        registry.token,
        registry.port,
    )
    found.root = registry.root
    federation.services.append(found)
    return found


def lines(file: Path) -> list[dict[str, Any]]:
    """The lines of an archive."""
    with gzip.open(file) as opened:
        return [msgspec.json.decode(line) for line in opened]


def rewritten(file: Path, change: Callable[[list[dict[str, Any]]], None]) -> None:
    """Change the lines of an archive and make its end fit them."""
    found = lines(file)[:-1]
    change(found)
    body = b"".join(msgspec.json.encode(line) + b"\n" for line in found)
    end = {"line": "end", "count": len(found), "sha256": sha256(body).hexdigest()}
    file.write_bytes(gzip.compress(body + msgspec.json.encode(end) + b"\n"))


async def everything(url: str) -> dict[str, list[str]]:
    """All rows of all tables as text, bytes in hexadecimal."""
    conn = await asyncpg.connect(url)
    try:
        names = await conn.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        tables = sorted(row[0] for row in names)
        return {t: [row[0] for row in await conn.fetch(f"SELECT x::text FROM {t} x")] for t in tables}
    finally:
        await conn.close()


async def says(url: str, text: str) -> list[str]:
    """The tables in which a text stands, as text or as bytes."""
    needles = (text, text.encode().hex())
    return [
        t for t, rows in (await everything(url)).items() if any(n in row for row in rows for n in needles)
    ]


async def is_empty(url: str) -> bool:
    """Whether a database holds nothing but its tables."""
    known = {"migration", "ledger_relay"}
    return not any(rows for table, rows in (await everything(url)).items() if table not in known)


async def feed(registry: Registry) -> list[bytes]:
    """All lines of the feed but the checkpoints."""
    found: list[bytes] = []
    cursor = "0.0"
    while True:
        page = (await registry.get(f"/feed?after={cursor}&limit=1000")).splitlines()
        found += page[:-1]
        if len(page) == 1:
            return found
        close = msgspec.json.decode(msgspec.json.decode(page[-1])["checkpoint"]["raw"])
        cursor = f"{close['epoch']}.{len(found)}"


async def head(registry: Registry) -> dict[str, Any]:
    """What the registry signed last of its whole log."""
    return dict(msgspec.json.decode((await registry.get("/checkpoint"))["raw"]))
